#include "image_cache.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "../core/failure.hpp"
#include "image_file.hpp"

namespace tileloom {
namespace {

// Judgement: a compilation takes seconds; whoever holds the lock for longer hangs. It leaves time
// to compile here before whoever started this process gives up (20 s for a look, 60 s for work).
constexpr std::chrono::seconds kLockWaitMax(10);
constexpr std::chrono::milliseconds kLockPause(20);

// −1 where the file cannot be made. A lock that is refused (some network shares) or not freed in
// time is done without: entries appear by rename, so the loss is a second compilation.
int take_lock(const std::string &path) {
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  const auto end = std::chrono::steady_clock::now() + kLockWaitMax;
  while (descriptor >= 0 && flock(descriptor, LOCK_EX | LOCK_NB) != 0 &&
         (errno == EWOULDBLOCK || errno == EINTR) && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(kLockPause);
  }
  return descriptor;
}

}  // namespace

ImageCache::ImageCache(const char *folder, const std::string &key) {
  if (folder == nullptr) {
    return;
  }
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  path_ = std::string(folder) + "/" + key + ".cubin";
  lock_ = take_lock(std::string(folder) + "/" + key + ".lock");
}

ImageCache::~ImageCache() {
  if (lock_ >= 0) {
    close(lock_);
  }
}

std::vector<uint8_t> ImageCache::read() const {
  if (path_.empty() || access(path_.c_str(), F_OK) != 0) {
    return {};
  }
  try {
    return read_image_file(path_);
  } catch (const Failure &failure) {
    if (failure.status != TL_IMAGE_UNUSABLE) {
      throw;
    }
    remove();
    return {};
  }
}

void ImageCache::write(const std::vector<uint8_t> &payload) const {
  if (path_.empty()) {
    return;
  }
  try {
    write_image_file(path_, payload);
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
