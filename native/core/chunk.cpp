#include "chunk.hpp"

#include <cstring>
#include <string>

#include "failure.hpp"

namespace tileloom {
std::vector<const char *> split_paths(const BatchInput &batch) {
  std::vector<const char *> names;
  const char *at = batch.paths;
  const char *end = at + batch.paths_bytes;
  while (at < end) {
    const void *stop = std::memchr(at, 0, static_cast<size_t>(end - at));
    require(stop != nullptr, "has paths that do not end with NUL");
    names.push_back(at);
    at = static_cast<const char *>(stop) + 1;
  }
  require(names.size() == batch.files, "has another number of paths than files");
  return names;
}

void check_tile(const BatchInput &batch, const tl_tile_in &tile, uint64_t columns) {
  require(tile.rows <= INT32_MAX, "has too many rows: expected at most 2^31 - 1");
  require(tile.file < batch.files, "names a file that the batch does not have");
  require(columns <= batch.column_count && tile.first_column <= batch.column_count - columns,
          "names columns that the batch does not have");
}

Chunk::Chunk(std::shared_ptr<const Layer> layer, tl_assign_fn assign,
             const tl_chunk_options &options)
    : layer_(std::move(layer)), options_{&layer_->view(), assign, options}, lanes_([this] {
        return std::make_unique<Lane>(*meter_, options_);
      }) {}

void Chunk::run_tiles(const BatchInput &batch, Lane &lane, RowValues *rows, tl_tile_out *out,
                      StageSeconds &seconds) {
  const std::vector<const char *> names = split_paths(batch);
  std::vector<OpenFile> files(names.size());
  std::vector<bool> opened(names.size(), false);
  const uint64_t columns = 2 + options_.chunk.measures;
  for (uint64_t index = 0; index < batch.tile_count; ++index) {
    const tl_tile_in &tile = batch.tiles[index];
    try {
      if (cancelled_.load()) {
        throw Failure(TL_CANCELLED, "was not started: the chunk is cancelled");
      }
      check_tile(batch, tile, columns);
      if (!opened[tile.file]) {
        OpenFile file = open_for_reading(names[tile.file]);
        files[tile.file].swap(file);
        opened[tile.file] = true;
      }
      out[index] = lane.run_tile(files[tile.file].get(), tile, batch.columns + tile.first_column,
                                 rows, seconds);
    } catch (Failure &failure) {
      failure.tile = static_cast<int64_t>(tile.tile);
      throw;
    } catch (const std::bad_alloc &) {
      Failure failure(TL_OUT_OF_MEMORY, "does not fit in memory: an allocation failed");
      failure.tile = static_cast<int64_t>(tile.tile);
      throw failure;
    }
    tiles_done_.fetch_add(1);
  }
}

std::unique_ptr<BatchRows> Chunk::run(const BatchInput &batch, tl_tile_out *out,
                                      tl_batch_out *totals) {
  std::unique_ptr<BatchRows> rows;
  if (options_.chunk.rows != 0) {
    rows = std::make_unique<BatchRows>(meter_);
  }
  StageSeconds seconds;
  lanes_.with_lane([&](Lane &lane) {
    if (rows != nullptr) {
      uint64_t expected = 0;
      for (uint64_t index = 0; index < batch.tile_count; ++index) {
        expected += batch.tiles[index].rows <= INT32_MAX ? batch.tiles[index].rows : 0;
      }
      rows->rows.values.reserve_discarding(expected);
    }
    run_tiles(batch, lane, rows == nullptr ? nullptr : &rows->rows, out, seconds);
  });
  totals->read_seconds = seconds.read;
  totals->kernel_seconds = seconds.kernel;
  totals->write_seconds = seconds.write;
  totals->upload_seconds = 0;
  totals->download_seconds = 0;
  totals->repaired_rows = 0;
  totals->row_values = rows == nullptr ? 0 : rows->rows.used;
  return rows;
}

const std::vector<uint8_t> &Chunk::finish() {
  lanes_.finish(partials_);
  return partials_;
}

}  // namespace tileloom
