// The CUDA kernels: one block row per tile, a grid-stride loop over its rows, and the mathematics
// of the shared headers. Built ahead of time by scripts/build-cuda.mjs and at run time by NVRTC,
// both with --fmad=false; nothing here may be contracted.
#include "../kernels/aggregate/exact_cells.hpp"

namespace tileloom {
namespace {

__device__ __forceinline__ uint32_t warp_sum(uint32_t value) {
  for (int offset = 16; offset > 0; offset /= 2) {
    value += __shfl_down_sync(0xffffffffu, value, offset);
  }
  return value;
}

template <bool kBorders, bool kSingle>
__device__ __forceinline__ void assign_tile(const AssignJob &job, const TileJob &tile) {
  TileCounts counts = {0, 0, 0, 0};
  const uint64_t step = uint64_t{gridDim.x} * blockDim.x;
  for (uint64_t row = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; row < tile.rows;
       row += step) {
    assign_row<kBorders, kSingle>(job, tile, row, counts);
  }
  const uint32_t hits = warp_sum(counts.hits);
  const uint32_t outside = warp_sum(counts.outside);
  const uint32_t invalid = warp_sum(counts.invalid);
  if (threadIdx.x % 32 == 0) {
    TileCounts *total = memory_at<TileCounts>(tile.counts);
    atomic_add(&total->hits, hits);
    atomic_add(&total->outside, outside);
    atomic_add(&total->invalid, invalid);
  }
}

}  // namespace
}  // namespace tileloom

extern "C" __global__ void __launch_bounds__(256, 3)
    tl_assign_grid_fp64(const tileloom::AssignJob job) {
  const tileloom::TileJob tile =
      tileloom::memory_at<const tileloom::TileJob>(job.tiles)[blockIdx.y];
  if (job.borders != 0) {
    job.single != 0 ? tileloom::assign_tile<true, true>(job, tile)
                    : tileloom::assign_tile<true, false>(job, tile);
  } else {
    job.single != 0 ? tileloom::assign_tile<false, true>(job, tile)
                    : tileloom::assign_tile<false, false>(job, tile);
  }
}

extern "C" __global__ void __launch_bounds__(256, 4)
    tl_aggregate_exact(const tileloom::AggregateJob job) {
  const tileloom::TileJob tile =
      tileloom::memory_at<const tileloom::TileJob>(job.tiles)[blockIdx.y];
  if (tile.feature_counts == 0) {
    return;
  }
  const tileloom::MeasureJob *measures =
      tileloom::memory_at<const tileloom::MeasureJob>(job.measures) + tile.first_measure;
  const int32_t *ids = tileloom::memory_at<const int32_t>(tile.ids);
  const uint64_t step = uint64_t{gridDim.x} * blockDim.x;
  for (uint64_t row = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; row < tile.rows;
       row += step) {
    if (ids[row] >= 0) {
      tileloom::add_row(tile, measures, job.measure_count, row, static_cast<uint32_t>(ids[row]));
    }
  }
}
