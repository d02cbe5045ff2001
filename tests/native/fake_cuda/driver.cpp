// The functions of libcuda that tileloom calls: devices, contexts, images and launches. Signatures
// are those of the driver API's ABI.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "state.hpp"

using fake::begin;
using fake::begin_in_context;
using fake::Context;
using fake::Control;
using fake::DeviceLine;
using fake::State;

#define FAKE_API extern "C" __attribute__((visibility("default")))

namespace {

// The device of a number, and what a call about it answers.
int begin_device(const char *function, int number, DeviceLine &device) {
  State &state = State::get();
  std::string uuid;
  {
    const std::lock_guard<std::mutex> lock(state.mutex);
    state.control.refresh();
    const std::vector<DeviceLine> visible = state.visible();
    if (number >= 0 && static_cast<size_t>(number) < visible.size()) {
      device = visible[static_cast<size_t>(number)];
      uuid = device.uuid;
    }
  }
  const int failure = fake::begin_on(function, uuid);
  if (failure != 0) {
    return failure;
  }
  const std::lock_guard<std::mutex> lock(state.mutex);
  return !state.initialized ? fake::kNotInitialized : uuid.empty() ? fake::kInvalidDevice : 0;
}

// As `begin` for a call that has words for an error: an error that has stuck does not fail it.
int begin_words(const char *function) {
  const int failure = begin(function, nullptr);
  const std::lock_guard<std::mutex> lock(State::get().mutex);
  return State::get().poison == 0 ? failure : 0;
}

const char *name_of(int result) {
  static const struct {
    int result;
    const char *name;
  } names[] = {
      {1, "CUDA_ERROR_INVALID_VALUE"},
      {2, "CUDA_ERROR_OUT_OF_MEMORY"},
      {3, "CUDA_ERROR_NOT_INITIALIZED"},
      {46, "CUDA_ERROR_DEVICE_UNAVAILABLE"},
      {100, "CUDA_ERROR_NO_DEVICE"},
      {101, "CUDA_ERROR_INVALID_DEVICE"},
      {200, "CUDA_ERROR_INVALID_IMAGE"},
      {201, "CUDA_ERROR_INVALID_CONTEXT"},
      {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
      {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
      {400, "CUDA_ERROR_INVALID_HANDLE"},
      {500, "CUDA_ERROR_NOT_FOUND"},
      {600, "CUDA_ERROR_NOT_READY"},
      {700, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      {702, "CUDA_ERROR_LAUNCH_TIMEOUT"},
      {719, "CUDA_ERROR_LAUNCH_FAILED"},
      {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"},
      {999, "CUDA_ERROR_UNKNOWN"},
  };
  for (const auto &one : names) {
    if (one.result == result) {
      return one.name;
    }
  }
  return nullptr;
}

}  // namespace

FAKE_API int cuInit(unsigned flags) {
  const int failure = begin("cuInit", nullptr);
  if (failure != 0 || flags != 0) {
    return failure != 0 ? failure : fake::kInvalidValue;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.initialized = !state.visible().empty();
  return state.initialized ? 0 : fake::kNoDevice;
}

FAKE_API int cuDriverGetVersion(int *version) {
  const int failure = begin("cuDriverGetVersion", nullptr);
  if (failure == 0) {
    const std::lock_guard<std::mutex> lock(State::get().mutex);
    *version = State::get().control.version();
  }
  return failure;
}

FAKE_API int cuDeviceGetCount(int *count) {
  const int failure = begin("cuDeviceGetCount", nullptr);
  if (failure != 0) {
    return failure;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  *count = static_cast<int>(state.visible().size());
  return state.initialized ? 0 : fake::kNotInitialized;
}

FAKE_API int cuDeviceGet(int *device, int ordinal) {
  DeviceLine line;
  const int failure = begin_device("cuDeviceGet", ordinal, line);
  if (failure == 0) {
    *device = ordinal;
  }
  return failure;
}

FAKE_API int cuDeviceGetName(char *name, int length, int device) {
  DeviceLine line;
  const int failure = begin_device("cuDeviceGetName", device, line);
  if (failure == 0) {
    std::snprintf(name, static_cast<size_t>(length), "%s", line.name.c_str());
  }
  return failure;
}

FAKE_API int cuDeviceGetPCIBusId(char *text, int length, int device) {
  DeviceLine line;
  const int failure = begin_device("cuDeviceGetPCIBusId", device, line);
  if (failure == 0) {
    std::snprintf(text, static_cast<size_t>(length), "%s", line.pci_bus_id.c_str());
  }
  return failure;
}

FAKE_API int cuDeviceGetUuid_v2(unsigned char *bytes, int device) {
  DeviceLine line;
  const int failure = begin_device("cuDeviceGetUuid_v2", device, line);
  if (failure != 0) {
    return failure;
  }
  std::string digits = line.uuid.substr(4);
  digits.erase(std::remove(digits.begin(), digits.end(), '-'), digits.end());
  for (size_t index = 0; index < 16; ++index) {
    bytes[index] = static_cast<unsigned char>(std::stoi(digits.substr(2 * index, 2), nullptr, 16));
  }
  return 0;
}

FAKE_API int cuDeviceTotalMem_v2(size_t *bytes, int device) {
  DeviceLine line;
  const int failure = begin_device("cuDeviceTotalMem_v2", device, line);
  if (failure == 0) {
    *bytes = line.bytes;
  }
  return failure;
}

FAKE_API int cuDeviceGetAttribute(int *value, int attribute, int device) {
  DeviceLine line;
  const int failure = begin_device("cuDeviceGetAttribute", device, line);
  if (failure != 0) {
    return failure;
  }
  const bool is_datacenter = line.capability == 80 || line.capability == 90;
  switch (attribute) {
    case 16:
      *value = 4;  // multiprocessors
      return 0;
    case 75:
      *value = line.capability / 10;
      return 0;
    case 76:
      *value = line.capability % 10;
      return 0;
    case 87:
      *value = is_datacenter ? 2 : 64;  // single to double precision
      return 0;
    default:
      return fake::kInvalidValue;
  }
}

FAKE_API int cuDevicePrimaryCtxRetain(Context **context, int device) {
  DeviceLine line;
  const int failure = begin_device("cuDevicePrimaryCtxRetain", device, line);
  if (failure != 0) {
    return failure;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  *context = state.context_of(line);
  (*context)->retained += 1;
  return 0;
}

// What still lives in the context stays counted: nobody can free it any more.
FAKE_API int cuDevicePrimaryCtxRelease_v2(int device) {
  DeviceLine line;
  const int failure = begin_device("cuDevicePrimaryCtxRelease_v2", device, line);
  if (failure != 0) {
    return failure;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  Context *context = state.context_of(line);
  if (context->retained == 0) {
    return fake::kInvalidContext;
  }
  context->retained -= 1;
  state.write_log();
  return 0;
}

FAKE_API int cuCtxSetCurrent(Context *context) {
  const int failure = begin("cuCtxSetCurrent", context);
  if (failure != 0) {
    return failure;
  }
  if (context != nullptr && !fake::is_alive(*context)) {
    return fake::kInvalidContext;
  }
  fake::set_current(context);
  return 0;
}

FAKE_API int cuModuleLoadData(fake::Module **module, const void *image) {
  int failure = begin_in_context("cuModuleLoadData");
  if (failure == 0) {
    failure = fake::judge_image(image, fake::current()->device.capability);
  }
  if (failure != 0) {
    return failure;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  auto made = std::make_unique<fake::Module>(fake::Module{fake::current()});
  *module = made.get();
  state.modules[*module] = std::move(made);
  return 0;
}

FAKE_API int cuModuleUnload(fake::Module *module) {
  const int failure = begin_in_context("cuModuleUnload");
  if (failure != 0) {
    return failure;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  return state.modules.erase(module) == 1 ? 0 : fake::kInvalidHandle;
}

FAKE_API int cuModuleGetFunction(fake::Function **function, fake::Module *module,
                                 const char *name) {
  const int failure = begin_in_context("cuModuleGetFunction");
  if (failure != 0) {
    return failure;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (state.modules.count(module) == 0) {
    return fake::kInvalidHandle;
  }
  for (fake::Function &one : module->functions) {
    if (std::strcmp(name, one.name) == 0) {
      *function = &one;
      return 0;
    }
  }
  return fake::kNotFound;
}

FAKE_API int cuGetErrorName(int result, const char **name) {
  const int failure = begin_words("cuGetErrorName");
  *name = name_of(result);
  return failure != 0 ? failure : *name == nullptr;
}

FAKE_API int cuGetErrorString(int result, const char **text) {
  const int failure = begin_words("cuGetErrorString");
  *text = "as the fake was told";
  return failure != 0 ? failure : name_of(result) == nullptr;
}
