// Owners of what the driver hands out. Each frees its thing once; a driver that refuses to free
// keeps it until the process ends.
#pragma once

#include <utility>

#include "../core/meter.hpp"
#include "driver.hpp"

namespace tileloom {

// The primary context of a device.
class PrimaryContext {
 public:
  PrimaryContext(const Driver &driver, CuDevice device) : driver_(driver), device_(device) {
    driver.check(driver.primary_retain(&context_, device), "cuDevicePrimaryCtxRetain");
  }
  PrimaryContext(const PrimaryContext &) = delete;
  PrimaryContext &operator=(const PrimaryContext &) = delete;
  ~PrimaryContext() {
    driver_.let_go([&] { return driver_.primary_release(device_); });
  }
  CuContext get() const { return context_; }

 private:
  const Driver &driver_;
  const CuDevice device_;
  CuContext context_ = nullptr;
};

// Device memory, counted by a meter.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(const Driver &driver, Meter &meter, uint64_t bytes) : driver_(&driver) {
    driver.check(driver.allocate(&at_, bytes), "cuMemAlloc");
    meter_ = &meter;
    bytes_ = bytes;
    meter.add(bytes);
  }
  DeviceMemory(DeviceMemory &&other) noexcept { swap(other); }
  DeviceMemory &operator=(DeviceMemory &&other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceMemory() {
    if (meter_ != nullptr) {
      driver_->let_go([&] { return driver_->free(at_); });
      meter_->remove(bytes_);
    }
  }
  CuPointer at() const { return at_; }
  uint64_t bytes() const { return bytes_; }

 private:
  void swap(DeviceMemory &other) {
    std::swap(driver_, other.driver_);
    std::swap(meter_, other.meter_);
    std::swap(at_, other.at_);
    std::swap(bytes_, other.bytes_);
  }
  const Driver *driver_ = nullptr;
  Meter *meter_ = nullptr;
  CuPointer at_ = 0;
  uint64_t bytes_ = 0;
};

// Page-locked host memory.
class PinnedMemory {
 public:
  PinnedMemory(const Driver &driver, uint64_t bytes) : driver_(driver) {
    driver.check(driver.host_allocate(&at_, bytes, kHostAllocPortable), "cuMemHostAlloc");
  }
  PinnedMemory(const PinnedMemory &) = delete;
  PinnedMemory &operator=(const PinnedMemory &) = delete;
  ~PinnedMemory() {
    driver_.let_go([&] { return driver_.host_free(at_); });
  }
  uint8_t *at() const { return static_cast<uint8_t *>(at_); }

 private:
  const Driver &driver_;
  void *at_ = nullptr;
};

class Stream {
 public:
  explicit Stream(const Driver &driver) : driver_(driver) {
    driver.check(driver.stream_create(&stream_, kStreamNonBlocking), "cuStreamCreate");
  }
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;
  ~Stream() {
    // Copies may still use the memory that is freed next.
    driver_.let_go([&] { return driver_.stream_synchronize(stream_); });
    driver_.let_go([&] { return driver_.stream_destroy(stream_); });
  }
  CuStream get() const { return stream_; }

 private:
  const Driver &driver_;
  CuStream stream_ = nullptr;
};

// Waiting for it sleeps instead of spinning.
class Event {
 public:
  explicit Event(const Driver &driver) : driver_(driver) {
    driver.check(driver.event_create(&event_, kEventBlockingSync), "cuEventCreate");
  }
  Event(const Event &) = delete;
  Event &operator=(const Event &) = delete;
  ~Event() {
    driver_.let_go([&] { return driver_.event_destroy(event_); });
  }
  void record(const Stream &stream) const {
    driver_.check(driver_.event_record(event_, stream.get()), "cuEventRecord");
  }
  void wait() const { driver_.check(driver_.event_synchronize(event_), "cuEventSynchronize"); }
  double seconds_until(const Event &later) const {
    float milliseconds = 0;
    driver_.check(driver_.event_elapsed(&milliseconds, event_, later.event_), "cuEventElapsedTime");
    return static_cast<double>(milliseconds) / 1000;
  }

 private:
  const Driver &driver_;
  CuEvent event_ = nullptr;
};

}  // namespace tileloom
