// The mathematics of the labelled grid that CPU and CUDA variants share: the function from a point
// to its cell, the test of one edge, and the layout of a record. Layout: grid_layout.hpp.
#pragma once

#include "../device.hpp"

namespace tileloom {

constexpr uint16_t kCrowded = 0xffff;
constexpr uint64_t kRecordAlignment = 64;
constexpr uint64_t kBlockBytes = 128;
constexpr int kBlockLanes = 4;

struct RecordHeader {
  uint16_t candidates;
  uint16_t blocks;
  uint32_t first_edge;  // of its edges in the id table
};

TL_HD uint32_t mask_words(uint32_t blocks) {
  const uint32_t words = (blocks * kBlockLanes + 31) / 32;
  return words == 0 ? 1 : words;
}

// Bytes before the blocks.
template <uint64_t kAlignment = 32>
TL_HD uint64_t record_head_bytes(uint32_t candidates, uint32_t words_per_candidate) {
  return (sizeof(RecordHeader) + uint64_t{candidates} * 4 * (1 + words_per_candidate) + kAlignment -
          1) /
         kAlignment * kAlignment;
}

// A coordinate in units of cells. Error: at most 2^-52 of it (two roundings).
template <class Grid>
TL_HD double grid_column(const Grid &grid, double x) {
  return (x - grid.x0) * grid.cells_per_x;
}

template <class Grid>
TL_HD double grid_row(const Grid &grid, double y) {
  return (y - grid.y0) * grid.cells_per_y;
}

// The one function from a point to its cell: monotone in x and y, range-checked before conversion.
// Returns -1 outside the grid (and for NaN). Grid: x0, y0, cells_per_x, cells_per_y, columns, rows.
template <class Grid>
TL_HD int64_t grid_cell(const Grid &grid, double x, double y) {
  const double column = grid_column(grid, x);
  const double row = grid_row(grid, y);
  if (!(column >= 0 && row >= 0 && column < grid.columns && row < grid.rows)) {
    return -1;
  }
  return int64_t{static_cast<int32_t>(row)} * grid.columns + static_cast<int32_t>(column);
}

struct EdgeTest {
  uint32_t crosses;
  uint32_t close;  // too near to decide: the exact predicate must
};

// One edge against one point. The crossing's x has an error of at most 11 u M (two roundings, no
// FMA), below the band of 16 u M, so outside the band the sign is the exact one.
template <bool kBorders>
TL_HD EdgeTest test_edge(double y1, double y2, double x1, double slope, double x, double y,
                         double band) {
  const uint32_t spans = (y1 > y) != (y2 > y);
  const uint32_t reaches = kBorders ? (y1 <= y) & (y <= y2) : spans;
  const double distance = x - ((y - y1) * slope + x1);
  return {spans & static_cast<uint32_t>(distance < 0),
          reaches & static_cast<uint32_t>(!(magnitude_of(distance) > band))};
}

}  // namespace tileloom
