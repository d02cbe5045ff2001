// A chunk: concurrent batches of tiles over one layer, one assign function and one set of options.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "lane.hpp"
#include "lanes.hpp"

namespace tileloom {

struct BatchInput {
  const char *paths;
  uint64_t paths_bytes;
  uint64_t files;
  const tl_tile_in *tiles;
  uint64_t tile_count;
  const tl_column_in *columns;
  uint64_t column_count;
};

// Per-row results that outlive the batch; counted until they are taken.
struct BatchRows {
  explicit BatchRows(std::shared_ptr<Meter> meter_) : meter(std::move(meter_)), rows(*meter) {}
  std::shared_ptr<Meter> meter;
  RowValues rows;
};

// The names of a batch; throws unless there are as many as files.
std::vector<const char *> split_paths(const BatchInput &batch);
void check_tile(const BatchInput &batch, const tl_tile_in &tile, uint64_t columns);

// What the C entry points need of a chunk, wherever its tiles are computed. Safe from several
// threads.
class AnyChunk {
 public:
  virtual ~AnyChunk() = default;
  // Returns the rows of the batch, or null when the chunk gives none.
  virtual std::unique_ptr<BatchRows> run(const BatchInput &batch, tl_tile_out *out,
                                         tl_batch_out *totals) = 0;
  virtual const std::vector<uint8_t> &finish() = 0;
  virtual uint64_t bytes_max(uint64_t tile_rows, uint64_t batch_rows) const = 0;
  const std::vector<uint8_t> &partials() const { return partials_; }
  void cancel() { cancelled_.store(true); }
  uint64_t tiles_done() const { return tiles_done_.load(); }
  uint64_t peak_bytes() const { return meter_->peak(); }

 protected:
  const std::shared_ptr<Meter> meter_ = std::make_shared<Meter>();
  std::vector<uint8_t> partials_;
  std::atomic<bool> cancelled_{false};
  std::atomic<uint64_t> tiles_done_{0};
};

class Chunk : public AnyChunk {
 public:
  Chunk(std::shared_ptr<const Layer> layer, tl_assign_fn assign, const tl_chunk_options &options);

  std::unique_ptr<BatchRows> run(const BatchInput &batch, tl_tile_out *out,
                                 tl_batch_out *totals) override;
  const std::vector<uint8_t> &finish() override;
  uint64_t bytes_max(uint64_t tile_rows, uint64_t batch_rows) const override {
    return Lane::bytes_max(options_, tile_rows, batch_rows);
  }

 private:
  void run_tiles(const BatchInput &batch, Lane &lane, RowValues *rows, tl_tile_out *out,
                 StageSeconds &seconds);

  const std::shared_ptr<const Layer> layer_;
  const LaneOptions options_;
  Lanes<Lane> lanes_;
};

}  // namespace tileloom
