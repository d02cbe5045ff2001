// Images compiled here, kept on disk: `<key>.cubin` in one folder, shared by processes.
//
// I1 the key is a digest of everything that the compiler was given; a file is used only when its
//    contents match the digest inside it.
// I2 files appear by rename; one process compiles a key while others wait for its lock.
// I3 a folder that cannot be written, or does not exist, costs the cache and nothing else.
#pragma once

#include <string>
#include <vector>

namespace tileloom {

class ImageCache {
 public:
  // folder: null keeps nothing. key: file name without its ending. Takes the key's lock.
  ImageCache(const char *folder, const std::string &key);
  ~ImageCache();
  ImageCache(const ImageCache &) = delete;
  ImageCache &operator=(const ImageCache &) = delete;

  // Empty when there is none. A damaged file is deleted.
  std::vector<uint8_t> read() const;
  void write(const std::vector<uint8_t> &image) const;
  void remove() const;

 private:
  std::string path_;  // empty without a folder
  int lock_ = -1;
};

}  // namespace tileloom
