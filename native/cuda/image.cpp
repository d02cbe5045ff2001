#include "image.hpp"

#include <dlfcn.h>

#include <cstring>

#include "../core/failure.hpp"
#include "../core/hash128.hpp"
#include "../include/tileloom_device.h"
#include "image_cache.hpp"
#include "image_file.hpp"
#include "nvrtc.hpp"
#include "shown_text.hpp"
#include "sources.hpp"

namespace tileloom {
namespace {

// By precision, then assign alone or fused with aggregate.
constexpr const char *kKernels[2][2] = {{"tl_assign_grid_fp64", "tl_fused_grid_fp64"},
                                        {"tl_assign_grid_fp32", "tl_fused_grid_fp32"}};
// What of a path and of a compiler's log a message shows, so that it holds both reasons whole:
// tl_error has room for 512 bytes.
constexpr size_t kPathShown = 120;
constexpr size_t kNvrtcShown = 170;

// The image file lies beside this library.
std::string usual_image_path() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void *>(&tl_abi_version), &info) == 0) {
    return "tileloom_cuda.fatbin";
  }
  const std::string library = info.dli_fname;
  const size_t slash = library.rfind('/');
  return (slash == std::string::npos ? "" : library.substr(0, slash + 1)) + "tileloom_cuda.fatbin";
}

std::vector<std::string> compile_options(uint32_t capability) {
  std::vector<std::string> options = exact_options();
  options.push_back("--gpu-architecture=sm_" + std::to_string(capability));
  return options;
}

// Of all that decides the machine code: the sources digest stands for files and common options.
std::string cache_key(const Nvrtc &nvrtc, const std::vector<std::string> &options) {
  const Digest128 sources = sources_digest();
  std::string inputs =
      "abi " + std::to_string(TL_ABI_VERSION) + " nvrtc " + std::to_string(nvrtc.version()) + "\n";
  inputs.append(reinterpret_cast<const char *>(sources.bytes), sizeof sources.bytes);
  for (const std::string &option : options) {
    inputs += "\n" + option;
  }
  const Digest128 digest = hash128(inputs.data(), inputs.size());
  std::string key;
  for (const uint8_t byte : digest.bytes) {
    key += "0123456789abcdef"[byte >> 4];
    key += "0123456789abcdef"[byte & 15];
  }
  return key;
}

// Unloads the module unless it is taken.
class LoadedModule {
 public:
  LoadedModule(const Driver &driver, CuModule module) : driver_(driver), module_(module) {}
  ~LoadedModule() {
    if (module_ != nullptr) {
      driver_.let_go([&] { return driver_.module_unload(module_); });
    }
  }
  LoadedModule(const LoadedModule &) = delete;
  LoadedModule &operator=(const LoadedModule &) = delete;
  CuModule take() {
    CuModule module = module_;
    module_ = nullptr;
    return module;
  }

 private:
  const Driver &driver_;
  CuModule module_;
};

}  // namespace

Image::Image(const Driver &driver, const ImageRequest &request) : driver_(driver) {
  const std::string path = request.image_path == nullptr ? usual_image_path() : request.image_path;
  try {
    load(read_image_file(path), TL_IMAGE_AHEAD_OF_TIME);
  } catch (const Failure &failure) {
    if (failure.status != TL_IMAGE_UNUSABLE) {
      throw;  // the device is lost or full: another image would not help
    }
    note_ = failure.text;
    compile(request, path, failure.device_error);
  }
}

Image::~Image() {
  if (module_ != nullptr) {
    driver_.let_go([&] { return driver_.module_unload(module_); });
  }
}

void Image::compile(const ImageRequest &request, const std::string &path, int device_error) {
  try {
    const Nvrtc nvrtc(request.nvrtc_path, driver_.version());
    const std::vector<std::string> options = compile_options(request.capability);
    const ImageCache cache(request.cache_path, cache_key(nvrtc, options));
    if (load_cached(cache)) {
      return;
    }
    const std::vector<uint8_t> image = nvrtc.compile(options);
    load_compiled(image);
    cache.write(image);
  } catch (Failure &failure) {
    if (failure.status == TL_IMAGE_UNUSABLE) {
      failure.text = "has no kernels for sm_" + std::to_string(request.capability) + ": image " +
                     end_of(path, kPathShown) + " " + note_ + "; NVRTC " +
                     start_of(failure.text, kNvrtcShown) +
                     "; run npm run build:cuda, or install NVRTC";
      failure.device_error = failure.device_error != 0 ? failure.device_error : device_error;
    }
    throw;
  }
}

// An entry that the driver refuses is deleted; then the kernels are compiled, once.
bool Image::load_cached(const ImageCache &cache) {
  const std::vector<uint8_t> cached = cache.read();
  if (cached.empty()) {
    return false;
  }
  try {
    load(cached, TL_IMAGE_CACHED);
    return true;
  } catch (const Failure &failure) {
    if (failure.status != TL_IMAGE_UNUSABLE) {
      throw;
    }
    cache.remove();
    return false;
  }
}

void Image::load_compiled(const std::vector<uint8_t> &image) {
  try {
    load(image, TL_IMAGE_COMPILED);
  } catch (Failure &failure) {
    if (failure.status == TL_IMAGE_UNUSABLE) {
      failure.text = "made an image that " + failure.text;
    }
    throw;
  }
}

void Image::load(const std::vector<uint8_t> &bytes, uint32_t origin) {
  CuModule module = nullptr;
  check(driver_.module_load(&module, bytes.data()), "cuModuleLoadData");
  LoadedModule loaded(driver_, module);
  for (int precision = 0; precision < 2; ++precision) {
    for (int fused = 0; fused < 2; ++fused) {
      const char *name = kKernels[precision][fused];
      check(driver_.module_function(&kernels_[precision][fused], module, name), name);
    }
  }
  module_ = loaded.take();
  origin_ = origin;
  std::memcpy(digest_, hash128(bytes.data(), bytes.size()).bytes, sizeof digest_);
}

// As the driver's own check, with few words when the image is to blame: they go into the note.
void Image::check(CuResult result, const char *what) const {
  try {
    driver_.check(result, what);
  } catch (Failure &failure) {
    if (failure.status == TL_IMAGE_UNUSABLE) {
      const char *name = nullptr;
      const bool named = driver_.error_name(result, &name) == 0 && name != nullptr;
      failure.text = std::string("is refused in ") + what + ": " +
                     (named ? std::string(name).substr(0, 40) : "unknown error") + " (" +
                     std::to_string(result) + ")";
    }
    throw;
  }
}

}  // namespace tileloom
