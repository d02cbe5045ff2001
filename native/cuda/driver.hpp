// The CUDA driver, opened at run time. Types and names are those of the driver API's ABI; the
// suffixed names are the 64-bit ones, which cuda.h's macros would choose.
//
// I1 an error that sticks to the process is remembered for the process: from then on nothing calls
//    the driver any more, not even to free, because it may hang.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tileloom {

using CuResult = int;
using CuDevice = int;
using CuPointer = unsigned long long;
using CuContext = struct CuContextTag *;
using CuModule = struct CuModuleTag *;
using CuFunction = struct CuFunctionTag *;
using CuStream = struct CuStreamTag *;
using CuEvent = struct CuEventTag *;

constexpr unsigned kStreamNonBlocking = 1;
constexpr unsigned kEventBlockingSync = 1;
constexpr unsigned kHostAllocPortable = 1;
constexpr int kAttributeMajor = 75;
constexpr int kAttributeMinor = 76;
constexpr int kAttributeMultiprocessors = 16;
constexpr int kAttributeSingleToDouble = 87;

struct CuUuid {
  unsigned char bytes[16];
};

// clang-format off
#define TL_DRIVER_FUNCTIONS(X) \
  X(init, "cuInit", (unsigned)) \
  X(driver_get_version, "cuDriverGetVersion", (int *)) \
  X(device_get_count, "cuDeviceGetCount", (int *)) \
  X(device_get, "cuDeviceGet", (CuDevice *, int)) \
  X(device_get_name, "cuDeviceGetName", (char *, int, CuDevice)) \
  X(device_get_attribute, "cuDeviceGetAttribute", (int *, int, CuDevice)) \
  X(device_get_bus_id, "cuDeviceGetPCIBusId", (char *, int, CuDevice)) \
  X(primary_retain, "cuDevicePrimaryCtxRetain", (CuContext *, CuDevice)) \
  X(primary_release, "cuDevicePrimaryCtxRelease_v2", (CuDevice)) \
  X(set_current, "cuCtxSetCurrent", (CuContext)) \
  X(memory_info, "cuMemGetInfo_v2", (size_t *, size_t *)) \
  X(module_load, "cuModuleLoadData", (CuModule *, const void *)) \
  X(module_unload, "cuModuleUnload", (CuModule)) \
  X(module_function, "cuModuleGetFunction", (CuFunction *, CuModule, const char *)) \
  X(allocate, "cuMemAlloc_v2", (CuPointer *, size_t)) \
  X(free, "cuMemFree_v2", (CuPointer)) \
  X(host_allocate, "cuMemHostAlloc", (void **, size_t, unsigned)) \
  X(host_free, "cuMemFreeHost", (void *)) \
  X(stream_create, "cuStreamCreate", (CuStream *, unsigned)) \
  X(stream_destroy, "cuStreamDestroy_v2", (CuStream)) \
  X(stream_synchronize, "cuStreamSynchronize", (CuStream)) \
  X(event_create, "cuEventCreate", (CuEvent *, unsigned)) \
  X(event_destroy, "cuEventDestroy_v2", (CuEvent)) \
  X(event_record, "cuEventRecord", (CuEvent, CuStream)) \
  X(event_synchronize, "cuEventSynchronize", (CuEvent)) \
  X(event_elapsed, "cuEventElapsedTime", (float *, CuEvent, CuEvent)) \
  X(upload, "cuMemcpyHtoDAsync_v2", (CuPointer, const void *, size_t, CuStream)) \
  X(download, "cuMemcpyDtoHAsync_v2", (void *, CuPointer, size_t, CuStream)) \
  X(fill, "cuMemsetD8Async", (CuPointer, unsigned char, size_t, CuStream)) \
  X(launch, "cuLaunchKernel", (CuFunction, unsigned, unsigned, unsigned, unsigned, unsigned, \
                               unsigned, unsigned, CuStream, void **, void **)) \
  X(error_name, "cuGetErrorName", (CuResult, const char **)) \
  X(error_string, "cuGetErrorString", (CuResult, const char **))
// clang-format on

// Throws TL_DEVICE_MISSING: no driver, a driver without a function, a driver that is too old; and
// TL_DEVICE_LOST after a sticky error.
class Driver {
 public:
  explicit Driver(const char *path);

#define TL_DECLARE(name, symbol, arguments) CuResult(*name) arguments = nullptr;
  TL_DRIVER_FUNCTIONS(TL_DECLARE)
#undef TL_DECLARE
  // Absent from old drivers: null there.
  CuResult (*device_get_uuid)(CuUuid *, CuDevice) = nullptr;
  CuResult (*device_total_memory)(size_t *, CuDevice) = nullptr;

  // Throws when `result` is a failure of the function `call`; says what it means and what to do.
  // Remembers a sticky error.
  void check(CuResult result, const char *call) const;
  // Whether a question that may stay without an answer got one. Throws after a sticky error.
  bool answers(CuResult result, const char *call) const;
  // Runs a call that frees something. What it answers changes nothing, but a sticky error is
  // remembered; after one nothing is freed.
  template <class Call>
  void let_go(Call &&call) const {
    if (lost() == 0) {
      remember(call());
    }
  }
  uint32_t version() const { return version_; }

  // The sticky error of this process, or 0.
  static CuResult lost();
  // Throws TL_DEVICE_LOST after a sticky error.
  static void refuse_lost();

 private:
  static void remember(CuResult result);
  uint32_t version_ = 0;
};

// Errors after which no call of this process works on the device any more.
bool is_sticky(CuResult result);

}  // namespace tileloom
