// One step of a kernel: a warp takes 32 rows of a tile, finds their features and, in the fused
// kernels, adds their measures. Both compilers build it (warp_cells.hpp says how).
#pragma once

#include "../assign/grid_fp32.hpp"
#include "warp_cells.hpp"

namespace tileloom {

constexpr int32_t kNoRow = -4;  // of a lane past the tile's end

// The rules are the same for a whole launch, so every warp takes one branch.
struct Fp64Query {
  TL_WARP int32_t feature(const AssignJob &job, double x, double y) {
    if (job.borders != 0) {
      return job.single != 0 ? point_feature<Fp64Filter<true>, true>(job, x, y)
                             : point_feature<Fp64Filter<true>, false>(job, x, y);
    }
    return job.single != 0 ? point_feature<Fp64Filter<false>, true>(job, x, y)
                           : point_feature<Fp64Filter<false>, false>(job, x, y);
  }
};

struct Fp32Query {
  TL_WARP int32_t feature(const AssignJob &job, double x, double y) {
    return job.single != 0 ? point_feature<Fp32Filter, true>(job, x, y)
                           : point_feature<Fp32Filter, false>(job, x, y);
  }
};

// What every step needs of a tile; the rest of its job is read again when it is wanted, which
// spares registers.
struct TileColumns {
  uint64_t x;
  uint64_t y;
  uint64_t ids;
  uint32_t rows;
};

// Settles one row: writes its id where ids are wanted; an ambiguous row joins the tile's list.
template <class Query>
TL_WARP int32_t settle_row(const AssignJob &job, const TileJob &tile, const TileColumns &columns,
                           uint32_t row) {
  const int32_t id =
      Query::feature(job, read_once<double>(columns.x, row), read_once<double>(columns.y, row));
  if (columns.ids != 0) {
    write_once(columns.ids, row, id);
  }
  if (id == kAmbiguous) {
    const uint32_t at = atomic_add(&memory_at<TileCounts>(tile.counts)->ambiguous, 1u);
    memory_at<uint32_t>(tile.ambiguous)[at] = row;
  }
  return id;
}

// Rows base to base + 31; counts are the warp's, the same on every lane.
template <class Query, bool kAggregate, class Warp>
TL_WARP void run_rows(const Warp &warp, const AssignJob &job, const TileJob &tile,
                      const TileColumns &columns, uint32_t base, TileCounts &counts) {
  typename Warp::template Lanes<int32_t> ids;
  warp.each([&](uint32_t lane) {
    const uint32_t row = base + lane;
    ids[lane] = row < columns.rows ? settle_row<Query>(job, tile, columns, row) : kNoRow;
  });
  const auto lanes_of = [&](int32_t low, int32_t high) {
    return count_of(
        warp.ballot([&](uint32_t lane) { return ids[lane] >= low && ids[lane] <= high; }));
  };
  counts.hits += lanes_of(0, 0x7fffffff);
  counts.outside += lanes_of(kDeviceOutside, kDeviceOutside);
  counts.invalid += lanes_of(kDeviceInvalid, kDeviceInvalid);
  if (kAggregate && tile.feature_counts != 0) {
    const MeasureJob *measures = memory_at<const MeasureJob>(job.measures) + tile.first_measure;
    add_warp(warp, tile, measures, job.measure_count, base, ids);
  }
}

TL_WARP void add_count(uint32_t *total, uint32_t count) {
  if (count != 0) {
    atomic_add(total, count);
  }
}

// Every row that one warp of a launch takes: `first`, and then each `step` further. A tile has less
// than 2^31 rows and a launch at most 2^18 threads per tile, so 32 bits hold them all.
template <class Query, bool kAggregate, class Warp>
TL_WARP void run_warp(const Warp &warp, const AssignJob &job, const TileJob &tile, uint32_t first,
                      uint32_t step) {
  const TileColumns columns = {tile.x, tile.y, tile.ids, static_cast<uint32_t>(tile.rows)};
  if (first >= columns.rows) {
    return;  // the launch is as wide as its largest tile needs
  }
  TileCounts counts = {0, 0, 0, 0};
  for (uint32_t base = first; base < columns.rows; base += step) {
    run_rows<Query, kAggregate>(warp, job, tile, columns, base, counts);
  }
  // All warps of a tile add to these 16 bytes: most have one count to add.
  warp.one([&] {
    TileCounts *total = memory_at<TileCounts>(tile.counts);
    add_count(&total->hits, counts.hits);
    add_count(&total->outside, counts.outside);
    add_count(&total->invalid, counts.invalid);
  });
}

}  // namespace tileloom
