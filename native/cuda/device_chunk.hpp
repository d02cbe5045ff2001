// A chunk whose tiles the open device computes. Batches run at once, one slot and one lane each.
#pragma once

#include "../core/chunk.hpp"
#include "device_lane.hpp"

namespace tileloom {

class DeviceChunk : public AnyChunk {
 public:
  // Makes the index resident. Throws TL_BAD_INDEX, TL_OUT_OF_MEMORY and device failures.
  DeviceChunk(std::shared_ptr<Device> device, std::shared_ptr<const Layer> layer,
              const tl_chunk_options &options, Precision precision);

  std::unique_ptr<BatchRows> run(const BatchInput &batch, tl_tile_out *out,
                                 tl_batch_out *totals) override;
  const std::vector<uint8_t> &finish() override;
  uint64_t bytes_max(uint64_t tile_rows, uint64_t batch_rows) const override;

 private:
  void run_tiles(const BatchInput &batch, DeviceLane &lane, RowValues *rows, tl_tile_out *out,
                 tl_device_stats &stats);
  // Reads tiles from `first` on until the slot is full; returns the first that is left.
  uint64_t fill(Group &group, const BatchInput &batch, uint64_t first, std::vector<OpenFile> &files,
                const std::vector<const char *> &names);

  const std::shared_ptr<Device> device_;
  const std::shared_ptr<const Layer> layer_;
  const GroupOptions options_;
  std::shared_ptr<const ResidentIndex> index_;  // null where the index has no grid
  Lanes<DeviceLane> lanes_;
};

// Throws TL_BAD_INDEX unless the index is there and made for these rules; null without a grid.
std::shared_ptr<const ResidentIndex> resident_grid(Device &device, const GroupOptions &options);

}  // namespace tileloom
