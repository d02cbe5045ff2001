// Owns the control file of the fake libnvidia-ml: TILELOOM_FAKE_NVML names it, and it is read again
// when it changes, so that a test can change the behaviour of a running process. Lines, `#` for
// comments:
//
//   device <uuid> <pci bus id> <name…>      a GPU; a MIG device where the UUID starts with MIG-
//   parent <MIG uuid> <GPU uuid>            whose part a MIG device is
//   reading <uuid> <metric> <value…>        utilization <gpu> <memory>, memory <total> <reserved>
//   <free> <used>,
//                                           temperature, power (mW), clocks (bits), ecc, pcie,
//                                           capability <major> <minor>, mig <0|1>; without:
//                                           NOT_SUPPORTED
//   fail <uuid|*> <function> <nvmlReturn>   instead of its answer
//   hang <function>                         no answer while the line is there
//   crash <function>                        instead of an answer
//   delay <function> <milliseconds>         before its answer
//
// A missing file or a line that is not understood ends the process: no test may rest on a typing
// error.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fake_nvml {

struct Device {
  std::string uuid;
  std::string bus_id;
  std::string name;
};

struct Control {
  std::vector<Device> devices;
  std::map<std::string, std::string> parents;
  std::map<std::pair<std::string, std::string>, std::vector<unsigned long long>> readings;
  std::map<std::pair<std::string, std::string>, int> failures;
  std::map<std::string, long> delays;
  std::set<std::string> hangs;
  std::set<std::string> crashes;
};

// The control file as it is now.
const Control &control();

}  // namespace fake_nvml
