#include "control.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace fake {
namespace {

// Text of a line after the words that were read, without the blanks around it.
std::string rest_of(std::istringstream &words) {
  std::string rest;
  std::getline(words >> std::ws, rest);
  return rest;
}

bool is_known_option(FailRule &rule, const std::string &name, std::istringstream &words) {
  if (name == "after") {
    return static_cast<bool>(words >> rule.after);
  }
  if (name == "times") {
    return static_cast<bool>(words >> rule.times);
  }
  return name == "device" && static_cast<bool>(words >> rule.device);
}

}  // namespace

void misuse(const std::string &text) {
  std::fprintf(stderr, "fake libcuda: %s\n", text.c_str());
  std::abort();
}

void Control::refresh() {
  const char *path = std::getenv("TILELOOM_FAKE_CUDA");
  if (path == nullptr) {
    misuse("TILELOOM_FAKE_CUDA names no control file");
  }
  struct stat facts {};
  if (stat(path, &facts) != 0) {
    misuse(std::string("control file ") + path + " is missing");
  }
  std::ostringstream now;
  now << path << ' ' << facts.st_ino << ' ' << facts.st_size << ' ' << facts.st_mtim.tv_sec << '.'
      << facts.st_mtim.tv_nsec;
  if (now.str() != known_) {
    known_ = now.str();
    read(path);
  }
}

void Control::read(const std::string &path) {
  old_rules_ = rules_;
  devices_.clear();
  rules_.clear();
  hangs_.clear();
  delays_.clear();
  version_ = 13000;
  log_.clear();
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!line.empty() && line[0] != '#' && !read_line(line)) {
      misuse("control file " + path + " has a line that is not known: " + line);
    }
  }
}

// device UUID PCI CAPABILITY BYTES NAME…   fail FUNCTION RESULT [after N] [times M] [device UUID]
// driver VERSION   delay FUNCTION MILLISECONDS   hang FUNCTION   log PATH
bool Control::read_line(const std::string &line) {
  std::istringstream words(line);
  std::string key;
  words >> key;
  if (key == "device") {
    DeviceLine one;
    double capability = 0;
    words >> one.uuid >> one.pci_bus_id >> capability >> one.bytes;
    one.capability = static_cast<int>(capability * 10 + 0.5);
    if (capability >= 50) {
      one.capability = static_cast<int>(capability);  // 90 as well as 9.0
    }
    if (!words || one.uuid.size() != 40) {
      return false;
    }
    one.name = rest_of(words);
    devices_.push_back(one);
    return !one.name.empty();
  }
  if (key == "fail") {
    FailRule rule;
    rule.line = line;
    if (!(words >> rule.function >> rule.result)) {
      return false;
    }
    for (std::string name; words >> name;) {
      if (!is_known_option(rule, name, words)) {
        return false;
      }
    }
    for (const FailRule &old : old_rules_) {
      if (old.line == line) {
        rule.seen = old.seen;
        rule.failed = old.failed;
      }
    }
    rules_.push_back(rule);
    return true;
  }
  if (key == "driver") {
    return static_cast<bool>(words >> version_);
  }
  if (key == "hang") {
    return static_cast<bool>(words >> hangs_.emplace_back());
  }
  if (key == "delay") {
    Delay &delay = delays_.emplace_back();
    return static_cast<bool>(words >> delay.function >> delay.milliseconds);
  }
  log_ = key == "log" ? rest_of(words) : log_;
  return key == "log" && !log_.empty();
}

int Control::failure_of(const std::string &function, const std::string &device) {
  int result = 0;
  for (FailRule &rule : rules_) {
    if (rule.function != function || (!rule.device.empty() && rule.device != device)) {
      continue;
    }
    rule.seen += 1;
    if (rule.seen > rule.after && rule.failed < rule.times) {
      rule.failed += 1;
      result = rule.result;
    }
  }
  return result;
}

bool Control::hangs(const std::string &function) const {
  return std::find(hangs_.begin(), hangs_.end(), function) != hangs_.end();
}

uint64_t Control::delay_milliseconds(const std::string &function) const {
  for (const Delay &delay : delays_) {
    if (delay.function == function) {
      return delay.milliseconds;
    }
  }
  return 0;
}

}  // namespace fake
