// Policy of the CUDA library: launch shape, arena sizes, and what the compile report may show.
// Every row says whether it was measured; none has been, so none cites a record.
#pragma once

#include <cstdint>

namespace tileloom {

// Judgement: three resident blocks leave each kernel 80 registers.
constexpr uint32_t kThreadsPerBlock = 256;
// Judgement: rows of one tile that a thread takes in turn at most, before more blocks are launched.
constexpr uint32_t kBlocksPerTileMax = 1024;
// Judgement: batches in flight that let a copy overlap a kernel.
constexpr uint32_t kSlotsDefault = 3;
constexpr uint32_t kSlotsMax = 8;
// Judgement: one slot's arena on the device, and its pinned mirror on the host.
constexpr uint64_t kSlotBytesDefault = uint64_t{256} << 20;
constexpr uint64_t kSlotBytesMin = uint64_t{1} << 16;
// Judgement: dense accumulators are kept on the device while they take at most this many times the
// bytes of the tile's columns; a tile with fewer rows per feature is aggregated by the host.
constexpr uint64_t kAccumulatorShareMax = 1;

// Read by scripts/build-cuda.mjs: what the compile report accepts per kernel.
// kernel                  registers <=  spill bytes <=  local bytes <=  fused multiply-adds <=
// tl_assign_grid_fp64     80            0               0               0
// tl_fused_grid_fp64      80            0               0               0
// tl_assign_grid_fp32     72            0               0               0
// tl_fused_grid_fp32      72            0               0               0

}  // namespace tileloom
