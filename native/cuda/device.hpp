// The one device of this process: context, kernels, slots for batches in flight, resident indexes.
//
// I1 every thread that calls the driver has made the primary context current before.
// I2 arenas and indexes together stay within the budget; what does not fit is refused before it is
//    allocated. The arenas of all slots are set aside from the start, so that an index cannot take
//    the place of the batches that need it.
// I3 a slot whose stream may still be at work is freed, not reused.
// I4 after a sticky error every call answers TL_DEVICE_LOST without touching the driver.
#pragma once

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "../core/failure.hpp"
#include "../include/tileloom_device.h"
#include "image.hpp"
#include "resources.hpp"

namespace tileloom {

// NUL-terminated; null means the usual place, and no cache.
struct DevicePaths {
  const char *driver;
  const char *nvrtc;
  const char *image;
  const char *cache;
};

// The memory and the stream of one batch in flight. Offsets into the arena and into its pinned
// mirror are the same.
struct Slot {
  Slot(const Driver &driver, Meter &meter, uint64_t bytes)
      : pinned(driver, bytes),
        arena(driver, meter, bytes),
        started(driver),
        uploaded(driver),
        computed(driver),
        downloaded(driver),
        stream(driver) {}
  PinnedMemory pinned;
  DeviceMemory arena;
  Event started;
  Event uploaded;
  Event computed;
  Event downloaded;
  Stream stream;      // last, so that it is drained before the rest is freed
  bool busy = false;  // work was queued and nobody has waited for it
};

// Cells and records of an index in device memory, as one filter reads them.
struct ResidentIndex {
  uint8_t digest[16];
  Precision precision;
  DeviceMemory memory;
  CuPointer cells = 0;
  CuPointer records = 0;
};

class Device {
 public:
  Device(const tl_device_options &options, const DevicePaths &paths);
  ~Device();
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  const Driver &driver() const { return driver_; }
  const Image &image() const { return *image_; }
  uint64_t slot_bytes() const { return info_.slot_bytes; }
  const tl_device_info &info() const { return info_; }
  tl_device_stats stats();
  // Adds a batch's numbers to the statistics.
  void count(const tl_device_stats &one);

  // Makes the context current on this thread; throws TL_DEVICE_LOST after a sticky error.
  void enter() const;
  // Waits for a free slot. Where the device has no memory for another one, those that exist must
  // do; waits false: then it throws TL_OUT_OF_MEMORY, for callers that hold a slot already.
  std::unique_ptr<Slot> lease(bool waits);
  // Frees the slot where it is still busy.
  void give_back(std::unique_ptr<Slot> slot);
  // Uploads the index unless it is resident in this precision. Indexes in use are never evicted.
  // Null where the precision has no index for the layer.
  std::shared_ptr<const ResidentIndex> resident(const tl_layer_view &layer, Precision precision);

 private:
  CuDevice find(uint32_t ordinal);
  void describe(uint32_t ordinal);
  void set_budget(const tl_device_options &options);
  bool evict();
  void make_room(uint64_t bytes);
  DeviceMemory allocate_index(uint64_t bytes);
  std::shared_ptr<const ResidentIndex> upload(const tl_layer_view &layer, Precision precision);

  // In the order in which they are made; freed in the opposite one.
  Driver driver_;
  Meter meter_;
  tl_device_info info_{};
  tl_device_stats stats_{};
  const PrimaryContext context_;
  std::unique_ptr<Image> image_;
  std::mutex mutex_;  // guards what follows, the statistics and the budget
  std::condition_variable freed_;
  std::vector<std::unique_ptr<Slot>> idle_;
  uint32_t slots_ = 0;      // that exist, leased or idle
  uint32_t slots_max_ = 0;  // info_.slots, or fewer where memory did not last
  uint64_t index_bytes_ = 0;
  std::list<std::shared_ptr<ResidentIndex>> resident_;  // most recently used first
};

// A slot that goes back when the scope ends.
class Lease {
 public:
  explicit Lease(Device &device, bool waits = true) : device_(device), slot_(device.lease(waits)) {}
  ~Lease() { device_.give_back(std::move(slot_)); }
  Lease(const Lease &) = delete;
  Lease &operator=(const Lease &) = delete;
  Slot &slot() { return *slot_; }

 private:
  Device &device_;
  std::unique_ptr<Slot> slot_;
};

// The open device; throws TL_DEVICE_MISSING when none is.
std::shared_ptr<Device> open_device();

}  // namespace tileloom
