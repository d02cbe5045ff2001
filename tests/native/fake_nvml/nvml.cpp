// A fake libnvidia-ml: the functions that the probe calls, answering what the control file says. It
// proves plumbing, layouts and failure paths; nothing about a real driver. Declared as in nvml.h.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <set>
#include <string>

#include "control.hpp"

#define NVML_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using fake_nvml::control;
using fake_nvml::Device;

enum : int {
  kSuccess = 0,
  kUninitialized = 1,
  kInvalidArgument = 2,
  kNotSupported = 3,
  kNotFound = 6,
  kInsufficientSize = 7,
  kVersionMismatch = 25,
};

// A handle is the UUID's one copy: it survives a change of the control file.
using Handle = const std::string *;

bool initialized = false;

Handle handle_of(const std::string &uuid) {
  static std::set<std::string> known;
  return &*known.insert(uuid).first;
}

const Device *find(const std::string &uuid) {
  for (const Device &device : control().devices) {
    if (device.uuid == uuid) {
      return &device;
    }
  }
  return nullptr;
}

bool is_mig(const std::string &uuid) { return uuid.rfind("MIG-", 0) == 0; }

// What comes before each answer: delays, ends, failures. The UUID is a copy, because the devices
// change with the control file.
int enter(const char *function, std::string uuid) {
  const auto &now = control();
  if (const auto delay = now.delays.find(function); delay != now.delays.end()) {
    usleep(static_cast<useconds_t>(delay->second) * 1000);
  }
  if (now.crashes.count(function) != 0) {
    std::raise(SIGSEGV);
  }
  while (control().hangs.count(function) != 0) {
    usleep(10'000);
  }
  for (const std::string &who : {uuid, std::string("*")}) {
    const auto &failures = control().failures;
    if (const auto failure = failures.find({who, function}); failure != failures.end()) {
      return failure->second;
    }
  }
  return kSuccess;
}

int enter_device(const char *function, Handle device) {
  if (!initialized) {
    return kUninitialized;
  }
  if (device == nullptr || find(*device) == nullptr) {
    return kInvalidArgument;
  }
  return enter(function, *device);
}

// The scripted values of a metric, or why there are none.
int values_of(const char *function, Handle device, const char *metric, size_t count,
              const unsigned long long **values) {
  if (const int status = enter_device(function, device); status != kSuccess) {
    return status;
  }
  const auto found = control().readings.find({*device, metric});
  if (found == control().readings.end()) {
    return kNotSupported;
  }
  if (found->second.size() != count) {
    std::fprintf(stderr, "fake NVML: %s wants %zu values\n", metric, count);
    std::abort();
  }
  *values = found->second.data();
  return kSuccess;
}

template <typename Number>
int one_of(const char *function, Handle device, const char *metric, Number *out) {
  const unsigned long long *values = nullptr;
  const int status = values_of(function, device, metric, 1, &values);
  if (status == kSuccess) {
    *out = static_cast<Number>(values[0]);
  }
  return status;
}

int write_text(const std::string &text, char *out, unsigned int length) {
  if (text.size() + 1 > length) {
    return kInsufficientSize;
  }
  std::memcpy(out, text.c_str(), text.size() + 1);
  return kSuccess;
}

// Domain, bus, device and function; the domain may be written with 4 or 8 digits.
std::string slot_of(const char *bus_id) {
  unsigned int domain = 0, bus = 0, device = 0, function = 0;
  if (std::sscanf(bus_id, "%x:%x:%x.%x", &domain, &bus, &device, &function) < 3) {
    return "";
  }
  char text[40];
  std::snprintf(text, sizeof text, "%x:%x:%x.%x", domain, bus, device, function);
  return text;
}

struct Utilization {
  unsigned int gpu, memory;
};

struct Memory {
  unsigned long long total, free, used;
};

struct MemoryV2 {
  unsigned int version;
  unsigned long long total, reserved, free, used;
};
static_assert(sizeof(MemoryV2) == 40, "as in nvml.h");

struct TemperatureV1 {
  unsigned int version;
  int sensor;
  int celsius;
};

}  // namespace

NVML_EXPORT int nvmlInit_v2(void) {
  const int status = enter("nvmlInit_v2", "*");
  initialized = initialized || status == kSuccess;
  return status;
}

NVML_EXPORT int nvmlDeviceGetCount_v2(unsigned int *count) {
  if (!initialized) {
    return kUninitialized;
  }
  const int status = enter("nvmlDeviceGetCount_v2", "*");
  *count = 0;
  for (const Device &device : control().devices) {
    *count += is_mig(device.uuid) ? 0 : 1;
  }
  return status;
}

NVML_EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, Handle *out) {
  if (!initialized) {
    return kUninitialized;
  }
  for (const Device &device : control().devices) {
    if (!is_mig(device.uuid) && index-- == 0) {
      *out = handle_of(device.uuid);
      return enter("nvmlDeviceGetHandleByIndex_v2", device.uuid);
    }
  }
  return kInvalidArgument;
}

NVML_EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, Handle *out) {
  if (!initialized) {
    return kUninitialized;
  }
  if (find(uuid) == nullptr) {
    return kNotFound;
  }
  *out = handle_of(uuid);
  return enter("nvmlDeviceGetHandleByUUID", uuid);
}

NVML_EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, Handle *out) {
  if (!initialized) {
    return kUninitialized;
  }
  const std::string slot = slot_of(bus_id);
  for (const Device &device : control().devices) {
    if (!is_mig(device.uuid) && !slot.empty() && slot_of(device.bus_id.c_str()) == slot) {
      *out = handle_of(device.uuid);
      return enter("nvmlDeviceGetHandleByPciBusId_v2", device.uuid);
    }
  }
  return slot.empty() ? kInvalidArgument : kNotFound;
}

NVML_EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Handle device, Handle *out) {
  const int status = enter_device("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", device);
  if (status != kSuccess) {
    return status;
  }
  const auto parent = control().parents.find(*device);
  if (parent == control().parents.end()) {
    return kNotFound;
  }
  *out = handle_of(parent->second);
  return kSuccess;
}

NVML_EXPORT int nvmlDeviceGetMigMode(Handle device, unsigned int *current, unsigned int *pending) {
  const int status = one_of("nvmlDeviceGetMigMode", device, "mig", current);
  *pending = *current;
  return status;
}

NVML_EXPORT int nvmlDeviceGetUUID(Handle device, char *out, unsigned int length) {
  const int status = enter_device("nvmlDeviceGetUUID", device);
  return status == kSuccess ? write_text(*device, out, length) : status;
}

NVML_EXPORT int nvmlDeviceGetName(Handle device, char *out, unsigned int length) {
  const int status = enter_device("nvmlDeviceGetName", device);
  return status == kSuccess ? write_text(find(*device)->name, out, length) : status;
}

NVML_EXPORT int nvmlDeviceGetCudaComputeCapability(Handle device, int *major, int *minor) {
  const unsigned long long *values = nullptr;
  const int status =
      values_of("nvmlDeviceGetCudaComputeCapability", device, "capability", 2, &values);
  if (status == kSuccess) {
    *major = static_cast<int>(values[0]);
    *minor = static_cast<int>(values[1]);
  }
  return status;
}

NVML_EXPORT int nvmlDeviceGetUtilizationRates(Handle device, Utilization *out) {
  const unsigned long long *values = nullptr;
  const int status = values_of("nvmlDeviceGetUtilizationRates", device, "utilization", 2, &values);
  if (status == kSuccess) {
    *out = {static_cast<unsigned int>(values[0]), static_cast<unsigned int>(values[1])};
  }
  return status;
}

NVML_EXPORT int nvmlDeviceGetMemoryInfo_v2(Handle device, MemoryV2 *out) {
  const unsigned long long *values = nullptr;
  const int status = values_of("nvmlDeviceGetMemoryInfo_v2", device, "memory", 4, &values);
  if (status != kSuccess) {
    return status;
  }
  if (out->version != (sizeof(MemoryV2) | (2u << 24))) {
    return kVersionMismatch;
  }
  *out = {out->version, values[0], values[1], values[2], values[3]};
  return kSuccess;
}

NVML_EXPORT int nvmlDeviceGetMemoryInfo(Handle device, Memory *out) {
  const unsigned long long *values = nullptr;
  const int status = values_of("nvmlDeviceGetMemoryInfo", device, "memory", 4, &values);
  if (status == kSuccess) {
    *out = {values[0], values[2], values[0] - values[2]};
  }
  return status;
}

NVML_EXPORT int nvmlDeviceGetTemperature(Handle device, unsigned int sensor, unsigned int *out) {
  const int status = one_of("nvmlDeviceGetTemperature", device, "temperature", out);
  return sensor == 0 ? status : kInvalidArgument;
}

NVML_EXPORT int nvmlDeviceGetTemperatureV(Handle device, TemperatureV1 *out) {
  if (out->version != (sizeof(TemperatureV1) | (1u << 24)) || out->sensor != 0) {
    return kVersionMismatch;
  }
  return one_of("nvmlDeviceGetTemperatureV", device, "temperature", &out->celsius);
}

NVML_EXPORT int nvmlDeviceGetPowerUsage(Handle device, unsigned int *out) {
  return one_of("nvmlDeviceGetPowerUsage", device, "power", out);
}

NVML_EXPORT int nvmlDeviceGetCurrentClocksEventReasons(Handle device, unsigned long long *out) {
  return one_of("nvmlDeviceGetCurrentClocksEventReasons", device, "clocks", out);
}

NVML_EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(Handle device, unsigned long long *out) {
  return one_of("nvmlDeviceGetCurrentClocksThrottleReasons", device, "clocks", out);
}

NVML_EXPORT int nvmlDeviceGetTotalEccErrors(Handle device, unsigned int type, unsigned int counter,
                                            unsigned long long *out) {
  // Uncorrected errors since the driver was loaded; the other three counts are not scripted.
  const int status = one_of("nvmlDeviceGetTotalEccErrors", device, "ecc", out);
  return type == 1 && counter == 0 ? status : kInvalidArgument;
}

NVML_EXPORT int nvmlDeviceGetCurrPcieLinkGeneration(Handle device, unsigned int *out) {
  return one_of("nvmlDeviceGetCurrPcieLinkGeneration", device, "pcie", out);
}
