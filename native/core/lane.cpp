#include "lane.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "failure.hpp"
#include "float_environment.hpp"
#include "hash128.hpp"

namespace tileloom {
namespace {

double now_seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// Statuses that an assign function may use for what they say; anything else is a failed kernel.
bool is_known_status(int status) {
  return status == TL_OVERLAP_FOUND || status == TL_OUT_OF_MEMORY || status == TL_ISA_MISSING ||
         status == TL_BAD_INDEX || status == TL_BAD_ARGUMENT;
}

// Without an aggregate there are neither features nor measures to keep.
uint64_t kept_features(const LaneOptions &options) {
  return options.chunk.aggregate != 0 ? options.layer->features : 0;
}

uint32_t kept_measures(const LaneOptions &options) {
  return options.chunk.aggregate != 0 ? options.chunk.measures : 0;
}

}  // namespace

Lane::Lane(Meter &meter, const LaneOptions &options)
    : options_(options),
      totals_(meter, kept_features(options), kept_measures(options)),
      aggregate_(meter, kept_features(options), kept_measures(options)),
      ids_(meter),
      pairs_(meter),
      pair_rows_(meter),
      encoded_(meter) {
  for (uint32_t column = 0; column < 2 + options.chunk.measures; ++column) {
    columns_.emplace_back(meter);
  }
  measures_.resize(options.chunk.measures);
}

void Lane::read(int file, const tl_tile_in &tile, const tl_column_in *columns) {
  for (uint32_t number = 0; number < columns_.size(); ++number) {
    try {
      const ColumnValues values = read_column(file, columns[number], tile.rows, columns_[number]);
      if (number < 2) {
        double *coordinates = as_coordinates(values, tile.rows);
        if (number == 0 && options_.chunk.wrap != 0) {
          wrap_longitudes(coordinates, tile.rows);
        }
        (number == 0 ? x_ : y_) = coordinates;
      } else {
        measures_[number - 2] = {values.doubles, values.integers, values.validity};
      }
    } catch (Failure &failure) {
      failure.column = static_cast<int32_t>(number);
      throw;
    }
  }
}

void Lane::fail_kernel(int status, const char *text, uint64_t row) const {
  Failure failure(is_known_status(status) ? status : TL_KERNEL_FAILED, text);
  if (status == TL_OVERLAP_FOUND) {
    failure.row = static_cast<int64_t>(row);
    failure.text = "row " + std::to_string(row) + " " + text;
  } else if (!is_known_status(status)) {
    failure.text = "makes the assign function fail with status " + std::to_string(status) + ": " +
                   (text[0] == '\0' ? "no reason given" : text);
  }
  throw failure;
}

void Lane::assign_block(const double *x, const double *y, uint64_t first, uint64_t count,
                        int32_t *ids) {
  const bool all = options_.chunk.overlap == TL_OVERLAP_ALL;
  if (all) {
    pairs_.reserve_discarding(2 * count);
  }
  for (;;) {
    tl_assign_args args{};
    args.struct_bytes = sizeof args;
    args.boundary = options_.chunk.boundary;
    args.overlap = options_.chunk.overlap;
    args.layer = options_.layer;
    args.rows = count;
    args.x = x;
    args.y = y;
    args.ids = ids;
    args.pairs = all ? pairs_.data() : nullptr;
    args.pairs_capacity = all ? pairs_.capacity() : 0;
    args.error_row = -1;
    char text[256] = "";
    const int status = options_.assign(&args, text, sizeof text);
    const uint64_t pairs_max = count * options_.layer->features;
    if (all && status == TL_BUFFER_TOO_SMALL && pairs_.capacity() < pairs_max) {
      pairs_.reserve_discarding(
          std::min(std::max(args.pairs_used, 2 * pairs_.capacity()), pairs_max));
      continue;
    }
    if (status != TL_OK) {
      const uint64_t row = args.error_row >= 0 ? static_cast<uint64_t>(args.error_row) : 0;
      fail_kernel(status, text, first + row);
    }
    pairs_used_ = all ? args.pairs_used : 0;
    return;
  }
}

// Counts and checks: an external function must not make the accumulators write out of bounds.
void Lane::count_block(const int32_t *ids, uint64_t count) {
  uint64_t hits = 0;
  uint64_t invalid = 0;
  int32_t low = 0;
  int32_t high = -1;
  for (uint64_t index = 0; index < count; ++index) {
    const int32_t id = ids[index];
    hits += id >= 0;
    invalid += id == TL_INVALID;
    low = id < low ? id : low;
    high = id > high ? id : high;
  }
  if (low < TL_INVALID || high >= static_cast<int64_t>(options_.layer->features)) {
    fail_kernel(TL_KERNEL_FAILED, "a feature number is out of range", 0);
  }
  counts_.hits += hits;
  counts_.invalid += invalid;
  counts_.outside += count - hits - invalid;
}

void Lane::count_pairs_block(const int32_t *ids, uint64_t first, uint64_t count) {
  pair_rows_.reserve_discarding(pairs_used_);
  uint64_t next = 0;
  for (uint64_t index = 0; index < count; ++index) {
    const int64_t found = ids[index];
    if (found < 0 ? found != TL_INVALID : next + static_cast<uint64_t>(found) > pairs_used_) {
      fail_kernel(TL_KERNEL_FAILED, "a number of pairs is out of range", 0);
    }
    counts_.invalid += found < 0;
    counts_.outside += found == 0;
    counts_.hits += found > 0;
    for (int64_t pair = 0; pair < found; ++pair) {
      pair_rows_[next++] = static_cast<uint32_t>(first + index);
    }
  }
  for (uint64_t pair = 0; pair < pairs_used_; ++pair) {
    if (pairs_[pair] < 0 || pairs_[pair] >= static_cast<int64_t>(options_.layer->features)) {
      fail_kernel(TL_KERNEL_FAILED, "a feature number is out of range", 0);
    }
  }
  if (next != pairs_used_) {
    fail_kernel(TL_KERNEL_FAILED, "numbers of pairs do not add up", 0);
  }
}

void Lane::run_blocks(uint64_t rows, RowValues *output) {
  const bool all = options_.chunk.overlap == TL_OVERLAP_ALL;
  const bool aggregates = options_.chunk.aggregate != 0;
  const uint64_t start = output == nullptr ? 0 : output->used;
  uint64_t end = start + rows;  // of the tile's row values
  if (output != nullptr) {
    output->values.reserve_keeping(end, start);
  } else {
    ids_.reserve_discarding(std::min(rows, kBlockRows));
  }
  for (uint64_t first = 0; first < rows; first += kBlockRows) {
    const uint64_t count = std::min(kBlockRows, rows - first);
    int32_t *ids = output == nullptr ? ids_.data() : output->values.data() + start + first;
    assign_block(x_ + first, y_ + first, first, count, ids);
    if (!all) {
      count_block(ids, count);
      if (aggregates) {
        aggregate_.add_block(ids, first, count);
      }
      continue;
    }
    count_pairs_block(ids, first, count);
    if (aggregates) {
      aggregate_.add_pairs(pairs_.data(), pair_rows_.data(), pairs_used_);
    }
    if (output != nullptr) {
      output->values.reserve_keeping(end + pairs_used_, end);
      std::memcpy(output->values.data() + end, pairs_.data(), pairs_used_ * sizeof(int32_t));
      end += pairs_used_;
    }
  }
  if (output != nullptr) {
    output->used = end;
  }
}

tl_tile_out Lane::run_tile(int file, const tl_tile_in &tile, const tl_column_in *columns,
                           RowValues *rows, StageSeconds &seconds) {
  const FloatEnvironment environment;
  const double started = now_seconds();
  read(file, tile, columns);
  const double loaded = now_seconds();
  counts_ = ResultCounts{};
  counts_.rows = tile.rows;
  aggregate_.begin(measures_.data(), tile.rows);
  const uint64_t first_value = rows == nullptr ? 0 : rows->used;
  run_blocks(tile.rows, rows);
  const double computed = now_seconds();
  Digest128 digest;
  if (rows == nullptr) {
    encoded_.reserve_discarding(aggregate_.encoded_bytes_max());
    digest = hash128(encoded_.data(), aggregate_.encode(counts_, encoded_.data()));
  } else {
    digest =
        hash128(rows->values.data() + first_value, (rows->used - first_value) * sizeof(int32_t));
  }
  aggregate_.merge_into(totals_);
  totals_.add_results(counts_);
  const double written = now_seconds();
  seconds.read += loaded - started;
  seconds.kernel += computed - loaded;
  seconds.write += written - computed;
  tl_tile_out out{};
  out.tile = tile.tile;
  out.rows = tile.rows;
  out.hits = counts_.hits;
  out.outside = counts_.outside;
  out.invalid = counts_.invalid;
  std::memcpy(out.digest, digest.bytes, sizeof out.digest);
  out.row_values = rows == nullptr ? 0 : rows->used - first_value;
  return out;
}

uint64_t Lane::bytes_max(const LaneOptions &options, uint64_t tile_rows, uint64_t batch_rows) {
  const tl_chunk_options &chunk = options.chunk;
  const uint64_t features = kept_features(options);
  const uint64_t block = std::min(tile_rows, kBlockRows);
  const uint64_t pairs = chunk.overlap == TL_OVERLAP_ALL ? block * 2 * 8 * 2 : 0;
  // Growth by half keeps old and new rows for a moment; overlap all has pairs besides.
  const uint64_t per_row = chunk.overlap == TL_OVERLAP_ALL ? 12 : 4;
  const uint64_t rows = chunk.rows != 0 ? batch_rows * per_row * 5 / 2 : block * 4;
  return (2 + chunk.measures) * column_bytes_max(tile_rows) + pairs + rows +
         TileAggregate::bytes_max(features, tile_rows, kept_measures(options)) +
         Totals::bytes_max(features, std::min(features, batch_rows), kept_measures(options)) +
         16384;
}

}  // namespace tileloom
