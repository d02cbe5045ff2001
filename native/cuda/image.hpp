// The kernels' machine code: the image file built ahead of time, else what NVRTC makes of the
// embedded sources, kept in a cache on disk.
#pragma once

#include <string>
#include <vector>

#include "driver.hpp"

namespace tileloom {

class ImageCache;

struct ImageRequest {
  const char *image_path;
  const char *nvrtc_path;
  const char *cache_path;
  uint32_t capability;  // 90 is 9.0
};

enum class Precision : uint32_t { kFp64, kFp32 };  // of the filter; answers are the same

// A loaded module and its kernels. Made and freed with the context current.
class Image {
 public:
  // Throws TL_IMAGE_UNUSABLE with the reasons of both ways.
  Image(const Driver &driver, const ImageRequest &request);
  ~Image();
  Image(const Image &) = delete;
  Image &operator=(const Image &) = delete;

  CuFunction kernel(Precision precision, bool fused) const {
    return kernels_[static_cast<int>(precision)][fused ? 1 : 0];
  }
  uint32_t origin() const { return origin_; }        // TL_IMAGE_*
  const uint8_t *digest() const { return digest_; }  // of the payload
  // Why the image file was not used, at most 87 bytes; empty when it was.
  const std::string &note() const { return note_; }

 private:
  void compile(const ImageRequest &request, const std::string &path, int device_error);
  bool load_cached(const ImageCache &cache);
  void load_compiled(const std::vector<uint8_t> &image);
  void load(const std::vector<uint8_t> &bytes, uint32_t origin);
  void check(CuResult result, const char *what) const;

  const Driver &driver_;
  CuModule module_ = nullptr;
  CuFunction kernels_[2][2] = {};
  uint32_t origin_ = 0;
  uint8_t digest_[16] = {};
  std::string note_;
};

}  // namespace tileloom
