#include "image_cache.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "../core/failure.hpp"
#include "../core/hash128.hpp"
#include "../core/mapped_file.hpp"

namespace tileloom {
namespace {

constexpr char kMagic[8] = {'T', 'L', 'C', 'U', 'B', 'N', '0', '1'};
constexpr uint64_t kHeadBytes = sizeof kMagic + 16;

}  // namespace

ImageCache::ImageCache(const char *folder, const std::string &key) {
  if (folder == nullptr) {
    return;
  }
  path_ = std::string(folder) + "/" + key + ".cubin";
  const std::string lock = std::string(folder) + "/" + key + ".lock";
  lock_ = open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ >= 0) {
    flock(lock_, LOCK_EX);
  }
}

ImageCache::~ImageCache() {
  if (lock_ >= 0) {
    close(lock_);
  }
}

std::vector<uint8_t> ImageCache::read() const {
  if (path_.empty() || access(path_.c_str(), R_OK) != 0) {
    return {};
  }
  MappedFile file;
  try {
    file.copy(path_.c_str());
  } catch (const Failure &) {
    remove();
    return {};
  }
  if (file.size() <= kHeadBytes || std::memcmp(file.data(), kMagic, sizeof kMagic) != 0) {
    remove();
    return {};
  }
  const uint8_t *image = file.data() + kHeadBytes;
  const uint64_t bytes = file.size() - kHeadBytes;
  if (std::memcmp(hash128(image, bytes).bytes, file.data() + sizeof kMagic, 16) != 0) {
    remove();
    return {};
  }
  return std::vector<uint8_t>(image, image + bytes);
}

void ImageCache::write(const std::vector<uint8_t> &image) const {
  if (path_.empty()) {
    return;
  }
  const Digest128 digest = hash128(image.data(), image.size());
  const FilePiece pieces[] = {
      {kMagic, sizeof kMagic}, {digest.bytes, sizeof digest.bytes}, {image.data(), image.size()}};
  try {
    write_file_atomically(path_.c_str(), pieces, 3, false);
  } catch (const Failure &) {
    return;  // a cache that cannot be written is no cache
  }
}

void ImageCache::remove() const {
  if (!path_.empty()) {
    std::remove(path_.c_str());
  }
}

}  // namespace tileloom
