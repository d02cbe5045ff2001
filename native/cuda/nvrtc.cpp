#include "nvrtc.hpp"

#include <dlfcn.h>

#include <algorithm>

#include "../core/failure.hpp"
#include "shown_text.hpp"
#include "sources.hpp"

namespace tileloom {
namespace {

constexpr size_t kReasonShown = 130;  // of the loader, which begins with the path

[[noreturn]] void refuse(const std::string &text) { throw Failure(TL_IMAGE_UNUSABLE, text); }

constexpr uint32_t kCuda13 = 13000;

void *open_library(const char *path, uint32_t driver_version) {
  if (path != nullptr) {
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
  }
  const bool newer = driver_version >= kCuda13;
  void *handle = dlopen(newer ? "libnvrtc.so.13" : "libnvrtc.so.12", RTLD_NOW | RTLD_LOCAL);
  return handle != nullptr
             ? handle
             : dlopen(newer ? "libnvrtc.so.12" : "libnvrtc.so.13", RTLD_NOW | RTLD_LOCAL);
}

// NVRTC looks for its builtins in the loader's path only. Where it lies elsewhere, they are loaded
// from beside it first; when that fails, compiling says so.
void open_builtins(void *function, int major, int minor) {
  Dl_info info{};
  if (dladdr(function, &info) == 0 || info.dli_fname == nullptr) {
    return;
  }
  const std::string library = info.dli_fname;
  const size_t slash = library.rfind('/');
  if (slash != std::string::npos) {
    const std::string path = library.substr(0, slash) + "/libnvrtc-builtins.so." +
                             std::to_string(major) + "." + std::to_string(minor);
    dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  }
}

template <class Function>
void resolve(void *handle, const char *symbol, Function &function) {
  function = reinterpret_cast<Function>(dlsym(handle, symbol));
  if (function == nullptr) {
    refuse(std::string("lacks ") + symbol);
  }
}

}  // namespace

Nvrtc::Nvrtc(const char *path, uint32_t driver_version) {
  void *handle = open_library(path, driver_version);
  if (handle == nullptr) {
    const char *reason = dlerror();
    refuse(std::string("is missing: ") +
           (path == nullptr ? "neither libnvrtc.so.13 nor .12; " : "") +
           (reason == nullptr ? "no reason given" : end_of(reason, kReasonShown)));
  }
  resolve(handle, "nvrtcVersion", get_version_);
  resolve(handle, "nvrtcCreateProgram", create_);
  resolve(handle, "nvrtcCompileProgram", compile_);
  resolve(handle, "nvrtcGetProgramLogSize", log_size_);
  resolve(handle, "nvrtcGetProgramLog", log_);
  resolve(handle, "nvrtcGetCUBINSize", cubin_size_);
  resolve(handle, "nvrtcGetCUBIN", cubin_);
  resolve(handle, "nvrtcDestroyProgram", destroy_);
  resolve(handle, "nvrtcGetErrorString", error_string_);
  int major = 0;
  int minor = 0;
  check(get_version_(&major, &minor), "nvrtcVersion");
  version_ = static_cast<uint32_t>(major * 1000 + minor * 10);
  open_builtins(reinterpret_cast<void *>(get_version_), major, minor);
}

void Nvrtc::check(int result, const char *call) const {
  if (result != 0) {
    const char *text = error_string_(result);
    refuse(std::string("fails in ") + call + ": " + (text == nullptr ? "unknown error" : text) +
           " (" + std::to_string(result) + ")");
  }
}

std::string Nvrtc::log_of(Program program) const {
  size_t size = 0;
  if (log_size_(program, &size) != 0 || size == 0) {
    return "no log";
  }
  std::string log(size, '\0');
  if (log_(program, &log[0]) != 0) {
    return "no log";
  }
  log.resize(std::min(log.find('\0'), log.size()));
  std::replace(log.begin(), log.end(), '\n', ' ');
  return log;
}

std::vector<uint8_t> Nvrtc::compile(const std::vector<std::string> &options) const {
  const EmbeddedFile *files = embedded_files();
  const char *texts[kEmbeddedFiles];
  const char *names[kEmbeddedFiles];
  for (int index = 1; index < kEmbeddedFiles; ++index) {
    texts[index - 1] = files[index].text;
    names[index - 1] = files[index].name;
  }
  std::vector<const char *> arguments;
  for (const std::string &option : options) {
    arguments.push_back(option.c_str());
  }
  Program program = nullptr;
  check(create_(&program, files[0].text, files[0].name, kEmbeddedFiles - 1, texts, names),
        "nvrtcCreateProgram");
  struct Owner {
    const Nvrtc &nvrtc;
    Program program;
    ~Owner() { nvrtc.destroy_(&program); }
  } owner{*this, program};
  const int result = compile_(program, static_cast<int>(arguments.size()), arguments.data());
  if (result != 0) {
    refuse("refuses the kernels: " + log_of(program));
  }
  size_t size = 0;
  check(cubin_size_(program, &size), "nvrtcGetCUBINSize");
  std::vector<uint8_t> image(size);
  check(cubin_(program, reinterpret_cast<char *>(image.data())), "nvrtcGetCUBIN");
  return image;
}

}  // namespace tileloom
