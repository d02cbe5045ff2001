// A group: consecutive tiles of a batch that one slot holds at once and one launch computes.
//
// The arena, and its pinned mirror at the same offsets:
//   jobs of tiles, jobs of measures, columns as read        uploaded
//   counts, accumulators                                    zeroed, downloaded
//   ids, lists of ambiguous rows                            downloaded where asked for
#pragma once

#include <vector>

#include "../core/column_reader.hpp"
#include "../kernels/aggregate/exact_cells.hpp"
#include "../kernels/aggregate/tile_aggregate.hpp"
#include "device.hpp"

namespace tileloom {

struct GroupOptions {
  const tl_layer_view *layer;
  uint32_t boundary;
  uint32_t overlap;
  uint32_t wrap;
  uint32_t measures;   // columns to read
  uint32_t aggregate;  // 0: measures are read and verified, no more
  uint32_t rows;       // 1: ids are needed of every tile
  Precision precision;
};

// One tile of a group, in host memory. Jobs hold addresses of the pinned mirror.
struct GroupTile {
  TileJob job{};
  std::vector<MeasureJob> measures;
  std::vector<MeasureColumn> columns;
  std::vector<ValueRange> ranges;
  bool host_aggregates = false;
};

class Group {
 public:
  Group(Device &device, Slot &slot, const GroupOptions &options, const ResidentIndex *index);

  void begin();
  bool has_room(uint64_t rows) const;
  // Reads a tile's columns into pinned memory, verified and wrapped.
  void read(int file, const tl_tile_in &tile, const tl_column_in *columns);
  // Copies points instead; for groups without measures.
  void copy(const double *x, const double *y, uint64_t rows);
  // Computes the tiles and waits; adds to the statistics.
  void run(tl_device_stats &stats);

  size_t size() const { return tiles_.size(); }
  const GroupTile &tile(size_t index) const { return tiles_[index]; }
  TileCounts counts(size_t index) const {
    return *memory_at<const TileCounts>(tiles_[index].job.counts);
  }
  const GroupOptions &options() const { return options_; }

  static uint64_t tile_bytes(uint64_t rows, uint32_t measures);
  static uint64_t table_bytes(uint32_t measures);

 private:
  friend class GroupMeasure;  // measure.cpp: repeats `run` and its kernels

  uint8_t *take(uint64_t bytes);
  GroupTile &add_tile(uint64_t rows);
  void lay_out();
  void place_accumulators(GroupTile &tile, uint64_t limit);
  void write_tables();
  void settle_on_host();
  void launch(tl_device_stats &stats);
  void download_ambiguous(tl_device_stats &stats);
  CuPointer on_device(uint64_t host) const { return host == 0 ? 0 : host + delta_; }

  Device &device_;
  Slot &slot_;
  const GroupOptions options_;
  const ResidentIndex *index_;  // null where the index has no grid
  uint64_t delta_;              // wraps around: device address less host address
  std::vector<GroupTile> tiles_;
  uint64_t used_ = 0;  // bytes of the arena
  uint64_t tail_ = 0;  // bytes that ids, lists and counts of the tiles will need
  uint64_t input_end_ = 0;
  uint64_t result_end_ = 0;
  uint64_t rows_max_ = 0;
  bool ids_needed_ = false;
  bool aggregates_ = false;
};

}  // namespace tileloom
