// The grid query of one point as a CUDA thread runs it; g++ builds the same text for tests.
//
// A thread settles a point or hands it to the host (kAmbiguous): cells that only the exact
// predicate can decide, crowded cells, and, under overlap all and error, points in more than one
// feature. The host answers those through the exact scalar variant, so the outcome is the exact
// one.
#pragma once

#include "grid_math.hpp"

namespace tileloom {

constexpr int32_t kDeviceOutside = -1;
constexpr int32_t kDeviceInvalid = -2;
constexpr int32_t kAmbiguous = -3;

// One tile of a launch. Addresses are those of the side that runs the kernel. 64 bytes.
struct TileJob {
  uint64_t rows;
  uint64_t x;
  uint64_t y;
  uint64_t ids;             // int32[rows], written
  uint64_t counts;          // TileCounts, added to
  uint64_t ambiguous;       // uint32[rows]: rows for the host, in any order
  uint64_t feature_counts;  // uint32[features], added to; 0: the host aggregates this tile
  uint64_t first_measure;   // of the launch's measure jobs
};
static_assert(sizeof(TileJob) == 64, "both sides agree on a tile's job");

struct TileCounts {
  uint32_t hits;
  uint32_t outside;
  uint32_t invalid;
  uint32_t ambiguous;
};

struct AssignJob {
  double x0;
  double y0;
  double cells_per_x;
  double cells_per_y;
  double band;
  uint64_t cells;
  uint64_t records;
  uint64_t tiles;     // TileJob[tile_count]
  uint64_t measures;  // MeasureJob[tile_count][measure_count]; the fused kernels read it
  uint32_t columns;
  uint32_t rows;
  uint32_t tile_count;
  uint32_t borders;  // 1: boundary covers or contains
  uint32_t single;   // 1: a point in two features is the host's
  uint32_t measure_count;
};
static_assert(sizeof(AssignJob) == 96, "both sides agree on an assign job");

// Records as in the index file: fp64 edges, decided by the shared test (grid_math.hpp). A filter
// tells how a record is laid out, what a point is to it, and how it tests one block of four edges.
template <bool kBorders>
struct Fp64Filter {
  struct Point {
    double x;
    double y;
    double band;
  };
  static constexpr uint64_t kAlignment = kRecordAlignment;
  static constexpr uint64_t kHeadAlignment = 32;
  static constexpr uint64_t kBytes = kBlockBytes;
  static constexpr uint32_t kMasks = kBorders ? 2 : 1;  // per candidate; the first is of crossings
  // Whether edges that no crossing mask of a candidate names cannot matter to it.
  static constexpr bool kCrossingsSuffice = !kBorders;

  TL_HD Point point(const AssignJob &job, double x, double y) { return {x, y, job.band}; }

  // Crossing bits of a block; `close` collects what the filter cannot decide.
  TL_HD uint32_t crossings(const uint8_t *bytes, const Point &point, uint32_t &close) {
    const double *block = reinterpret_cast<const double *>(bytes);
    uint32_t found = 0;
    for (int lane = 0; lane < kBlockLanes; ++lane) {
      const EdgeTest edge = test_edge<kBorders>(block[lane], block[4 + lane], block[8 + lane],
                                                block[12 + lane], point.x, point.y, point.band);
      found |= edge.crosses << lane;
      close |= edge.close;
    }
    return found;
  }
};

// Crossing bits of up to eight blocks.
template <class Filter>
TL_HD uint32_t crossing_word(const uint8_t *block, uint32_t blocks,
                             const typename Filter::Point &point, uint32_t &close) {
  uint32_t word = 0;
  for (uint32_t index = 0; index < blocks; ++index, block += Filter::kBytes) {
    word |= Filter::crossings(block, point, close) << (index * kBlockLanes);
  }
  return word;
}

// Odd crossings of one candidate, all words of its record.
template <class Filter>
TL_HD uint32_t candidate_inside(const uint32_t *candidate, const uint8_t *blocks, uint32_t count,
                                const typename Filter::Point &point, uint32_t &close) {
  uint32_t odd = 0;
  for (uint32_t first = 0, word = 0; first < count; first += 8, ++word) {
    const uint32_t left = count - first;
    const uint32_t mask = candidate[1 + word];
    if (Filter::kCrossingsSuffice && mask == 0) {
      continue;
    }
    odd ^= mask & crossing_word<Filter>(blocks + first * Filter::kBytes, left < 8 ? left : 8, point,
                                        close);
  }
  return parity_of(odd) ^ (candidate[0] >> 31);
}

// The record is walked once per candidate when it has more than 32 edges, so that crossing bits
// never need an array (which would live in local memory).
template <class Filter, bool kSingle>
TL_HD int32_t record_feature(const uint8_t *bytes, const typename Filter::Point &point) {
  const RecordHeader header = *reinterpret_cast<const RecordHeader *>(bytes);
  if (header.candidates == kCrowded) {
    return kAmbiguous;
  }
  const uint32_t words = mask_words(header.blocks);
  const uint32_t stride = 1 + words * Filter::kMasks;
  const uint32_t *candidate = reinterpret_cast<const uint32_t *>(bytes + sizeof(RecordHeader));
  const uint8_t *blocks =
      bytes + record_head_bytes<Filter::kHeadAlignment>(header.candidates, stride - 1);
  uint32_t close = 0;
  const uint32_t crossing =
      words == 1 ? crossing_word<Filter>(blocks, header.blocks, point, close) : 0;
  int32_t found = kDeviceOutside;
  for (uint32_t index = 0; index < header.candidates; ++index, candidate += stride) {
    const uint32_t inside =
        words == 1 ? parity_of(candidate[1] & crossing) ^ (candidate[0] >> 31)
                   : candidate_inside<Filter>(candidate, blocks, header.blocks, point, close);
    if (close != 0) {
      return kAmbiguous;
    }
    const int32_t feature = static_cast<int32_t>(candidate[0] & 0x7fffffffu);
    if (inside == 0 || feature == found) {
      continue;
    }
    if (!kSingle) {
      return feature;
    }
    if (found != kDeviceOutside) {
      return kAmbiguous;
    }
    found = feature;
  }
  return close != 0 ? kAmbiguous : found;
}

template <class Filter, bool kSingle>
TL_HD int32_t point_feature(const AssignJob &job, double x, double y) {
  const int64_t cell = grid_cell(job, x, y);
  if (cell < 0) {
    return x - x == 0 && y - y == 0 ? kDeviceOutside : kDeviceInvalid;
  }
  const int32_t value = memory_at<const int32_t>(job.cells)[cell];
  if (value >= kDeviceOutside) {
    return value;
  }
  const uint8_t *record = memory_at<const uint8_t>(job.records) +
                          static_cast<uint64_t>(-(int64_t{value} + 2)) * Filter::kAlignment;
  return record_feature<Filter, kSingle>(record, Filter::point(job, x, y));
}

}  // namespace tileloom
