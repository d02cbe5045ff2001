// Builds, writes and checks .tlidx files (layout: grid_layout.hpp).
#pragma once

#include <cstdint>

#include "../../include/tileloom_kernels.h"

namespace tileloom {

struct IndexRequest {
  const char *geometry_path;
  const uint8_t *geometry_sha256;
  const char *index_path;
  uint32_t boundary;
  uint32_t overlap;
  uint64_t bytes_max;
  bool durable;
};

// Deterministic; falls back to coarser grids to keep bytes_max and the padding proof, and to an
// index without a grid (every point takes the exact path) where no grid can be proven exact.
tl_index_info build_index(const IndexRequest &request);

tl_index_info describe_index(const void *index);

}  // namespace tileloom
