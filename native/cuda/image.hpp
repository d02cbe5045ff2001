// The kernels' machine code: the fat binary built ahead of time, else what NVRTC makes of the
// embedded sources, kept in a cache on disk.
#pragma once

#include <string>
#include <vector>

#include "driver.hpp"

namespace tileloom {

struct ImageRequest {
  const char *image_path;
  const char *nvrtc_path;
  const char *cache_path;
  uint32_t capability;  // 90 is 9.0
};

// A loaded module and its kernels. Made and freed with the context current.
class Image {
 public:
  // Throws TL_IMAGE_UNUSABLE with the reasons of both ways.
  Image(const Driver &driver, const ImageRequest &request);
  ~Image() { driver_.module_unload(module_); }
  Image(const Image &) = delete;
  Image &operator=(const Image &) = delete;

  CuFunction assign() const { return assign_; }
  CuFunction aggregate() const { return aggregate_; }
  uint32_t origin() const { return origin_; }  // TL_IMAGE_*
  const uint8_t *digest() const { return digest_; }
  const std::string &note() const { return note_; }

 private:
  bool load_ahead_of_time(const ImageRequest &request);
  void load_compiled(const ImageRequest &request);
  void load(const std::vector<uint8_t> &bytes, uint32_t origin);

  const Driver &driver_;
  CuModule module_ = nullptr;
  CuFunction assign_ = nullptr;
  CuFunction aggregate_ = nullptr;
  uint32_t origin_ = 0;
  uint8_t digest_[16] = {};
  std::string note_;
};

}  // namespace tileloom
