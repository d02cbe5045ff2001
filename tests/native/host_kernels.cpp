// Test-only: the text of the CUDA kernels, built by g++ and run by the host without a driver, so
// that what a filter leaves to the host can be seen. Exports assign functions (tileloom_kernels.h)
// that answer TL_INVALID for such a row, and an exact sum that goes through warps of 32 lanes.
#include <cstring>
#include <vector>

#include "../../native/core/float_environment.hpp"
#include "../../native/core/wide_sum.hpp"
#include "../../native/cuda/index_fp32.hpp"
#include "../../native/kernels/aggregate/warp_host.hpp"
#include "../../native/kernels/aggregate/warp_rows.hpp"
#include "../../native/kernels/assign/grid_fp32.hpp"
#include "../../native/kernels/assign/grid_layout.hpp"

namespace tileloom {
namespace {

int refuse(const char *message, char *text, uint64_t text_bytes) {
  std::strncpy(text, message, text_bytes - 1);
  text[text_bytes - 1] = '\0';
  return TL_BAD_INDEX;
}

// The same index while a library of the process has left another rounding mode behind.
Fp32Index index_made_elsewhere(const tl_layer_view &layer) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | _MM_ROUND_UP | _MM_FLUSH_ZERO_ON);
  Fp32Index index = make_fp32_index(layer);
  _mm_setcsr(before);
  return index;
}

AssignJob job_of(const IndexHeader &grid) {
  AssignJob job{};
  job.x0 = grid.x0;
  job.y0 = grid.y0;
  job.cells_per_x = grid.cells_per_x;
  job.cells_per_y = grid.cells_per_y;
  job.band = grid.band;
  job.columns = grid.columns;
  job.rows = grid.rows;
  return job;
}

template <class Filter, bool kSingle>
void answer(const AssignJob &job, tl_assign_args &args) {
  const FloatEnvironment environment;
  args.pairs_used = 0;
  for (uint64_t row = 0; row < args.rows; ++row) {
    const int32_t id = point_feature<Filter, kSingle>(job, args.x[row], args.y[row]);
    const bool listed = args.overlap == TL_OVERLAP_ALL && id >= 0;
    if (listed && args.pairs_used < args.pairs_capacity) {
      args.pairs[args.pairs_used] = id;
    }
    args.pairs_used += listed ? 1 : 0;
    const int32_t answer = args.overlap != TL_OVERLAP_ALL ? id : id >= 0 ? 1 : 0;
    args.ids[row] = id == kAmbiguous || id == kDeviceInvalid ? TL_INVALID : answer;
  }
}

template <class Filter>
int assign(AssignJob job, const uint8_t *cells, const uint8_t *records, tl_assign_args &args) {
  job.cells = reinterpret_cast<uint64_t>(cells);
  job.records = reinterpret_cast<uint64_t>(records);
  args.overlap != TL_OVERLAP_FIRST ? answer<Filter, true>(job, args)
                                   : answer<Filter, false>(job, args);
  return TL_OK;
}

double double_of(uint64_t bits) {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The limbs that hold any double or int64.
constexpr uint32_t kAllLimbs = 67;

tl_sum_result result_of(const CellHead &head, const uint64_t *limbs) {
  tl_sum_result result{};
  result.count = head.n;
  result.nulls = head.nulls;
  result.nans = head.nans;
  result.plus_inf = head.plus_inf;
  result.minus_inf = head.minus_inf;
  WideSum sum;
  for (uint32_t limb = 0; limb < kAllLimbs; ++limb) {
    sum.add_limb(static_cast<int>(limb), static_cast<int64_t>(limbs[limb]));
  }
  result.sum = round_quotient(sum.magnitude(), 1);
  result.mean = round_quotient(sum.magnitude(), head.n);
  result.min = head.n == 0 ? 0 : double_of(bits_of_key(~head.min_key));
  result.max = head.n == 0 ? 0 : double_of(bits_of_key(head.max_key));
  return result;
}

}  // namespace
}  // namespace tileloom

using namespace tileloom;

extern "C" {

TL_API int tl_abi_version(void) { return TL_ABI_VERSION; }

TL_API int tl_assign__grid__fp64__host(tl_assign_args *args, char *text, uint64_t text_bytes) {
  const IndexHeader &grid = *static_cast<const IndexHeader *>(args->layer->index);
  if (grid.kind != kKindGrid) {
    return refuse("has no grid", text, text_bytes);
  }
  const uint8_t *base = static_cast<const uint8_t *>(args->layer->index);
  const uint8_t *cells = base + grid.cells_offset;
  const uint8_t *records = base + grid.records_offset;
  return args->boundary == TL_BOUNDARY_HALF_OPEN
             ? assign<Fp64Filter<false>>(job_of(grid), cells, records, *args)
             : assign<Fp64Filter<true>>(job_of(grid), cells, records, *args);
}

TL_API int tl_assign__grid__fp32__host(tl_assign_args *args, char *text, uint64_t text_bytes) {
  const IndexHeader &grid = *static_cast<const IndexHeader *>(args->layer->index);
  if (grid.kind != kKindGrid) {
    return refuse("has no grid", text, text_bytes);
  }
  const Fp32Index index = make_fp32_index(*args->layer);
  if (index.bytes.empty() || index.bytes.size() > fp32_index_bytes_max(*args->layer)) {
    return refuse("cannot be had in fp32, or not within its bytes", text, text_bytes);
  }
  if (index_made_elsewhere(*args->layer).bytes != index.bytes) {
    return refuse("depends on the rounding mode that it finds", text, text_bytes);
  }
  return assign<Fp32Filter>(job_of(grid), index.bytes.data(),
                            index.bytes.data() + index.records_offset, *args);
}

// Adds rows to their features, warp by warp; ids below 0 are in none. out: [features]. The sum and
// the mean are of the finite values. together 0: row by row, as lanes do alone.
TL_API int tl_test_aggregate(const void *values, const uint8_t *validity, const int32_t *ids,
                             uint64_t rows, uint32_t integers, uint32_t features, uint32_t together,
                             tl_sum_result *out, uint32_t *counts) {
  const FloatEnvironment environment;
  std::vector<uint64_t> cells(features * cell_bytes(kAllLimbs) / 8);
  std::memset(counts, 0, features * sizeof *counts);
  MeasureJob measure{};
  measure.values = reinterpret_cast<uint64_t>(values);
  measure.validity = reinterpret_cast<uint64_t>(validity);
  measure.cells = reinterpret_cast<uint64_t>(cells.data());
  measure.integers = integers;
  measure.limbs = kAllLimbs;
  TileJob tile{};
  tile.rows = rows;
  tile.feature_counts = reinterpret_cast<uint64_t>(counts);
  for (uint64_t row = 0; together == 0 && row < rows; ++row) {
    if (ids[row] >= 0) {
      add_row(tile, &measure, 1, row, static_cast<uint32_t>(ids[row]));
    }
  }
  for (uint32_t base = 0; together != 0 && base < rows; base += kWarpLanes) {
    HostWarp::Lanes<int32_t> lanes;
    for (uint32_t lane = 0; lane < kWarpLanes; ++lane) {
      lanes[lane] = base + lane < rows ? ids[base + lane] : kNoRow;
    }
    add_warp(HostWarp{}, tile, &measure, 1, base, lanes);
  }
  for (uint32_t feature = 0; feature < features; ++feature) {
    const CellHead *head = head_of(measure, feature);
    out[feature] = result_of(*head, reinterpret_cast<const uint64_t *>(head + 1));
  }
  return TL_OK;
}

}  // extern "C"
