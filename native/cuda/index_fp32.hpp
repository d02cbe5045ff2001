// An index as the fp32 filter reads it (layout and proof: kernels/assign/grid_fp32.hpp), derived
// from the index's fp64 records when it is uploaded.
#pragma once

#include <cstdint>
#include <vector>

#include "../include/tileloom_kernels.h"

namespace tileloom {

struct Fp32Index {
  std::vector<uint8_t> bytes;  // cells, then records; empty where the filter cannot be used
  uint64_t records_offset = 0;
};

// The layer's index has a grid. Deterministic. Empty when the grid has more columns or rows than
// the bound covers, or the records do not fit their numbers: every row is then the host's.
Fp32Index make_fp32_index(const tl_layer_view &layer);

// Bytes that make_fp32_index holds at most, from the index alone.
uint64_t fp32_index_bytes_max(const tl_layer_view &layer);

}  // namespace tileloom
