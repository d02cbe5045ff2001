// Layout of a .tlidx file: a grid of labelled cells over a layer's box, and edge records for the
// cells that a border touches. Header only and free of the standard library's templates (see
// assign.hpp).
//
// file    Header (256 B), cells, records, edge ids; sections start at multiples of 64.
// cells   i32[rows][columns]: >= 0 the only feature that holds every point of the cell; -1 none;
//         <= -2 a record at byte 64 * -(value + 2) of `records`.
// record  RecordHeader (8 B); per candidate (a part that may hold points of the cell, features
//         ascending) u32 feature | parity << 31, u32 crossing mask[words] and, for covers and
//         contains, u32 touching mask[words]; padding to 32 B; blocks of four edges: f64 y1[4]
//         y2[4] x1[4] slope[4]. words = max(1, ceil(4 * blocks / 32)). Records start at multiples
//         of 64. A point is inside a candidate by even-odd when popcount(crossings & mask) + parity
//         is odd. Whatever lies to the right of the cell is in the parity and in y-breakpoints:
//         stand-in edges at x = kFar. An edge that the filter cannot decide has slope NaN.
// crowded a record with candidates = kCrowded: u32 count in first_edge, then u32 feature, u32 part
//         each; decided exactly over the part's raw edges.
// ids     u32 per edge of a record: vertex of the layer where the segment starts, or kNoVertex for
// a
//         stand-in and for padding.
#pragma once

#include <cstdint>

#include "../../include/tileloom_kernels.h"
#include "assign.hpp"
#include "grid_math.hpp"

namespace tileloom {

constexpr uint32_t kIndexVersion = 1;
constexpr uint32_t kKindGrid = 0;
constexpr uint32_t kKindEdges = 1;
constexpr uint32_t kNoVertex = 0xffffffffu;
// x of a stand-in for edges to the right, far beyond any coordinate that a grid accepts.
constexpr double kFar = 0x1p100;
constexpr double kGridMagnitudeMax = 0x1p90;
constexpr double kGridMagnitudeMin = 0x1p-900;

struct IndexHeader {
  char magic[8];
  uint32_t version;
  uint32_t kind;
  uint32_t boundary;
  uint32_t overlap;
  uint32_t columns;
  uint32_t rows;
  uint8_t geometry_sha256[32];
  uint8_t digest[16];  // XXH3-128 of this header with zeros here
  uint8_t cells_digest[16];
  uint8_t records_digest[16];
  uint8_t ids_digest[16];
  uint64_t file_bytes;
  uint64_t features;
  uint64_t record_count;
  uint64_t edge_count;
  uint64_t cells_offset;
  uint64_t records_offset;
  uint64_t records_bytes;
  uint64_t ids_offset;
  uint64_t id_count;
  double x0;
  double y0;
  double cells_per_x;
  double cells_per_y;
  // The filter decides when |x - computed crossing| exceeds this: 16 u M, u = 2^-53, M the largest
  // magnitude of a coordinate. Error of x1 + (y - y1) * slope: at most 9 u M with FMA, 11 u M
  // without.
  double band;
};
static_assert(sizeof(IndexHeader) == 240, "layout of the index header");
constexpr uint64_t kIndexHeaderBytes = 256;

namespace {

inline int64_t cell_of(const IndexHeader &grid, double x, double y) {
  return grid_cell(grid, x, y);
}

// The segment that starts at a vertex, lower end first.
inline Segment layer_segment(const double *xs, const double *ys, uint64_t vertex) {
  const uint64_t next = vertex + 1;
  if (ys[vertex] <= ys[next]) {
    return {xs[vertex], ys[vertex], xs[next], ys[next]};
  }
  return {xs[next], ys[next], xs[vertex], ys[vertex]};
}

}  // namespace

// Checks the bytes of an index against a layer; returns null or what is wrong.
const char *check_index(const void *index, uint64_t bytes, const tl_layer_view &layer);

}  // namespace tileloom
