// The run-time compiler, opened at run time: machine code for one architecture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tileloom {

struct NvrtcProgramTag;

// Throws TL_IMAGE_UNUSABLE: no library, a function missing, sources that do not compile.
class Nvrtc {
 public:
  // Of the usual places it takes that of the driver's own CUDA first: a driver need not load
  // machine code of a newer one.
  Nvrtc(const char *path, uint32_t driver_version);

  uint32_t version() const { return version_; }  // 13000 is 13.0
  std::vector<uint8_t> compile(const std::vector<std::string> &options) const;

 private:
  using Program = NvrtcProgramTag *;
  void check(int result, const char *call) const;
  std::string log_of(Program program) const;

  int (*get_version_)(int *, int *) = nullptr;
  int (*create_)(Program *, const char *, const char *, int, const char *const *,
                 const char *const *) = nullptr;
  int (*compile_)(Program, int, const char *const *) = nullptr;
  int (*log_size_)(Program, size_t *) = nullptr;
  int (*log_)(Program, char *) = nullptr;
  int (*cubin_size_)(Program, size_t *) = nullptr;
  int (*cubin_)(Program, char *) = nullptr;
  int (*destroy_)(Program *) = nullptr;
  const char *(*error_string_)(int) = nullptr;
  uint32_t version_ = 0;
};

}  // namespace tileloom
