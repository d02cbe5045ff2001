// The CUDA kernels: one block row per tile, warps that step over its rows, and the mathematics of
// the shared headers. Built ahead of time by scripts/build-cuda.mjs and at run time by NVRTC, both
// with --fmad=false; nothing here may be contracted.
//
// Each filter has a kernel that assigns, and a fused one that also aggregates the tiles whose
// accumulators are on the device. Per row the fused one reads 16 B of coordinates and 8 B a
// measure; two launches would move 8 B more: ids, written and read again. They are written where
// asked for.
//
// Accumulators are not kept per block in shared memory: warps take the contention of tile order
// away, 64-bit additions to shared memory are loops of compare-and-swap, and generic addresses
// would slow the common way down. Judgement, not measured.
#include "../kernels/aggregate/warp_device.hpp"
#include "../kernels/aggregate/warp_rows.hpp"

namespace tileloom {
namespace {

// blockDim.x is a multiple of 32, so a warp's rows are consecutive and its lanes stay together.
template <class Query, bool kAggregate>
__device__ __forceinline__ void run_tile(const AssignJob &job) {
  const TileJob &tile = memory_at<const TileJob>(job.tiles)[blockIdx.y];
  const DeviceWarp warp{threadIdx.x % kWarpLanes};
  const uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x;
  run_warp<Query, kAggregate>(warp, job, tile, thread - warp.self, gridDim.x * blockDim.x);
}

}  // namespace
}  // namespace tileloom

extern "C" __global__ void __launch_bounds__(256, 3)
    tl_assign_grid_fp64(const tileloom::AssignJob job) {
  tileloom::run_tile<tileloom::Fp64Query, false>(job);
}

extern "C" __global__ void __launch_bounds__(256, 3)
    tl_fused_grid_fp64(const tileloom::AssignJob job) {
  tileloom::run_tile<tileloom::Fp64Query, true>(job);
}

extern "C" __global__ void __launch_bounds__(256, 3)
    tl_assign_grid_fp32(const tileloom::AssignJob job) {
  tileloom::run_tile<tileloom::Fp32Query, false>(job);
}

extern "C" __global__ void __launch_bounds__(256, 3)
    tl_fused_grid_fp32(const tileloom::AssignJob job) {
  tileloom::run_tile<tileloom::Fp32Query, true>(job);
}
