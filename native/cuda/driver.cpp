#include "driver.hpp"

#include <dlfcn.h>

#include <atomic>

#include "../core/failure.hpp"

namespace tileloom {
namespace {

constexpr int kVersionMin = 12000;
constexpr CuResult kOutOfMemory = 2;
constexpr CuResult kUnavailable = 46;
constexpr CuResult kNoDevice = 100;
constexpr CuResult kNotReady = 802;

std::atomic<CuResult> sticky_error{0};

Failure missing(const std::string &text, CuResult result = 0) {
  Failure failure(TL_DEVICE_MISSING, text);
  failure.device_error = result;
  return failure;
}

int status_of(CuResult result) {
  switch (result) {
    case kOutOfMemory:
      return TL_OUT_OF_MEMORY;
    case 34:  // stub library
    case kUnavailable:
    case kNoDevice:
    case 101:  // invalid device
    case kNotReady:
    case 803:  // driver and library mismatch
    case 804:  // compatibility mode unsupported
      return TL_DEVICE_MISSING;
    case 200:  // invalid image
    case 209:  // no binary for this device
    case 218:  // invalid PTX
    case 221:  // compiler of PTX not found
    case 222:  // PTX of a newer version
    case 223:  // compilation at load is disabled
    case 300:  // invalid source: how drivers refuse a cubin that they do not know
    case 302:  // compiler of PTX without a function
    case 303:  // compiler of PTX does not start
    case 500:  // no such kernel in the image
      return TL_IMAGE_UNUSABLE;
    default:
      return is_sticky(result) ? TL_DEVICE_LOST : TL_DEVICE_FAILED;
  }
}

const char *advice_of(int status, CuResult result) {
  if (result == kUnavailable) {
    return "; another process may hold the device alone: end it, or run on the CPU";
  }
  if (result == kNoDevice) {
    return "; check CUDA_VISIBLE_DEVICES, or run on the CPU";
  }
  if (result == kNotReady) {
    return "; devices behind NVSwitch wait for nvidia-fabricmanager: start it, or run on the CPU";
  }
  switch (status) {
    case TL_OUT_OF_MEMORY:
      return "; use smaller chunks or a smaller budget, or run on the CPU";
    case TL_DEVICE_MISSING:
      return "; install a driver that fits the device, or run on the CPU";
    case TL_IMAGE_UNUSABLE:
      return "; build the kernels for this device: npm run build:cuda";
    case TL_DEVICE_LOST:
      return "; replace this process";
    default:
      return "";
  }
}

}  // namespace

// Errors that leave the context, and so the process, unusable: cuda.h says so of each, but for 4,
// 214 and 220, after which nothing can be trusted either. 709 is a context that somebody else
// destroyed, 810 a client that its MPS server ended; the others are faults of device or kernel.
bool is_sticky(CuResult result) {
  switch (result) {
    case 4:    // driver is shutting down
    case 214:  // uncorrectable ECC error
    case 220:  // uncorrectable NVLink error
    case 226:  // contained memory error
    case 700:  // illegal address
    case 702:  // launch timed out
    case 709:  // context is destroyed
    case 710:  // assertion
    case 721:  // tensor memory leak
    case 810:  // MPS client terminated
    case 911:  // external device
      return true;
    default:
      return result >= 714 && result <= 719;
  }
}

CuResult Driver::lost() { return sticky_error.load(); }

void Driver::refuse_lost() {
  const CuResult result = lost();
  if (result != 0) {
    Failure failure(TL_DEVICE_LOST, "was lost to an earlier error (" + std::to_string(result) +
                                        "); replace this process");
    failure.device_error = result;
    throw failure;
  }
}

void Driver::remember(CuResult result) {
  CuResult none = 0;
  if (is_sticky(result)) {
    sticky_error.compare_exchange_strong(none, result);
  }
}

Driver::Driver(const char *path) {
  refuse_lost();
  const char *name = path == nullptr ? "libcuda.so.1" : path;
  void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw missing(std::string("has no driver: expected ") + name + ", got: " + dlerror() +
                  "; install the NVIDIA driver, or run on the CPU");
  }
#define TL_RESOLVE(field, symbol, arguments)                                    \
  field = reinterpret_cast<CuResult(*) arguments>(dlsym(handle, symbol));       \
  if (field == nullptr) {                                                       \
    throw missing(std::string("has a driver without ") + symbol + ": " + name + \
                  " is too old; install a newer NVIDIA driver");                \
  }
  TL_DRIVER_FUNCTIONS(TL_RESOLVE)
#undef TL_RESOLVE
  device_get_uuid =
      reinterpret_cast<CuResult (*)(CuUuid *, CuDevice)>(dlsym(handle, "cuDeviceGetUuid_v2"));
  device_total_memory =
      reinterpret_cast<CuResult (*)(size_t *, CuDevice)>(dlsym(handle, "cuDeviceTotalMem_v2"));
  check(init(0), "cuInit");
  int number = 0;
  check(driver_get_version(&number), "cuDriverGetVersion");
  if (number < kVersionMin) {
    throw missing("has a driver that is too old: expected at least CUDA 12.0, got " +
                  std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10) +
                  "; install a newer NVIDIA driver");
  }
  version_ = static_cast<uint32_t>(number);
}

bool Driver::answers(CuResult result, const char *call) const {
  if (is_sticky(result)) {
    check(result, call);
  }
  return result == 0;
}

void Driver::check(CuResult result, const char *call) const {
  if (result == 0) {
    return;
  }
  remember(result);
  const char *name = nullptr;
  const char *text = nullptr;
  if (error_name(result, &name) != 0 || name == nullptr) {
    name = "unknown error";
  }
  if (error_string(result, &text) != 0 || text == nullptr) {
    text = "no explanation";
  }
  const int status = status_of(result);
  Failure failure(status, std::string("fails in ") + call + ": " + name + " (" +
                              std::to_string(result) + "), " + text + advice_of(status, result));
  failure.device_error = result;
  throw failure;
}

}  // namespace tileloom
