// The backend of libtileloom_cuda.so, and the entry points that tileloom_device.h adds.
//
// I1 the process has at most one device open; chunks keep it alive, and closing waits for none.
#include <algorithm>
#include <cstring>

#include "../core/backend.hpp"
#include "../core/float_environment.hpp"
#include "../kernels/assign/assign.hpp"
#include "../kernels/assign/variants.hpp"
#include "device_chunk.hpp"
#include "listing.hpp"

namespace tileloom {
namespace {

struct DeviceVariant {
  const char *symbol;
  tl_assign_fn function;
  Precision precision;
};

constexpr DeviceVariant kVariants[] = {
    {"tl_assign__grid__fp64__cuda", tl_assign__grid__fp64__cuda, Precision::kFp64},
    {"tl_assign__grid__fp32__cuda", tl_assign__grid__fp32__cuda, Precision::kFp32},
};

std::mutex open_mutex;
// Guarded by open_mutex. Never destroyed: when a process exits, the driver may be gone before its
// statics are, and what is still open then is the operating system's to free.
std::shared_ptr<Device> &opened = *new std::shared_ptr<Device>();

// Null where the symbol is none of the device's.
const DeviceVariant *find_variant(const char *library, const char *symbol) {
  for (const DeviceVariant &variant : kVariants) {
    if (library == nullptr && std::strcmp(symbol, variant.symbol) == 0) {
      return &variant;
    }
  }
  return nullptr;
}

uint64_t rows_per_piece(const Device &device) {
  const uint64_t room = device.slot_bytes() - Group::table_bytes(0);
  uint64_t rows = room / 32;  // 24 bytes a row, and what alignment takes
  while (rows > 1 && Group::tile_bytes(rows, 0) > room) {
    rows -= std::max<uint64_t>(rows / 8, 1);
  }
  return std::min<uint64_t>(rows, INT32_MAX);
}

// Writes one piece's answers where the arguments of an assign function want them.
void answer_piece(tl_assign_args &args, const Group &group, uint64_t first,
                  tl_device_stats &stats) {
  std::vector<int32_t> features;
  Repaired repaired;
  try {
    repaired = repair_rows(group, 0);
  } catch (Failure &failure) {
    failure.row += failure.status == TL_OVERLAP_FOUND ? static_cast<int64_t>(first) : 0;
    throw;
  }
  stats.repaired_rows += repaired.rows.size();
  settle_rows(group, 0, repaired, args.ids + first, features);
  for (const int32_t feature : features) {
    if (args.pairs_used < args.pairs_capacity) {
      args.pairs[args.pairs_used] = feature;
    }
    args.pairs_used += 1;
  }
}

void assign_pieces(Device &device, tl_assign_args &args, Precision precision) {
  const FloatEnvironment environment;
  device.enter();
  const GroupOptions options{args.layer, args.boundary, args.overlap, 0, 0, 0, 1, precision};
  const std::shared_ptr<const ResidentIndex> index = resident_grid(device, options);
  Lease lease(device);
  Group group(device, lease.slot(), options, index.get());
  tl_device_stats stats{};
  const uint64_t piece = rows_per_piece(device);
  args.pairs_used = 0;
  args.error_row = -1;
  for (uint64_t first = 0; first < args.rows; first += piece) {
    group.begin();
    group.copy(args.x + first, args.y + first, std::min(piece, args.rows - first));
    group.run(stats);
    answer_piece(args, group, first, stats);
  }
  device.count(stats);
}

// The device variants as assign functions.
int assign_points(tl_assign_args *args, Precision precision, char *text, uint64_t text_bytes) {
  const int status = check_assign_args(args, text, text_bytes);
  if (status != TL_OK) {
    return status;
  }
  tl_error error{};
  const int result = guard(&error, [&] {
    try {
      assign_pieces(*open_device(), *args, precision);
    } catch (const Failure &failure) {
      args->error_row = failure.status == TL_OVERLAP_FOUND ? failure.row : -1;
      throw;
    }
    if (args->pairs_used > args->pairs_capacity && args->overlap == TL_OVERLAP_ALL) {
      throw Failure(TL_BUFFER_TOO_SMALL, "has more pairs than fit");
    }
  });
  return result == TL_OK ? TL_OK : fail_assign(result, error.text, text, text_bytes);
}

}  // namespace

std::shared_ptr<Device> open_device() {
  const std::lock_guard<std::mutex> lock(open_mutex);
  if (opened == nullptr) {
    throw Failure(TL_DEVICE_MISSING, "needs a device: none is open in this process");
  }
  return opened;
}

std::unique_ptr<AnyChunk> open_chunk(std::shared_ptr<const Layer> layer, const char *library,
                                     const char *symbol, const tl_chunk_options &options) {
  const DeviceVariant *variant = find_variant(library, symbol);
  if (variant != nullptr) {
    return std::make_unique<DeviceChunk>(open_device(), std::move(layer), options,
                                         variant->precision);
  }
  return std::make_unique<Chunk>(std::move(layer), find_assign(library, symbol), options);
}

tl_assign_fn find_any_assign(const char *library, const char *symbol) {
  const DeviceVariant *variant = find_variant(library, symbol);
  return variant != nullptr ? variant->function : find_assign(library, symbol);
}

}  // namespace tileloom

using tileloom::Device;
using tileloom::Failure;
using tileloom::guard;
using tileloom::require;

extern "C" {

int tl_assign__grid__fp64__cuda(tl_assign_args *args, char *text, uint64_t text_bytes) {
  return tileloom::assign_points(args, tileloom::Precision::kFp64, text, text_bytes);
}

int tl_assign__grid__fp32__cuda(tl_assign_args *args, char *text, uint64_t text_bytes) {
  return tileloom::assign_points(args, tileloom::Precision::kFp32, text, text_bytes);
}

int tl_device_list(const char *driver_path, tl_device_entry *entries, uint32_t capacity,
                   uint32_t *count, uint32_t *driver_version, tl_error *error) {
  return guard(error, [&] {
    require(count != nullptr && driver_version != nullptr && (entries != nullptr || capacity == 0),
            "has null arguments");
    *count = 0;
    *driver_version = 0;
    const tileloom::Driver driver(driver_path);
    *driver_version = driver.version();
    *count = tileloom::count_devices(driver);
    tileloom::list_devices(driver, entries, std::min(*count, capacity));
  });
}

int tl_device_open(const tl_device_options *options, const char *driver_path,
                   const char *nvrtc_path, const char *image_path, const char *cache_path,
                   tl_device_info *info, tl_error *error) {
  return guard(error, [&] {
    require(options != nullptr && info != nullptr, "has null arguments");
    require(options->struct_bytes >= sizeof *options, "has options of another ABI version");
    const std::lock_guard<std::mutex> lock(tileloom::open_mutex);
    if (tileloom::opened != nullptr) {
      throw Failure(TL_BAD_STATE, "cannot be opened: this process has one open already");
    }
    tileloom::opened = std::make_shared<Device>(
        *options, tileloom::DevicePaths{driver_path, nvrtc_path, image_path, cache_path});
    *info = tileloom::opened->info();
  });
}

int tl_device_close(tl_error *error) {
  return guard(error, [&] {
    const std::lock_guard<std::mutex> lock(tileloom::open_mutex);
    if (tileloom::opened != nullptr && tileloom::opened.use_count() > 1) {
      throw Failure(TL_BAD_STATE, "cannot be closed: a chunk holds it; close the chunk first");
    }
    tileloom::opened.reset();
  });
}

int tl_device_statistics(tl_device_stats *stats, tl_error *error) {
  return guard(error, [&] {
    require(stats != nullptr, "has null arguments");
    *stats = tileloom::open_device()->stats();
  });
}

}  // extern "C"
