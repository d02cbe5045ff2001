#include "group.hpp"

#include <algorithm>
#include <cstring>

#include "../kernels/assign/grid_layout.hpp"
#include "tuning.hpp"

namespace tileloom {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint64_t kTilesMax = 64;

uint64_t aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

uint64_t address_of(const void *memory) { return reinterpret_cast<uint64_t>(memory); }

// The limbs of WideSum that a column's values can touch.
void choose_limbs(MeasureJob &job, const ValueRange &range) {
  if (job.integers != 0) {
    job.limb_low = kIntegerLimbLow;
    job.limbs = kLimbsPerValue;
  } else if (range.exponent_max >= range.exponent_min) {
    const uint32_t low = static_cast<uint32_t>(std::max(range.exponent_min, 1) - 1) >> 5;
    const uint32_t high = static_cast<uint32_t>(std::max(range.exponent_max, 1) - 1) >> 5;
    job.limb_low = low;
    job.limbs = high - low + kLimbsPerValue;
  }
}

}  // namespace

uint64_t Group::table_bytes(uint32_t measures) {
  return aligned(kTilesMax * (sizeof(TileJob) + measures * sizeof(MeasureJob)));
}

// Columns, ids, list and counts of a tile; its accumulators take what is left.
uint64_t Group::tile_bytes(uint64_t rows, uint32_t measures) {
  return (2 + measures) * aligned(column_bytes_max(rows)) + 2 * aligned(rows * 4) + kAlignment;
}

Group::Group(Device &device, Slot &slot, const GroupOptions &options, const ResidentIndex *index)
    : device_(device),
      slot_(slot),
      options_(options),
      index_(index),
      delta_(slot.arena.at() - address_of(slot.pinned.at())) {}

void Group::begin() {
  tiles_.clear();
  used_ = table_bytes(options_.measures);
  tail_ = 0;
  rows_max_ = 0;
}

bool Group::has_room(uint64_t rows) const {
  return tiles_.size() < kTilesMax &&
         used_ + tail_ + tile_bytes(rows, options_.measures) <= slot_.arena.bytes();
}

uint8_t *Group::take(uint64_t bytes) {
  uint8_t *at = slot_.pinned.at() + used_;
  used_ += aligned(bytes);
  return at;
}

GroupTile &Group::add_tile(uint64_t rows) {
  tiles_.emplace_back();
  tiles_.back().job.rows = rows;
  tail_ += 2 * aligned(rows * 4) + kAlignment;
  rows_max_ = std::max(rows_max_, rows);
  return tiles_.back();
}

void Group::read(int file, const tl_tile_in &tile, const tl_column_in *columns) {
  GroupTile &added = add_tile(tile.rows);
  for (uint32_t number = 0; number < 2 + options_.measures; ++number) {
    try {
      const ColumnValues values =
          read_column_into(file, columns[number], tile.rows, take(column_bytes_max(tile.rows)));
      if (number < 2) {
        double *coordinates = as_coordinates(values, tile.rows);
        if (number == 0 && options_.wrap != 0) {
          wrap_longitudes(coordinates, tile.rows);
        }
        (number == 0 ? added.job.x : added.job.y) = address_of(coordinates);
      } else if (options_.aggregate != 0) {
        added.columns.push_back({values.doubles, values.integers, values.validity});
        added.ranges.push_back(values.doubles == nullptr
                                   ? ValueRange{}
                                   : scan_values(values.doubles, values.validity, tile.rows));
      }
    } catch (Failure &failure) {
      failure.column = static_cast<int32_t>(number);
      throw;
    }
  }
}

void Group::copy(const double *x, const double *y, uint64_t rows) {
  GroupTile &added = add_tile(rows);
  for (const double *from : {x, y}) {
    uint8_t *to = take(column_bytes_max(rows));
    std::memcpy(to, from, rows * 8);
    (from == x && added.job.x == 0 ? added.job.x : added.job.y) = address_of(to);
  }
}

// Dense accumulators of one tile, where they fit and policy keeps them on the device.
void Group::place_accumulators(GroupTile &tile, uint64_t limit) {
  const uint64_t features = options_.layer->features;
  uint64_t bytes = aligned(features * 4);
  tile.measures.clear();
  for (size_t number = 0; number < tile.columns.size(); ++number) {
    const MeasureColumn &column = tile.columns[number];
    MeasureJob job{};
    job.integers = column.integers != nullptr ? 1 : 0;
    job.values = job.integers != 0 ? address_of(column.integers) : address_of(column.doubles);
    job.validity = address_of(column.validity);
    choose_limbs(job, tile.ranges[number]);
    tile.measures.push_back(job);
    bytes += aligned(features * cell_bytes(job.limbs));
  }
  const uint64_t columns = (2 + tile.columns.size()) * tile.job.rows * 8;
  tile.host_aggregates = bytes > columns * kAccumulatorShareMax || used_ + bytes > limit;
  tile.job.feature_counts = 0;
  if (tile.host_aggregates) {
    ids_needed_ = true;
    return;
  }
  aggregates_ = true;
  tile.job.feature_counts = address_of(take(features * 4));
  for (MeasureJob &job : tile.measures) {
    job.cells = address_of(take(features * cell_bytes(job.limbs)));
  }
}

void Group::lay_out() {
  input_end_ = used_;
  ids_needed_ = options_.rows != 0;
  aggregates_ = false;
  uint64_t lists = 0;
  for (GroupTile &tile : tiles_) {
    lists += 2 * aligned(tile.job.rows * 4);
    tile.job.counts = address_of(take(sizeof(TileCounts)));
  }
  for (GroupTile &tile : tiles_) {
    if (options_.aggregate != 0) {
      place_accumulators(tile, slot_.arena.bytes() - lists);
    }
  }
  result_end_ = used_;
  for (GroupTile &tile : tiles_) {
    tile.job.ids = address_of(take(tile.job.rows * 4));
  }
  for (GroupTile &tile : tiles_) {
    tile.job.ambiguous = address_of(take(tile.job.rows * 4));
  }
}

// The jobs as the device sees them.
void Group::write_tables() {
  TileJob *jobs = reinterpret_cast<TileJob *>(slot_.pinned.at());
  MeasureJob *measures = reinterpret_cast<MeasureJob *>(jobs + kTilesMax);
  uint64_t next = 0;
  for (size_t index = 0; index < tiles_.size(); ++index) {
    TileJob job = tiles_[index].job;
    job.x = on_device(job.x);
    job.y = on_device(job.y);
    // The fused kernels keep ids to themselves where the host needs none.
    const bool needs_ids =
        options_.rows != 0 || options_.aggregate == 0 || tiles_[index].host_aggregates;
    job.ids = needs_ids ? on_device(job.ids) : 0;
    job.counts = on_device(job.counts);
    job.ambiguous = on_device(job.ambiguous);
    job.feature_counts = on_device(job.feature_counts);
    job.first_measure = next;
    jobs[index] = job;
    for (MeasureJob measure : tiles_[index].measures) {
      measure.values = on_device(measure.values);
      measure.validity = on_device(measure.validity);
      measure.cells = on_device(measure.cells);
      measures[next++] = measure;
    }
  }
}

// An index without a grid, or no rows at all: every row is the host's.
void Group::settle_on_host() {
  std::memset(slot_.pinned.at() + input_end_, 0, result_end_ - input_end_);
  for (const GroupTile &tile : tiles_) {
    memory_at<TileCounts>(tile.job.counts)->ambiguous = static_cast<uint32_t>(tile.job.rows);
    for (uint64_t row = 0; row < tile.job.rows; ++row) {
      memory_at<int32_t>(tile.job.ids)[row] = kAmbiguous;
      memory_at<uint32_t>(tile.job.ambiguous)[row] = static_cast<uint32_t>(row);
    }
  }
}

void Group::launch(tl_device_stats &stats) {
  const Driver &driver = device_.driver();
  const IndexHeader &grid = *static_cast<const IndexHeader *>(options_.layer->index);
  const CuPointer table = slot_.arena.at();
  AssignJob assign{};
  assign.x0 = grid.x0;
  assign.y0 = grid.y0;
  assign.cells_per_x = grid.cells_per_x;
  assign.cells_per_y = grid.cells_per_y;
  assign.band = grid.band;
  assign.cells = index_->cells;
  assign.records = index_->records;
  assign.tiles = table;
  assign.columns = grid.columns;
  assign.rows = grid.rows;
  assign.tile_count = static_cast<uint32_t>(tiles_.size());
  assign.borders = options_.boundary != TL_BOUNDARY_HALF_OPEN ? 1 : 0;
  assign.single = options_.overlap != TL_OVERLAP_FIRST ? 1 : 0;
  assign.measures = table + kTilesMax * sizeof(TileJob);
  assign.measure_count = options_.measures;
  const uint64_t blocks = (rows_max_ + kThreadsPerBlock - 1) / kThreadsPerBlock;
  const unsigned width = static_cast<unsigned>(std::min<uint64_t>(blocks, kBlocksPerTileMax));
  void *arguments[] = {&assign};
  driver.check(driver.launch(device_.image().kernel(options_.precision, aggregates_), width,
                             assign.tile_count, 1, kThreadsPerBlock, 1, 1, 0, slot_.stream.get(),
                             arguments, nullptr),
               "cuLaunchKernel");
  stats.launches += 1;
}

// Lists are short: only their used parts come back.
void Group::download_ambiguous(tl_device_stats &stats) {
  const Driver &driver = device_.driver();
  bool any = false;
  for (size_t index = 0; index < tiles_.size(); ++index) {
    const TileJob &job = tiles_[index].job;
    const uint64_t count = counts(index).ambiguous;
    if (count > job.rows) {
      throw Failure(TL_KERNEL_FAILED, "makes the kernel count more rows than a tile has");
    }
    if (count > 0) {
      any = true;
      driver.check(driver.download(memory_at<void>(job.ambiguous), on_device(job.ambiguous),
                                   count * 4, slot_.stream.get()),
                   "cuMemcpyDtoHAsync");
    }
  }
  if (any) {
    slot_.downloaded.record(slot_.stream);
    slot_.downloaded.wait();
  }
  stats.download_seconds += slot_.computed.seconds_until(slot_.downloaded);
}

void Group::run(tl_device_stats &stats) {
  lay_out();
  if (index_ == nullptr || rows_max_ == 0) {
    settle_on_host();
    return;
  }
  write_tables();
  slot_.busy = true;
  const Driver &driver = device_.driver();
  const CuStream stream = slot_.stream.get();
  uint8_t *host = slot_.pinned.at();
  const CuPointer arena = slot_.arena.at();
  slot_.started.record(slot_.stream);
  driver.check(driver.upload(arena, host, input_end_, stream), "cuMemcpyHtoDAsync");
  slot_.uploaded.record(slot_.stream);
  driver.check(driver.fill(arena + input_end_, 0, result_end_ - input_end_, stream),
               "cuMemsetD8Async");
  launch(stats);
  slot_.computed.record(slot_.stream);
  driver.check(
      driver.download(host + input_end_, arena + input_end_, result_end_ - input_end_, stream),
      "cuMemcpyDtoHAsync");
  if (ids_needed_) {
    const uint64_t ids_end = tiles_.front().job.ambiguous - address_of(host);
    driver.check(
        driver.download(host + result_end_, arena + result_end_, ids_end - result_end_, stream),
        "cuMemcpyDtoHAsync");
  }
  slot_.downloaded.record(slot_.stream);
  slot_.downloaded.wait();
  stats.upload_seconds += slot_.started.seconds_until(slot_.uploaded);
  stats.kernel_seconds += slot_.uploaded.seconds_until(slot_.computed);
  download_ambiguous(stats);
  slot_.busy = false;
  for (const GroupTile &tile : tiles_) {
    stats.rows += tile.job.rows;
  }
}

}  // namespace tileloom
