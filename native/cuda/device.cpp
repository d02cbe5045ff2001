#include "device.hpp"

#include <algorithm>
#include <cstring>

#include "../kernels/assign/grid_layout.hpp"
#include "listing.hpp"
#include "sources.hpp"
#include "tuning.hpp"

namespace tileloom {
namespace {

constexpr uint32_t kCapabilityMin = 75;

}  // namespace

Device::Device(const tl_device_options &options, const DevicePaths &paths) : driver_(paths.driver) {
  const uint32_t count = count_devices(driver_);
  if (options.ordinal >= count) {
    throw Failure(TL_DEVICE_MISSING, "has no device " + std::to_string(options.ordinal) +
                                         ": the driver knows " + std::to_string(count) +
                                         "; name another, or run on the CPU");
  }
  driver_.check(driver_.device_get(&device_, static_cast<int>(options.ordinal)), "cuDeviceGet");
  describe(options.ordinal);
  driver_.check(driver_.primary_retain(&context_, device_), "cuDevicePrimaryCtxRetain");
  try {
    driver_.check(driver_.set_current(context_), "cuCtxSetCurrent");
    image_ = std::make_unique<Image>(
        driver_, ImageRequest{paths.image, paths.nvrtc, paths.cache, info_.capability});
    set_budget(options);
  } catch (...) {
    image_.reset();
    driver_.primary_release(device_);
    throw;
  }
  info_.image = image_->origin();
  std::memcpy(info_.image_digest, image_->digest(), sizeof info_.image_digest);
  std::memcpy(info_.sources_digest, sources_digest().bytes, sizeof info_.sources_digest);
  std::strncpy(info_.image_note, image_->note().c_str(), sizeof info_.image_note - 1);
}

Device::~Device() {
  driver_.set_current(context_);
  idle_.clear();
  resident_.clear();
  image_.reset();
  driver_.primary_release(device_);
}

void Device::describe(uint32_t ordinal) {
  const tl_device_entry entry = describe_device(driver_, ordinal);
  info_.capability = entry.capability;
  info_.driver_version = driver_.version();
  std::memcpy(info_.name, entry.name, sizeof info_.name);
  std::memcpy(info_.uuid, entry.uuid, sizeof info_.uuid);
  std::memcpy(info_.pci_bus_id, entry.pci_bus_id, sizeof info_.pci_bus_id);
  if (entry.capability < kCapabilityMin) {
    throw Failure(TL_DEVICE_MISSING, "device " + std::to_string(ordinal) +
                                         " is too old: expected compute capability 7.5, got " +
                                         std::to_string(entry.capability / 10) + "." +
                                         std::to_string(entry.capability % 10) +
                                         "; name another, or run on the CPU");
  }
}

void Device::set_budget(const tl_device_options &options) {
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  driver_.check(driver_.memory_info(&free_bytes, &total_bytes), "cuMemGetInfo");
  info_.total_bytes = total_bytes;
  info_.memory_bytes = options.memory_bytes != 0 ? options.memory_bytes : free_bytes / 8 * 7;
  info_.slots = options.slots != 0 ? std::min(options.slots, kSlotsMax) : kSlotsDefault;
  const uint64_t share = info_.memory_bytes / 2 / info_.slots;
  const uint64_t wanted = options.slot_bytes != 0 ? options.slot_bytes : kSlotBytesDefault;
  info_.slot_bytes = std::min(wanted, share) / 256 * 256;
  if (info_.slot_bytes < kSlotBytesMin) {
    throw Failure(TL_OUT_OF_MEMORY,
                  "has too small a budget: expected at least " +
                      std::to_string(2 * info_.slots * kSlotBytesMin) + " bytes of memory, got " +
                      std::to_string(info_.memory_bytes) + "; raise it or use fewer slots");
  }
}

void Device::enter() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (lost_ != 0) {
      Failure failure(TL_DEVICE_LOST, "was lost to an earlier error (" + std::to_string(lost_) +
                                          "); replace this process");
      failure.device_error = lost_;
      throw failure;
    }
  }
  driver_.check(driver_.set_current(context_), "cuCtxSetCurrent");
}

void Device::note(const Failure &failure) {
  if (is_sticky(failure.device_error)) {
    const std::lock_guard<std::mutex> lock(mutex_);
    lost_ = failure.device_error;
    freed_.notify_all();
  }
}

std::unique_ptr<Slot> Device::lease() {
  std::unique_lock<std::mutex> lock(mutex_);
  freed_.wait(lock, [&] { return leased_ < info_.slots; });
  leased_ += 1;
  if (!idle_.empty()) {
    std::unique_ptr<Slot> slot = std::move(idle_.back());
    idle_.pop_back();
    return slot;
  }
  try {
    make_room(info_.slot_bytes);
    return std::make_unique<Slot>(driver_, meter_, info_.slot_bytes);
  } catch (...) {
    leased_ -= 1;
    freed_.notify_one();
    throw;
  }
}

void Device::give_back(std::unique_ptr<Slot> slot, bool good) {
  if (!good) {
    driver_.set_current(context_);
    slot.reset();
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  leased_ -= 1;
  if (slot != nullptr) {
    idle_.push_back(std::move(slot));
  }
  freed_.notify_one();
}

// Evicts unused indexes, the least recently used first, until `bytes` more fit; under the mutex.
void Device::make_room(uint64_t bytes) {
  for (auto at = resident_.end(); at != resident_.begin();) {
    if (meter_.held() + bytes <= info_.memory_bytes) {
      return;
    }
    --at;
    if (at->use_count() == 1) {
      at = resident_.erase(at);
      stats_.evictions += 1;
    }
  }
  if (meter_.held() + bytes > info_.memory_bytes) {
    throw Failure(TL_OUT_OF_MEMORY, "does not fit on the device: expected at most " +
                                        std::to_string(info_.memory_bytes - meter_.held()) +
                                        " bytes more, got " + std::to_string(bytes) +
                                        "; raise the budget or run on the CPU");
  }
}

std::shared_ptr<const ResidentIndex> Device::resident(const tl_layer_view &layer) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const IndexHeader &header = *static_cast<const IndexHeader *>(layer.index);
  for (auto at = resident_.begin(); at != resident_.end(); ++at) {
    if (std::memcmp((*at)->digest, header.digest, sizeof header.digest) == 0) {
      resident_.splice(resident_.begin(), resident_, at);
      return resident_.front();
    }
  }
  return upload(layer);
}

std::shared_ptr<const ResidentIndex> Device::upload(const tl_layer_view &layer) {
  const IndexHeader &header = *static_cast<const IndexHeader *>(layer.index);
  const uint8_t *from = static_cast<const uint8_t *>(layer.index) + header.cells_offset;
  const uint64_t bytes = header.ids_offset - header.cells_offset;
  make_room(bytes);
  auto index = std::make_shared<ResidentIndex>();
  std::memcpy(index->digest, header.digest, sizeof index->digest);
  index->memory = DeviceMemory(driver_, meter_, bytes);
  index->cells = index->memory.at();
  index->records = index->memory.at() + (header.records_offset - header.cells_offset);
  {
    const Stream stream(driver_);
    driver_.check(driver_.upload(index->memory.at(), from, bytes, stream.get()), "cuMemcpyHtoD");
    driver_.check(driver_.stream_synchronize(stream.get()), "cuStreamSynchronize");
  }
  stats_.uploads += 1;
  resident_.push_front(index);
  return index;
}

tl_device_stats Device::stats() {
  const std::lock_guard<std::mutex> lock(mutex_);
  tl_device_stats stats = stats_;
  stats.held_bytes = meter_.held();
  stats.peak_bytes = meter_.peak();
  for (const std::shared_ptr<ResidentIndex> &index : resident_) {
    stats.resident_bytes += index->memory.bytes();
    stats.resident_indexes += 1;
  }
  return stats;
}

void Device::count(const tl_device_stats &one) {
  const std::lock_guard<std::mutex> lock(mutex_);
  stats_.launches += one.launches;
  stats_.rows += one.rows;
  stats_.repaired_rows += one.repaired_rows;
  stats_.host_tiles += one.host_tiles;
  stats_.read_seconds += one.read_seconds;
  stats_.upload_seconds += one.upload_seconds;
  stats_.kernel_seconds += one.kernel_seconds;
  stats_.download_seconds += one.download_seconds;
  stats_.write_seconds += one.write_seconds;
}

}  // namespace tileloom
