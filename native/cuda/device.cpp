#include "device.hpp"

#include <algorithm>
#include <cstring>

#include "../kernels/assign/grid_layout.hpp"
#include "index_fp32.hpp"
#include "listing.hpp"
#include "sources.hpp"
#include "tuning.hpp"

namespace tileloom {
namespace {

constexpr uint32_t kCapabilityMin = 75;

}  // namespace

Device::Device(const tl_device_options &options, const DevicePaths &paths)
    : driver_(paths.driver), context_(driver_, find(options.ordinal)) {
  enter();
  image_ = std::make_unique<Image>(
      driver_, ImageRequest{paths.image, paths.nvrtc, paths.cache, info_.capability});
  set_budget(options);
  info_.image = image_->origin();
  std::memcpy(info_.image_digest, image_->digest(), sizeof info_.image_digest);
  std::memcpy(info_.sources_digest, sources_digest().bytes, sizeof info_.sources_digest);
  std::strncpy(info_.image_note, image_->note().c_str(), sizeof info_.image_note - 1);
}

// What the members own is freed on this thread.
Device::~Device() {
  driver_.let_go([&] { return driver_.set_current(context_.get()); });
}

// Describes the device of a number as it finds it.
CuDevice Device::find(uint32_t ordinal) {
  const uint32_t count = count_devices(driver_);
  if (ordinal >= count) {
    throw Failure(TL_DEVICE_MISSING, "has no device " + std::to_string(ordinal) +
                                         ": the driver knows " + std::to_string(count) +
                                         "; name another, or run on the CPU");
  }
  CuDevice device = 0;
  driver_.check(driver_.device_get(&device, static_cast<int>(ordinal)), "cuDeviceGet");
  describe(ordinal);
  return device;
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
  slots_max_ = info_.slots;
  idle_.reserve(slots_max_);
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

void Device::enter() const {
  Driver::refuse_lost();
  driver_.check(driver_.set_current(context_.get()), "cuCtxSetCurrent");
}

std::unique_ptr<Slot> Device::lease(bool waits) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    freed_.wait(lock, [&] { return !idle_.empty() || slots_ < slots_max_ || Driver::lost() != 0; });
    Driver::refuse_lost();
    if (!idle_.empty()) {
      std::unique_ptr<Slot> slot = std::move(idle_.back());
      idle_.pop_back();
      return slot;
    }
    slots_ += 1;
    lock.unlock();  // pinning memory takes long
    int status = TL_INTERNAL;
    try {
      try {
        return std::make_unique<Slot>(driver_, meter_, info_.slot_bytes);
      } catch (const Failure &failure) {
        status = failure.status;
        throw;
      }
    } catch (...) {
      lock.lock();
      slots_ -= 1;
      freed_.notify_all();
      if (status != TL_OUT_OF_MEMORY || slots_ == 0 || !waits) {
        throw;
      }
      slots_max_ = slots_;
    }
  }
}

void Device::give_back(std::unique_ptr<Slot> slot) {
  if (slot->busy) {
    driver_.let_go([&] { return driver_.set_current(context_.get()); });
    slot.reset();
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (slot != nullptr) {
    idle_.push_back(std::move(slot));
  } else {
    slots_ -= 1;
  }
  freed_.notify_all();
}

// Frees the least recently used index that no chunk holds; under the mutex.
bool Device::evict() {
  for (auto at = resident_.end(); at != resident_.begin();) {
    --at;
    if (at->use_count() == 1) {
      index_bytes_ -= (*at)->memory.bytes();
      resident_.erase(at);
      stats_.evictions += 1;
      return true;
    }
  }
  return false;
}

// Evicts until an index of this size fits beside the others and the slots; under the mutex.
void Device::make_room(uint64_t bytes) {
  const uint64_t bytes_max = info_.memory_bytes - info_.slots * info_.slot_bytes;
  while (index_bytes_ + bytes > bytes_max) {
    if (bytes > bytes_max || !evict()) {
      throw Failure(TL_OUT_OF_MEMORY,
                    "has an index that does not fit on the device: expected at most " +
                        std::to_string(bytes_max - (bytes > bytes_max ? 0 : index_bytes_)) +
                        " bytes, got " + std::to_string(bytes) +
                        "; raise the budget or run on the CPU");
    }
  }
}

// The budget may promise more than other processes leave.
DeviceMemory Device::allocate_index(uint64_t bytes) {
  for (;;) {
    try {
      return DeviceMemory(driver_, meter_, bytes);
    } catch (const Failure &failure) {
      if (failure.status != TL_OUT_OF_MEMORY || !evict()) {
        throw;
      }
    }
  }
}

std::shared_ptr<const ResidentIndex> Device::resident(const tl_layer_view &layer,
                                                      Precision precision) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const IndexHeader &header = *static_cast<const IndexHeader *>(layer.index);
  for (auto at = resident_.begin(); at != resident_.end(); ++at) {
    if ((*at)->precision == precision &&
        std::memcmp((*at)->digest, header.digest, sizeof header.digest) == 0) {
      resident_.splice(resident_.begin(), resident_, at);
      return resident_.front();
    }
  }
  return upload(layer, precision);
}

std::shared_ptr<const ResidentIndex> Device::upload(const tl_layer_view &layer,
                                                    Precision precision) {
  const IndexHeader &header = *static_cast<const IndexHeader *>(layer.index);
  const uint8_t *from = static_cast<const uint8_t *>(layer.index) + header.cells_offset;
  uint64_t bytes = header.ids_offset - header.cells_offset;
  uint64_t records_offset = header.records_offset - header.cells_offset;
  Fp32Index converted;
  if (precision == Precision::kFp32) {
    converted = make_fp32_index(layer);
    if (converted.bytes.empty()) {
      return nullptr;
    }
    from = converted.bytes.data();
    bytes = converted.bytes.size();
    records_offset = converted.records_offset;
  }
  make_room(bytes);
  auto index = std::make_shared<ResidentIndex>();
  std::memcpy(index->digest, header.digest, sizeof index->digest);
  index->memory = allocate_index(bytes);
  index->precision = precision;
  index->cells = index->memory.at();
  index->records = index->memory.at() + records_offset;
  {
    const Stream stream(driver_);
    driver_.check(driver_.upload(index->memory.at(), from, bytes, stream.get()), "cuMemcpyHtoD");
    driver_.check(driver_.stream_synchronize(stream.get()), "cuStreamSynchronize");
  }
  stats_.uploads += 1;
  resident_.push_front(index);
  index_bytes_ += bytes;
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
