// The fp32 filter: edges relative to their cell in single precision, and a band inside which the
// host decides. The cell itself is picked in fp64, by the one function (grid_cell).
//
// Layout. Cells as in the index, with other record numbers: records start at multiples of 32.
// record  RecordHeader (8 B, first_edge 0); per candidate u32 feature | parity << 31, u32 crossing
//         mask[words]; padding to 16 B; blocks of four edges: f32 y1[4] y2[4] a[4] b[4] c[4].
// Written by native/cuda/index_fp32.cpp, which owns the host's half of the proof.
//
// Coordinates. T maps a point exactly (in real numbers) to cells: u = (x - x0) cells_per_x - column
// - 1/2, v likewise; points of the cell have |u|, |v| <= 1/2 (+ 2^-36). T is monotone in x and y,
// so it keeps what crosses what. Sizes of cells and of coordinates cancel out here: nothing below
// depends on them, and nothing can overflow.
//
// Edges. A line through both ends, a u + b v + c = 0 with a >= 0 and max(|a|, |b|) = 1, negative
// left of the edge. Slopes appear nowhere, so vertical and horizontal edges are like any other. A
// stored edge meets its padded cell, so |c| <= 1 + 2^-8; where the host cannot show that, it stores
// NaN for a, b and c, and the edge is undecided wherever it spans the point. Ends beyond |v| = 1
// are clamped to it, which changes no comparison.
//
// Bound. Write e for 2^-26. Stars mark exact values, all others are what the code holds.
//   |u - u*| <= e + 2^-36           u is within 1/2: half an ulp is e; the fp64 prologue has
//                                   2^-36.4 at up to 2^15 columns. The same for v.
//   |a - a*| <= 2 e + 2^-49         half an ulp below 1; fp64 host. The same for b.
//   |c - c*| <= 4 e + 2^-33         half an ulp between 1 and 2; fp64 host.
//   |y1 - y1*| <= 2 e + 2^-36       half an ulp below 1. The same for y2.
// side = ((a u) + (b v)) + c in fp32, no FMA (one would only remove a rounding):
//   a u     |a - a*| |u*| + |a| |u - u*| + rounding at up to 1/2  <= e + e + e
//   b v     the same                                             <= 3 e
//   a u + b v   rounding at up to 1                              <= 2 e
//   c                                                            <= 4 e
//   fp64 terms, second orders                                    <= 2^-31
// The last sum rounds relatively (2^-24) and keeps the sign. Together below 12.1 e, so beyond
//   kFp32Band = 2^-22 = 16 e
// the sign of side is the exact one. y1 - v has the exact sign beyond 3 e + 2^-35, thus beyond the
// same band. Subnormal results, flushed or not, add at most 2^-126.
//
// Decision of one edge, with near: |y1 - v| or |y2 - v| within the band (ties after rounding too):
//   side > band        right of the line: it neither crosses nor is touched, whatever y says;
//   not near           y1 <= y < y2 is known; if it spans, |side| > band decides, and no touch;
//   all else           undecided (`close`): the host answers the row.
// The same holds for covers and contains: a decided edge is never touched.
#pragma once

// Spelt as in exact_cells.hpp: NVRTC knows embedded files by how they are spelt.
#include "../assign/assign_device.hpp"

namespace tileloom {

constexpr float kFp32Band = 0x1p-22f;
// The proof's limit on columns and rows of the grid.
constexpr uint32_t kFp32SideMax = 1u << 15;
constexpr double kFp32OffsetMax = 1 + 0x1p-8;  // of |c|
constexpr uint64_t kFp32RecordAlignment = 32;
constexpr uint64_t kFp32HeadAlignment = 16;

struct alignas(16) Quad {
  float lane[kBlockLanes];
};

struct Fp32Block {
  Quad y1, y2, a, b, c;
};
static_assert(sizeof(Fp32Block) == 80, "both sides agree on a block");

TL_HD EdgeTest test_edge_fp32(float y1, float y2, float a, float b, float c, float u, float v) {
  const float below = y1 - v;
  const float above = y2 - v;
  const uint32_t spans = (below > 0) != (above > 0);
  const uint32_t near = !(magnitude_of(below) > kFp32Band) | !(magnitude_of(above) > kFp32Band);
  const float side = (a * u + b * v) + c;
  const uint32_t right = side > kFp32Band;
  const uint32_t left = side < -kFp32Band;
  return {spans & left, (near & (right ^ 1)) | (spans & ((right | left) ^ 1))};
}

// Coordinate within its cell, from the middle. The difference is exact; then one rounding of fp64
// (at most 2^-55) and one of fp32.
TL_HD float within_cell(double cells) {
  return static_cast<float>((cells - static_cast<double>(static_cast<int32_t>(cells))) - 0.5);
}

struct Fp32Filter {
  struct Point {
    float u;
    float v;
  };
  static constexpr uint64_t kAlignment = kFp32RecordAlignment;
  static constexpr uint64_t kHeadAlignment = kFp32HeadAlignment;
  static constexpr uint64_t kBytes = sizeof(Fp32Block);
  static constexpr uint32_t kMasks = 1;
  static constexpr bool kCrossingsSuffice = false;  // it serves covers and contains as well

  TL_HD Point point(const AssignJob &job, double x, double y) {
    return {within_cell(grid_column(job, x)), within_cell(grid_row(job, y))};
  }

  TL_HD uint32_t crossings(const uint8_t *bytes, const Point &point, uint32_t &close) {
    const Fp32Block block = *reinterpret_cast<const Fp32Block *>(bytes);
    uint32_t found = 0;
    for (int lane = 0; lane < kBlockLanes; ++lane) {
      const EdgeTest edge =
          test_edge_fp32(block.y1.lane[lane], block.y2.lane[lane], block.a.lane[lane],
                         block.b.lane[lane], block.c.lane[lane], point.u, point.v);
      found |= edge.crosses << lane;
      close |= edge.close;
    }
    return found;
  }
};

}  // namespace tileloom
