#include "device_chunk.hpp"

#include <chrono>

#include "../core/float_environment.hpp"
#include "../kernels/assign/grid_layout.hpp"

namespace tileloom {
namespace {

double now_seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// Counts a slot's pinned mirror while the batch holds it.
class PinnedShare {
 public:
  PinnedShare(Meter &meter, uint64_t bytes) : meter_(meter), bytes_(bytes) { meter_.add(bytes_); }
  ~PinnedShare() { meter_.remove(bytes_); }
  PinnedShare(const PinnedShare &) = delete;
  PinnedShare &operator=(const PinnedShare &) = delete;

 private:
  Meter &meter_;
  const uint64_t bytes_;
};

}  // namespace

std::shared_ptr<const ResidentIndex> resident_grid(Device &device, const GroupOptions &options) {
  const tl_layer_view &layer = *options.layer;
  if (layer.index == nullptr) {
    throw Failure(TL_BAD_INDEX, "needs the layer's index");
  }
  const IndexHeader &header = *static_cast<const IndexHeader *>(layer.index);
  if (header.boundary != options.boundary || header.overlap != options.overlap) {
    throw Failure(TL_BAD_INDEX, "was given an index for another boundary or overlap rule");
  }
  return header.kind == kKindEdges ? nullptr : device.resident(layer, options.precision);
}

DeviceChunk::DeviceChunk(std::shared_ptr<Device> device, std::shared_ptr<const Layer> layer,
                         const tl_chunk_options &options, Precision precision)
    : device_(std::move(device)),
      layer_(std::move(layer)),
      options_{&layer_->view(),  options.boundary,  options.overlap, options.wrap,
               options.measures, options.aggregate, options.rows,    precision},
      lanes_([this] { return std::make_unique<DeviceLane>(*meter_, options_); }) {
  device_->enter();
  index_ = resident_grid(*device_, options_);
}

uint64_t DeviceChunk::fill(Group &group, const BatchInput &batch, uint64_t first,
                           std::vector<OpenFile> &files, const std::vector<const char *> &names) {
  group.begin();
  uint64_t next = first;
  for (; next < batch.tile_count; ++next) {
    const tl_tile_in &tile = batch.tiles[next];
    try {
      if (cancelled_.load()) {
        throw Failure(TL_CANCELLED, "was not started: the chunk is cancelled");
      }
      check_tile(batch, tile, 2 + options_.measures);
      if (!group.has_room(tile.rows)) {
        break;
      }
      if (files[tile.file].get() < 0) {
        OpenFile file = open_for_reading(names[tile.file]);
        files[tile.file].swap(file);
      }
      group.read(files[tile.file].get(), tile, batch.columns + tile.first_column);
    } catch (Failure &failure) {
      failure.tile = static_cast<int64_t>(tile.tile);
      throw;
    }
  }
  if (group.size() == 0 && next < batch.tile_count) {
    Failure failure(TL_OUT_OF_MEMORY, "does not fit on the device: expected at most " +
                                          std::to_string(device_->slot_bytes()) + " bytes, got " +
                                          std::to_string(Group::table_bytes(options_.measures) +
                                                         Group::tile_bytes(batch.tiles[next].rows,
                                                                           options_.measures)) +
                                          "; use smaller tiles or a larger budget");
    failure.tile = static_cast<int64_t>(batch.tiles[next].tile);
    throw failure;
  }
  return next;
}

void DeviceChunk::run_tiles(const BatchInput &batch, DeviceLane &lane, RowValues *rows,
                            tl_tile_out *out, tl_device_stats &stats) {
  const FloatEnvironment environment;
  const std::vector<const char *> names = split_paths(batch);
  std::vector<OpenFile> files(names.size());
  device_->enter();
  Lease lease(*device_);
  const PinnedShare share(*meter_, device_->slot_bytes());
  Group group(*device_, lease.slot(), options_, index_.get());
  for (uint64_t first = 0; first < batch.tile_count;) {
    const double started = now_seconds();
    const uint64_t next = fill(group, batch, first, files, names);
    stats.read_seconds += now_seconds() - started;
    try {
      group.run(stats);
    } catch (Failure &failure) {
      failure.tile = static_cast<int64_t>(batch.tiles[first].tile);
      throw;
    }
    const double computed = now_seconds();
    for (uint64_t index = first; index < next; ++index) {
      try {
        // Rows that the device left to the host may take long.
        if (cancelled_.load()) {
          throw Failure(TL_CANCELLED, "was not settled: the chunk is cancelled");
        }
        out[index] = lane.settle(group, index - first, rows, stats);
      } catch (Failure &failure) {
        failure.tile = static_cast<int64_t>(batch.tiles[index].tile);
        failure.text = failure.status == TL_OVERLAP_FOUND
                           ? "row " + std::to_string(failure.row) + " " + failure.text
                           : failure.text;
        throw;
      }
      out[index].tile = batch.tiles[index].tile;
      tiles_done_.fetch_add(1);
    }
    stats.write_seconds += now_seconds() - computed;
    first = next;
  }
}

std::unique_ptr<BatchRows> DeviceChunk::run(const BatchInput &batch, tl_tile_out *out,
                                            tl_batch_out *totals) {
  std::unique_ptr<BatchRows> rows;
  if (options_.rows != 0) {
    rows = std::make_unique<BatchRows>(meter_);
  }
  tl_device_stats stats{};
  lanes_.with_lane([&](DeviceLane &lane) {
    run_tiles(batch, lane, rows == nullptr ? nullptr : &rows->rows, out, stats);
  });
  device_->count(stats);
  totals->read_seconds = stats.read_seconds;
  totals->kernel_seconds = stats.kernel_seconds;
  totals->write_seconds = stats.write_seconds;
  totals->upload_seconds = stats.upload_seconds;
  totals->download_seconds = stats.download_seconds;
  totals->repaired_rows = stats.repaired_rows;
  totals->row_values = rows == nullptr ? 0 : rows->rows.used;
  return rows;
}

const std::vector<uint8_t> &DeviceChunk::finish() {
  lanes_.finish(partials_);
  return partials_;
}

uint64_t DeviceChunk::bytes_max(uint64_t tile_rows, uint64_t batch_rows) const {
  return device_->slot_bytes() + DeviceLane::bytes_max(options_, tile_rows, batch_rows);
}

}  // namespace tileloom
