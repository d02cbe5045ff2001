// Test-only: the text of the CUDA kernels, built by g++ and run by the host without a driver, so
// that what a filter leaves to the host can be seen. Exports assign functions (tileloom_kernels.h)
// that answer TL_INVALID for such a row, and an exact sum that goes through warps of 32 lanes.
#include <cstring>
#include <vector>

#include "../../native/core/float_environment.hpp"
#include "../../native/cuda/index_fp32.hpp"
#include "../../native/kernels/assign/grid_fp32.hpp"
#include "../../native/kernels/assign/grid_layout.hpp"

namespace tileloom {
namespace {

int refuse(const char *message, char *text, uint64_t text_bytes) {
  std::strncpy(text, message, text_bytes - 1);
  text[text_bytes - 1] = '\0';
  return TL_BAD_INDEX;
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
  return assign<Fp32Filter>(job_of(grid), index.bytes.data(),
                            index.bytes.data() + index.records_offset, *args);
}

}  // extern "C"
