#include "image.hpp"

#include <dlfcn.h>

#include <cstring>

#include "../core/failure.hpp"
#include "../core/hash128.hpp"
#include "../core/mapped_file.hpp"
#include "../include/tileloom_device.h"
#include "image_cache.hpp"
#include "nvrtc.hpp"
#include "sources.hpp"

namespace tileloom {
namespace {

constexpr char kAssignKernel[] = "tl_assign_grid_fp64";
constexpr char kAggregateKernel[] = "tl_aggregate_exact";

// The fat binary lies beside this library.
std::string usual_image_path() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void *>(&tl_abi_version), &info) == 0) {
    return "tileloom_cuda.fatbin";
  }
  const std::string library = info.dli_fname;
  const size_t slash = library.rfind('/');
  return (slash == std::string::npos ? "" : library.substr(0, slash + 1)) + "tileloom_cuda.fatbin";
}

// The same as scripts/build-cuda.mjs gives nvcc: exactness depends on them.
std::vector<std::string> compile_options(uint32_t capability) {
  return {"--gpu-architecture=sm_" + std::to_string(capability),
          "--std=c++17",
          "--fmad=false",
          "--ftz=false",
          "--prec-div=true",
          "--prec-sqrt=true"};
}

std::string cache_key(const Nvrtc &nvrtc, const std::vector<std::string> &options) {
  std::string inputs =
      "abi " + std::to_string(TL_ABI_VERSION) + " nvrtc " + std::to_string(nvrtc.version()) + "\n";
  for (const std::string &option : options) {
    inputs += option + "\n";
  }
  for (int index = 0; index < kEmbeddedFiles; ++index) {
    inputs += std::string(embedded_files()[index].name) + "\n" + embedded_files()[index].text;
  }
  const Digest128 digest = hash128(inputs.data(), inputs.size());
  std::string key;
  for (const uint8_t byte : digest.bytes) {
    key += "0123456789abcdef"[byte >> 4];
    key += "0123456789abcdef"[byte & 15];
  }
  return key;
}

// Whether another image may do where this one did not: anything but a lost or full device.
bool is_about_the_image(const Failure &failure) {
  return failure.status == TL_IMAGE_UNUSABLE || failure.status == TL_IO_ERROR;
}

}  // namespace

Image::Image(const Driver &driver, const ImageRequest &request) : driver_(driver) {
  if (!load_ahead_of_time(request)) {
    load_compiled(request);
  }
}

bool Image::load_ahead_of_time(const ImageRequest &request) {
  const std::string path = request.image_path == nullptr ? usual_image_path() : request.image_path;
  try {
    MappedFile file;
    file.copy(path.c_str());
    load(std::vector<uint8_t>(file.data(), file.data() + file.size()), TL_IMAGE_AHEAD_OF_TIME);
    return true;
  } catch (const Failure &failure) {
    if (!is_about_the_image(failure)) {
      throw;
    }
    note_ = "image " + path + " " + failure.text;
    return false;
  }
}

void Image::load_compiled(const ImageRequest &request) {
  try {
    const Nvrtc nvrtc(request.nvrtc_path);
    const std::vector<std::string> options = compile_options(request.capability);
    const ImageCache cache(request.cache_path, cache_key(nvrtc, options));
    const std::vector<uint8_t> cached = cache.read();
    if (!cached.empty()) {
      try {
        load(cached, TL_IMAGE_CACHED);
        return;
      } catch (const Failure &failure) {
        if (!is_about_the_image(failure)) {
          throw;
        }
        cache.remove();
      }
    }
    const std::vector<uint8_t> image = nvrtc.compile(options);
    load(image, TL_IMAGE_COMPILED);
    cache.write(image);
  } catch (Failure &failure) {
    if (failure.status == TL_IMAGE_UNUSABLE) {
      failure.text = "has no kernels for sm_" + std::to_string(request.capability) + ": " + note_ +
                     "; " + failure.text + "; run npm run build:cuda, or install NVRTC";
    }
    throw;
  }
}

void Image::load(const std::vector<uint8_t> &bytes, uint32_t origin) {
  CuModule module = nullptr;
  driver_.check(driver_.module_load(&module, bytes.data()), "cuModuleLoadData");
  try {
    driver_.check(driver_.module_function(&assign_, module, kAssignKernel), "cuModuleGetFunction");
    driver_.check(driver_.module_function(&aggregate_, module, kAggregateKernel),
                  "cuModuleGetFunction");
  } catch (...) {
    driver_.module_unload(module);
    throw;
  }
  module_ = module;
  origin_ = origin;
  std::memcpy(digest_, hash128(bytes.data(), bytes.size()).bytes, sizeof digest_);
}

}  // namespace tileloom
