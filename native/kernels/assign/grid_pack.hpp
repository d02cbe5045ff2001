// Packs what the sweep found into the cell table, the records and the edge ids of an index.
#pragma once

#include <cstdint>
#include <vector>

#include "grid_sweep.hpp"

namespace tileloom {

struct PackedGrid {
  std::vector<int32_t> cells;
  std::vector<uint8_t> records;
  std::vector<uint32_t> ids;
  uint64_t record_count = 0;
  uint64_t edge_count = 0;  // edges in records, stand-ins included
};

// borders: records carry touching masks (covers, contains).
PackedGrid pack_grid(const tl_layer_view &layer, SweepResult &&swept, bool borders);

}  // namespace tileloom
