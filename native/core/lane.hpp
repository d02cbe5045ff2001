// A lane: the memory and the totals of one batch in flight. Lanes are reused by later batches.
#pragma once

#include <vector>

#include "../kernels/aggregate/accumulators.hpp"
#include "../kernels/aggregate/tile_aggregate.hpp"
#include "column_reader.hpp"
#include "layer.hpp"

namespace tileloom {

struct LaneOptions {
  const tl_layer_view *layer;
  tl_assign_fn assign;
  tl_chunk_options chunk;
};

// The per-row results of a batch, and where the next tile's begin.
struct RowValues {
  explicit RowValues(Meter &meter) : values(meter) {}
  Buffer<int32_t> values;
  uint64_t used = 0;
};

struct StageSeconds {
  double read = 0;
  double kernel = 0;
  double write = 0;
};

class Lane {
 public:
  Lane(Meter &meter, const LaneOptions &options);

  // Reads, verifies, assigns, aggregates and digests one tile. rows: null unless rows are asked
  // for.
  tl_tile_out run_tile(int file, const tl_tile_in &tile, const tl_column_in *columns,
                       RowValues *rows, StageSeconds &seconds);
  Totals &totals() { return totals_; }

  // Rows of a block: its ids stay in the first-level cache between assigning and aggregating.
  static constexpr uint64_t kBlockRows = 8192;
  // Bytes that a lane may take for tiles of this many rows.
  static uint64_t bytes_max(const LaneOptions &options, uint64_t tile_rows, uint64_t batch_rows);

 private:
  void read(int file, const tl_tile_in &tile, const tl_column_in *columns);
  void assign_block(const double *x, const double *y, uint64_t first, uint64_t count, int32_t *ids);
  void count_block(const int32_t *ids, uint64_t count);
  void count_pairs_block(const int32_t *ids, uint64_t first, uint64_t count);
  void run_blocks(uint64_t rows, RowValues *output);
  [[noreturn]] void fail_kernel(int status, const char *text, uint64_t row) const;

  const LaneOptions options_;
  Totals totals_;
  TileAggregate aggregate_;
  std::vector<Buffer<uint8_t>> columns_;  // x, y, measures
  Buffer<int32_t> ids_;                   // of one block, unless rows are kept
  Buffer<int32_t> pairs_;                 // of one block, overlap all
  Buffer<uint32_t> pair_rows_;
  Buffer<uint8_t> encoded_;
  uint64_t pairs_used_ = 0;
  const double *x_ = nullptr;
  const double *y_ = nullptr;
  std::vector<MeasureColumn> measures_;
  ResultCounts counts_;
};

}  // namespace tileloom
