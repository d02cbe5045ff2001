// The host's half of a batch in flight: totals, canonical bytes and digests of computed tiles.
#pragma once

#include <memory>
#include <vector>

#include "../core/lane.hpp"
#include "settle.hpp"

namespace tileloom {

class DeviceLane {
 public:
  DeviceLane(Meter &meter, const GroupOptions &options);

  // Repairs, aggregates and digests one tile of a computed group, and adds it to the totals.
  tl_tile_out settle(const Group &group, size_t tile, RowValues *rows, tl_device_stats &stats);
  Totals &totals() { return totals_; }

  // Bytes that a lane may take for tiles of this many rows, its pinned slot apart.
  static uint64_t bytes_max(const GroupOptions &options, uint64_t tile_rows, uint64_t batch_rows);

 private:
  ResultCounts count(const Group &group, size_t tile, const Repaired &repaired) const;
  void aggregate_repaired(const GroupTile &tile, const Repaired &repaired) const;
  void aggregate_on_host(const GroupTile &tile, const int32_t *ids,
                         const std::vector<int32_t> &features);
  // Encode a tile's TLP1 and merge it into the totals; return its size.
  uint64_t finish_device(const GroupTile &tile, const ResultCounts &counts);
  uint64_t finish_host(const ResultCounts &counts);

  Meter &meter_;
  const GroupOptions options_;
  const uint64_t features_;  // kept: 0 without an aggregate
  const uint32_t measures_;
  Totals totals_;
  std::unique_ptr<TileAggregate> host_;  // made when first needed
  Buffer<int32_t> ids_;
  Buffer<uint8_t> encoded_;
};

}  // namespace tileloom
