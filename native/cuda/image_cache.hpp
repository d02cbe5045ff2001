// Images compiled here, kept on disk: `<key>.cubin` in one folder, shared by processes.
//
// I1 the key is a digest of everything that the compiler was given; an entry that is not an image
//    file of these sources is deleted, never used.
// I2 entries appear by rename; one process compiles a key while others wait for its lock, at most
//    10 s: after that each works for itself.
// I3 a folder that cannot be made, locked or written costs the cache and nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tileloom {

class ImageCache {
 public:
  // folder: null keeps nothing; made when it is missing. key: file name without its ending. Takes
  // the key's lock until it is destroyed.
  ImageCache(const char *folder, const std::string &key);
  ~ImageCache();
  ImageCache(const ImageCache &) = delete;
  ImageCache &operator=(const ImageCache &) = delete;

  // The payload; empty when there is none. A damaged or foreign entry is deleted.
  std::vector<uint8_t> read() const;
  void write(const std::vector<uint8_t> &payload) const;
  void remove() const;

 private:
  std::string path_;  // empty without a folder
  int lock_ = -1;
};

}  // namespace tileloom
