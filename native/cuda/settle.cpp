#include "settle.hpp"

#include <algorithm>
#include <cstring>

namespace tileloom {

Repaired repair_rows(const Group &group, size_t tile) {
  const TileJob &job = group.tile(tile).job;
  const GroupOptions &options = group.options();
  const uint32_t *list = memory_at<const uint32_t>(job.ambiguous);
  Repaired repaired;
  repaired.rows.assign(list, list + group.counts(tile).ambiguous);
  std::sort(repaired.rows.begin(), repaired.rows.end());
  const uint64_t count = repaired.rows.size();
  if (count == 0) {
    return repaired;
  }
  if (repaired.rows.back() >= job.rows) {
    throw Failure(TL_KERNEL_FAILED, "makes the kernel name a row that the tile does not have");
  }
  std::vector<double> x(count);
  std::vector<double> y(count);
  for (uint64_t index = 0; index < count; ++index) {
    x[index] = memory_at<const double>(job.x)[repaired.rows[index]];
    y[index] = memory_at<const double>(job.y)[repaired.rows[index]];
  }
  repaired.ids.resize(count);
  const bool all = options.overlap == TL_OVERLAP_ALL;
  repaired.features.resize(all ? 4 * count : 0);
  for (;;) {
    tl_assign_args args{};
    args.struct_bytes = sizeof args;
    args.boundary = options.boundary;
    args.overlap = options.overlap;
    args.layer = options.layer;
    args.rows = count;
    args.x = x.data();
    args.y = y.data();
    args.ids = repaired.ids.data();
    args.pairs = all ? repaired.features.data() : nullptr;
    args.pairs_capacity = repaired.features.size();
    args.error_row = -1;
    char text[256] = "";
    const int status = tl_assign__grid__fp64__scalar(&args, text, sizeof text);
    if (all && status == TL_BUFFER_TOO_SMALL) {
      repaired.features.resize(std::max(args.pairs_used, 2 * repaired.features.size()));
      continue;
    }
    if (status != TL_OK) {
      Failure failure(status, text);
      if (status == TL_OVERLAP_FOUND) {
        failure.row = repaired.rows[static_cast<size_t>(args.error_row)];
      }
      throw failure;
    }
    repaired.features.resize(all ? args.pairs_used : 0);
    return repaired;
  }
}

void settle_rows(const Group &group, size_t tile, const Repaired &repaired, int32_t *ids,
                 std::vector<int32_t> &features) {
  const TileJob &job = group.tile(tile).job;
  const int64_t features_max = static_cast<int64_t>(group.options().layer->features);
  const int32_t *from = memory_at<const int32_t>(job.ids);
  const bool all = group.options().overlap == TL_OVERLAP_ALL;
  size_t next = 0;
  size_t pair = 0;
  for (uint64_t row = 0; row < job.rows; ++row) {
    if (next < repaired.rows.size() && repaired.rows[next] == row) {
      ids[row] = repaired.ids[next++];
      for (int32_t index = 0; all && index < ids[row]; ++index) {
        features.push_back(repaired.features[pair++]);
      }
      continue;
    }
    const int32_t id = from[row];
    if (id < kDeviceInvalid || id >= features_max) {
      throw Failure(TL_KERNEL_FAILED, "makes the kernel name a feature that is out of range");
    }
    ids[row] = id;
    if (all && id != kDeviceInvalid) {
      ids[row] = id >= 0 ? 1 : 0;
      if (id >= 0) {
        features.push_back(id);
      }
    }
  }
}

}  // namespace tileloom
