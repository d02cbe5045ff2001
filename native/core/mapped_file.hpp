// Read-only files: mapped, or copied into huge-page memory for random access.
#pragma once

#include <cstdint>
#include <string>

namespace tileloom {

// Owns an address range obtained from mmap.
class MappedFile {
 public:
  MappedFile() = default;
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  // Maps the file's pages; they are shared and evictable.
  void map(const char *path);
  // Reads the file into anonymous memory with huge pages where the system gives them: random access
  // to a mapped file misses the TLB on almost every row.
  void copy(const char *path);

  const uint8_t *data() const { return data_; }
  uint64_t size() const { return size_; }

 private:
  uint8_t *data_ = nullptr;
  uint64_t size_ = 0;
  uint64_t length_ = 0;
};

// An open file descriptor, closed at the end.
class OpenFile {
 public:
  OpenFile() = default;
  explicit OpenFile(int descriptor) : descriptor_(descriptor) {}
  ~OpenFile();
  OpenFile(OpenFile &&other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
  OpenFile(const OpenFile &) = delete;
  OpenFile &operator=(const OpenFile &) = delete;
  int get() const { return descriptor_; }
  void swap(OpenFile &other) {
    const int mine = descriptor_;
    descriptor_ = other.descriptor_;
    other.descriptor_ = mine;
  }

 private:
  int descriptor_ = -1;
};

// Throws TL_IO_ERROR with the path.
OpenFile open_for_reading(const char *path);

// Writes the pieces to `<path>.<pid>.tmp`, syncs it when durable, and renames it to path.
struct FilePiece {
  const void *data;
  uint64_t size;
};
void write_file_atomically(const char *path, const FilePiece *pieces, int count, bool durable);

}  // namespace tileloom
