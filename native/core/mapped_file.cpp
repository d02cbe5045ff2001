#include "mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "failure.hpp"

namespace tileloom {
namespace {

constexpr uint64_t kHugePage = uint64_t{1} << 21;

uint64_t size_of(const OpenFile &file, const char *path) {
  struct stat facts;
  if (fstat(file.get(), &facts) != 0) {
    throw system_failure(TL_IO_ERROR, std::string("file ") + path + " has no size", errno);
  }
  if (!S_ISREG(facts.st_mode)) {
    throw Failure(TL_IO_ERROR, std::string("file ") + path + " is not a regular file");
  }
  return static_cast<uint64_t>(facts.st_size);
}

void write_all(int descriptor, const FilePiece &piece, const std::string &path) {
  const uint8_t *from = static_cast<const uint8_t *>(piece.data);
  uint64_t left = piece.size;
  while (left > 0) {
    const ssize_t size = write(descriptor, from, left < (1u << 30) ? left : (1u << 30));
    if (size < 0 && errno == EINTR) {
      continue;
    }
    if (size < 0) {
      throw system_failure(TL_IO_ERROR, "file " + path + " cannot be written", errno);
    }
    from += size;
    left -= static_cast<uint64_t>(size);
  }
}

}  // namespace

OpenFile::~OpenFile() {
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
}

OpenFile open_for_reading(const char *path) {
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    throw system_failure(TL_IO_ERROR, std::string("file ") + path + " cannot be opened", errno);
  }
  return OpenFile(descriptor);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    munmap(data_, length_);
  }
}

void MappedFile::map(const char *path) {
  const OpenFile file = open_for_reading(path);
  size_ = size_of(file, path);
  if (size_ == 0) {
    return;
  }
  void *at = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (at == MAP_FAILED) {
    throw system_failure(errno == ENOMEM ? TL_OUT_OF_MEMORY : TL_IO_ERROR,
                         std::string("file ") + path + " cannot be mapped", errno);
  }
  data_ = static_cast<uint8_t *>(at);
  length_ = size_;
}

void MappedFile::copy(const char *path) {
  const OpenFile file = open_for_reading(path);
  size_ = size_of(file, path);
  length_ = (size_ / kHugePage + 1) * kHugePage;
  void *at = mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) {
    length_ = 0;
    throw system_failure(TL_OUT_OF_MEMORY, std::string("file ") + path + " does not fit", errno);
  }
  data_ = static_cast<uint8_t *>(at);
  madvise(data_, length_, MADV_HUGEPAGE);
  for (uint64_t done = 0; done < size_;) {
    const ssize_t size = pread(file.get(), data_ + done, size_ - done, static_cast<off_t>(done));
    if (size < 0 && errno == EINTR) {
      continue;
    }
    if (size < 0) {
      throw system_failure(TL_IO_ERROR, std::string("file ") + path + " cannot be read", errno);
    }
    if (size == 0) {
      throw Failure(TL_SHORT_READ, std::string("file ") + path + " shrank while it was read");
    }
    done += static_cast<uint64_t>(size);
  }
}

void write_file_atomically(const char *path, const FilePiece *pieces, int count, bool durable) {
  const std::string temporary = std::string(path) + "." + std::to_string(getpid()) + ".tmp";
  const int descriptor = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    throw system_failure(TL_IO_ERROR, "file " + temporary + " cannot be created", errno);
  }
  try {
    const OpenFile file(descriptor);
    for (int index = 0; index < count; ++index) {
      write_all(file.get(), pieces[index], temporary);
    }
    if (durable && fsync(file.get()) != 0) {
      throw system_failure(TL_IO_ERROR, "file " + temporary + " cannot be synced", errno);
    }
    if (rename(temporary.c_str(), path) != 0) {
      throw system_failure(TL_IO_ERROR, std::string("file ") + path + " cannot be renamed", errno);
    }
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
}

}  // namespace tileloom
