// Memory that is counted: a meter per chunk, and buffers that report to it.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace tileloom {

// Bytes held now and at most so far; safe from several threads.
class Meter {
 public:
  void add(uint64_t bytes) {
    const uint64_t now = held_.fetch_add(bytes) + bytes;
    uint64_t peak = peak_.load();
    while (now > peak && !peak_.compare_exchange_weak(peak, now)) {
    }
  }
  void remove(uint64_t bytes) { held_.fetch_sub(bytes); }
  uint64_t held() const { return held_.load(); }
  uint64_t peak() const { return peak_.load(); }

 private:
  std::atomic<uint64_t> held_{0};
  std::atomic<uint64_t> peak_{0};
};

// A growing array of plain values, 64-byte aligned, counted by a meter.
template <class T>
class Buffer {
 public:
  explicit Buffer(Meter &meter) : meter_(&meter) {}
  ~Buffer() { release(); }
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  Buffer(Buffer &&other) noexcept
      : meter_(other.meter_), data_(other.data_), capacity_(other.capacity_) {
    other.data_ = nullptr;
    other.capacity_ = 0;
  }

  T *data() { return data_; }
  const T *data() const { return data_; }
  T &operator[](uint64_t index) { return data_[index]; }
  const T &operator[](uint64_t index) const { return data_[index]; }
  uint64_t capacity() const { return capacity_; }

  // Makes room for `count` values; contents are lost when it grows.
  void reserve_discarding(uint64_t count) {
    if (count > capacity_) {
      release();
      allocate(count);
    }
  }

  // Makes room for `count` values and keeps the first `used`; grows by half at least.
  void reserve_keeping(uint64_t count, uint64_t used) {
    if (count <= capacity_) {
      return;
    }
    Buffer grown(*meter_);
    grown.allocate(count > capacity_ + capacity_ / 2 ? count : capacity_ + capacity_ / 2);
    for (uint64_t index = 0; index < used; ++index) {
      grown.data_[index] = data_[index];
    }
    std::swap(data_, grown.data_);
    std::swap(capacity_, grown.capacity_);
  }

 private:
  static uint64_t bytes_of(uint64_t count) { return (count * sizeof(T) + 127) / 64 * 64; }

  void allocate(uint64_t count) {
    if (count > (uint64_t{1} << 48) / sizeof(T)) {
      throw std::bad_alloc();
    }
    data_ = static_cast<T *>(std::aligned_alloc(64, bytes_of(count)));
    if (data_ == nullptr) {
      throw std::bad_alloc();
    }
    capacity_ = count;
    meter_->add(bytes_of(count));
  }

  void release() {
    if (data_ != nullptr) {
      std::free(data_);
      meter_->remove(bytes_of(capacity_));
      data_ = nullptr;
      capacity_ = 0;
    }
  }

  Meter *meter_;
  T *data_ = nullptr;
  uint64_t capacity_ = 0;
};

}  // namespace tileloom
