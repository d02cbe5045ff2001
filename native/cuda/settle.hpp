// What the host does with a computed group: exact answers for ambiguous rows, and the rows' values.
#pragma once

#include <vector>

#include "group.hpp"

namespace tileloom {

// Exact answers for some rows of a tile, ascending. overlap all: ids are numbers of features, and
// `features` holds them row by row; else ids are features, TL_OUTSIDE or TL_INVALID.
struct Repaired {
  std::vector<uint32_t> rows;
  std::vector<int32_t> ids;
  std::vector<int32_t> features;
};

// Decides the ambiguous rows of a tile by the exact scalar variant. Throws TL_OVERLAP_FOUND with
// the lowest such row.
Repaired repair_rows(const Group &group, size_t tile);

// The per-row result of a whole tile in the layout of tl_assign_args: ids[rows], and the features
// under overlap all.
void settle_rows(const Group &group, size_t tile, const Repaired &repaired, int32_t *ids,
                 std::vector<int32_t> &features);

}  // namespace tileloom
