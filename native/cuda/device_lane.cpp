#include "device_lane.hpp"

#include <algorithm>
#include <cstring>

#include "../core/hash128.hpp"

namespace tileloom {
namespace {

double double_of(uint64_t bits) {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

MeasureFacts facts_of(const CellHead &head) {
  MeasureFacts facts;
  facts.n = head.n;
  facts.nulls = head.nulls;
  facts.nans = head.nans;
  facts.plus_inf = head.plus_inf;
  facts.minus_inf = head.minus_inf;
  if (head.n != 0) {
    facts.min = double_of(bits_of_key(~head.min_key));
    facts.max = double_of(bits_of_key(head.max_key));
  }
  return facts;
}

// A cell's sum. Only the digits that its few limbs can fill are written: a tile of many features
// has one sum each, and all limbs of a WideSum would cost more than reading the tile's rows.
Magnitude sum_of(const MeasureJob &job, const uint8_t *cell) {
  const int64_t *limbs = reinterpret_cast<const int64_t *>(cell + sizeof(CellHead));
  const int first = static_cast<int>(job.limb_low);
  const int last = first + static_cast<int>(job.limbs);  // takes what the limbs carry
  Magnitude sum;
  const auto carry = [&](int64_t sign) {
    int64_t up = 0;
    for (int index = first; index < last; ++index) {
      const int64_t limb = sign * limbs[index - first] + up;
      sum.digits[index] = static_cast<uint32_t>(limb);
      up = limb >> 32;
    }
    sum.digits[last] = static_cast<uint32_t>(up);
    return up;
  };
  const bool negative = carry(1) < 0;
  if (negative) {
    carry(-1);
  }
  sum.low = first;
  sum.high = last + 1;
  while (sum.high > first && sum.digits[sum.high - 1] == 0) --sum.high;
  while (sum.low < sum.high && sum.digits[sum.low] == 0) ++sum.low;
  sum.sign = negative ? -1 : 1;
  if (sum.low == sum.high) {
    sum.sign = sum.low = sum.high = 0;
  }
  return sum;
}

// Less than 2^32 a limb, as much as adding a carried WideSum.
void add_sum(WideSum &total, const Magnitude &sum) {
  for (int index = sum.low; index < sum.high; ++index) {
    total.add_limb(index, sum.sign * static_cast<int64_t>(sum.digits[index]));
  }
}

}  // namespace

DeviceLane::DeviceLane(Meter &meter, const GroupOptions &options)
    : meter_(meter),
      options_(options),
      features_(options.aggregate != 0 ? options.layer->features : 0),
      measures_(options.aggregate != 0 ? options.measures : 0),
      totals_(meter, features_, measures_),
      ids_(meter),
      encoded_(meter) {}

ResultCounts DeviceLane::count(const Group &group, size_t tile, const Repaired &repaired) const {
  const TileCounts found = group.counts(tile);
  ResultCounts counts;
  counts.rows = group.tile(tile).job.rows;
  counts.hits = found.hits;
  counts.outside = found.outside;
  counts.invalid = found.invalid;
  const bool all = options_.overlap == TL_OVERLAP_ALL;
  for (const int32_t id : repaired.ids) {
    const bool outside = all ? id == 0 : id == TL_OUTSIDE;
    counts.invalid += id == TL_INVALID;
    counts.outside += outside;
    counts.hits += id != TL_INVALID && !outside;
  }
  if (counts.hits + counts.outside + counts.invalid != counts.rows) {
    throw Failure(TL_KERNEL_FAILED, "makes the kernel count other rows than the tile has");
  }
  return counts;
}

// The device skipped these rows; the same mathematics adds them here.
void DeviceLane::aggregate_repaired(const GroupTile &tile, const Repaired &repaired) const {
  const bool all = options_.overlap == TL_OVERLAP_ALL;
  size_t pair = 0;
  for (size_t index = 0; index < repaired.rows.size(); ++index) {
    const int32_t id = repaired.ids[index];
    for (int32_t found = 0; found < (all ? id : id >= 0 ? 1 : 0); ++found) {
      const int32_t feature = all ? repaired.features[pair++] : id;
      add_row(tile.job, tile.measures.data(), measures_, repaired.rows[index],
              static_cast<uint32_t>(feature));
    }
  }
}

void DeviceLane::aggregate_on_host(const GroupTile &tile, const int32_t *ids,
                                   const std::vector<int32_t> &features) {
  if (host_ == nullptr) {
    host_ = std::make_unique<TileAggregate>(meter_, features_, measures_);
  }
  host_->begin(tile.columns.data(), tile.job.rows);
  if (options_.overlap != TL_OVERLAP_ALL) {
    host_->add_block(ids, 0, tile.job.rows);
    return;
  }
  std::vector<uint32_t> rows;
  rows.reserve(features.size());
  for (uint64_t row = 0; row < tile.job.rows; ++row) {
    for (int32_t found = 0; found < ids[row]; ++found) {
      rows.push_back(static_cast<uint32_t>(row));
    }
  }
  host_->add_pairs(features.data(), rows.data(), rows.size());
}

uint64_t DeviceLane::finish_device(const GroupTile &tile, const ResultCounts &counts) {
  const uint32_t *rows = memory_at<const uint32_t>(tile.job.feature_counts);
  const uint64_t entries =
      features_ - static_cast<uint64_t>(std::count(rows, rows + features_, uint32_t{0}));
  encoded_.reserve_discarding(
      PartialsWriter::kHeaderBytes +
      entries * (PartialsWriter::kEntryBytes + measures_ * PartialsWriter::kMeasureBytesMax));
  PartialsWriter writer(encoded_.data());
  writer.header(measures_, static_cast<uint32_t>(entries), counts);
  uint64_t hits = 0;
  for (uint32_t feature = 0; feature < features_; ++feature) {
    if (rows[feature] == 0) {
      continue;
    }
    hits += rows[feature];
    const uint32_t slot = totals_.slot_of(feature);
    totals_.add_count(slot, rows[feature]);
    writer.entry(feature, rows[feature]);
    for (uint32_t number = 0; number < measures_; ++number) {
      const MeasureJob &job = tile.measures[number];
      const uint8_t *cell = memory_at<const uint8_t>(job.cells) + feature * cell_bytes(job.limbs);
      const MeasureFacts facts = facts_of(*reinterpret_cast<const CellHead *>(cell));
      const Magnitude sum = sum_of(job, cell);
      writer.facts(facts);
      writer.sum(sum);
      Totals::Measure &total = totals_.measure(slot, number);
      total.facts.add(facts);
      add_sum(total.sum, sum);
    }
  }
  const bool all = options_.overlap == TL_OVERLAP_ALL;
  if (features_ != 0 && (all ? hits < counts.hits : hits != counts.hits)) {
    throw Failure(TL_KERNEL_FAILED, "makes the kernel sum up other rows than it assigned");
  }
  return writer.size();
}

uint64_t DeviceLane::finish_host(const ResultCounts &counts) {
  encoded_.reserve_discarding(host_->encoded_bytes_max());
  const uint64_t bytes = host_->encode(counts, encoded_.data());
  host_->merge_into(totals_);
  return bytes;
}

tl_tile_out DeviceLane::settle(const Group &group, size_t tile, RowValues *rows,
                               tl_device_stats &stats) {
  const GroupTile &computed = group.tile(tile);
  const uint64_t size = computed.job.rows;
  const Repaired repaired = repair_rows(group, tile);
  const ResultCounts counts = count(group, tile, repaired);
  stats.repaired_rows += repaired.rows.size();
  const uint64_t start = rows == nullptr ? 0 : rows->used;
  std::vector<int32_t> features;
  int32_t *ids = nullptr;
  if (rows != nullptr) {
    rows->values.reserve_keeping(start + size, start);
    ids = rows->values.data() + start;
  } else if (computed.host_aggregates) {
    ids_.reserve_discarding(size);
    ids = ids_.data();
  }
  if (ids != nullptr) {
    settle_rows(group, tile, repaired, ids, features);
  }
  uint64_t bytes = 0;
  if (computed.host_aggregates) {
    aggregate_on_host(computed, ids, features);
    bytes = finish_host(counts);
    stats.host_tiles += 1;
  } else {
    aggregate_repaired(computed, features_ == 0 ? Repaired{} : repaired);
    bytes = finish_device(computed, counts);
  }
  totals_.add_results(counts);
  Digest128 digest;
  if (rows == nullptr) {
    digest = hash128(encoded_.data(), bytes);
  } else {
    rows->used = start + size + features.size();
    rows->values.reserve_keeping(rows->used, start + size);
    std::copy(features.begin(), features.end(), rows->values.data() + start + size);
    digest = hash128(rows->values.data() + start, (rows->used - start) * sizeof(int32_t));
  }
  tl_tile_out out{};
  out.rows = size;
  out.hits = counts.hits;
  out.outside = counts.outside;
  out.invalid = counts.invalid;
  std::memcpy(out.digest, digest.bytes, sizeof out.digest);
  out.row_values = rows == nullptr ? 0 : rows->used - start;
  return out;
}

uint64_t DeviceLane::bytes_max(const GroupOptions &options, uint64_t tile_rows,
                               uint64_t batch_rows) {
  const uint64_t features = options.aggregate != 0 ? options.layer->features : 0;
  const uint32_t measures = options.aggregate != 0 ? options.measures : 0;
  const uint64_t per_row = options.overlap == TL_OVERLAP_ALL ? 12 : 4;
  const uint64_t rows = options.rows != 0 ? batch_rows * per_row * 5 / 2 : tile_rows * 4;
  const uint64_t touched = std::min(features, batch_rows);
  const uint64_t encoded =
      touched * (PartialsWriter::kEntryBytes + measures * PartialsWriter::kMeasureBytesMax);
  return rows + encoded + TileAggregate::bytes_max(features, tile_rows, measures) +
         Totals::bytes_max(features, touched, measures) + 16384;
}

}  // namespace tileloom
