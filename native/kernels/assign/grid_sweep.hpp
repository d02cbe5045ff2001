// The sweep: which parts may hold points of which cell, and by which edges.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "grid_layout.hpp"

namespace tileloom {

// Thrown when the entries exceed the memory target: a coarser grid is tried.
struct GridTooLarge : std::runtime_error {
  GridTooLarge() : std::runtime_error("grid too large") {}
};

// Stand-in for edges to the right of a cell: they cross for low <= y < high.
struct Break {
  double low;
  double high;
};

// One part's candidate entry for one cell. Edges are refs[begin, begin + count): a vertex of the
// layer, or kBreakFlag | number of a Break.
struct SweepEntry {
  uint32_t cell;
  uint32_t feature_parity;  // feature | parity << 31
  uint32_t part;
  uint32_t count;
  uint64_t begin;
};
constexpr uint32_t kBreakFlag = 0x80000000u;

struct SweepResult {
  std::vector<int32_t>
      covers;  // per cell: first feature of which a part holds the whole cell, or -1
  std::vector<SweepEntry> entries;  // ascending by cell, then by feature
  std::vector<uint32_t> refs;
  std::vector<Break> breaks;
};

struct SweepOptions {
  bool first_only;       // nothing behind a cell's cover is kept
  bool keep_horizontal;  // horizontal edges matter to points on borders
  double magnitude_max;
  uint64_t bytes_max;
};

// Runs the sweep over a grid that `grid_fits` accepted. Throws GridTooLarge.
SweepResult sweep_layer(const tl_layer_view &layer, const IndexHeader &grid,
                        const SweepOptions &options);

// Padding of a cell's box against every rounding error of the sweep and of cell_of.
double cell_padding(double cell_size, double magnitude_max);
// Whether the padding proof holds: rounding errors are small against the cells.
bool grid_fits(const IndexHeader &grid, double magnitude_max);

}  // namespace tileloom
