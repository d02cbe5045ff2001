// The control file of the fake driver: which devices exist, and which calls fail, wait or hang.
// Keys are in control.cpp. Re-read when the file changes; what is wrong in it aborts the process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fake {

struct DeviceLine {
  std::string uuid;  // GPU-…
  std::string pci_bus_id;
  std::string name;
  int capability = 0;  // 90 is 9.0
  uint64_t bytes = 0;
};

// Fails the calls after the first `after`, `times` times. Counts survive a re-read of the file that
// keeps the line.
struct FailRule {
  std::string line;
  std::string function;
  int result = 0;
  uint64_t after = 0;
  uint64_t times = UINT64_MAX;
  std::string device;  // empty: of any device, or of none
  uint64_t seen = 0;
  uint64_t failed = 0;
};

class Control {
 public:
  // Reads the file that TILELOOM_FAKE_CUDA names, if it changed.
  void refresh();
  // Counts a call and returns what it must fail with, or 0.
  int failure_of(const std::string &function, const std::string &device);
  bool hangs(const std::string &function) const;
  uint64_t delay_milliseconds(const std::string &function) const;

  const std::vector<DeviceLine> &devices() const { return devices_; }
  int version() const { return version_; }
  const std::string &log() const { return log_; }

 private:
  struct Delay {
    std::string function;
    uint64_t milliseconds;
  };
  void read(const std::string &path);
  bool read_line(const std::string &line);

  std::string known_;  // path, inode, size and time of what was read
  std::vector<DeviceLine> devices_;
  std::vector<FailRule> rules_;
  std::vector<FailRule> old_rules_;
  std::vector<std::string> hangs_;
  std::vector<Delay> delays_;
  int version_ = 13000;
  std::string log_;
};

// Ends the process with a message: the fake was used wrongly.
[[noreturn]] void misuse(const std::string &text);

}  // namespace fake
