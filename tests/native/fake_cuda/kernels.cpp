// The kernels of native/cuda/kernels.cu by their names, built by g++ from the same text,
// and the images that pretend to hold them.
#include <cstring>
#include <sstream>

#include "kernels/aggregate/warp_host.hpp"
#include "kernels/aggregate/warp_rows.hpp"
#include "state.hpp"

namespace fake {
namespace {

using tileloom::AssignJob;
using tileloom::MeasureJob;
using tileloom::memory_at;
using tileloom::TileCounts;
using tileloom::TileJob;

// Checks the addresses of jobs against live device memory.
class Checker {
 public:
  explicit Checker(const Context *context) : context_(context), lock_(State::get().mutex) {}
  void need(uint64_t at, uint64_t bytes, uint64_t alignment) {
    good_ = good_ && at % alignment == 0 && State::get().is_device(at, bytes, context_);
  }
  bool good() const { return good_; }

 private:
  const Context *context_;
  std::lock_guard<std::mutex> lock_;
  bool good_ = true;
};

bool are_tiles_good(uint64_t tiles, uint32_t count, const Context *context) {
  Checker checker(context);
  checker.need(tiles, count * sizeof(TileJob), 64);
  for (uint32_t index = 0; checker.good() && index < count; ++index) {
    const TileJob &tile = memory_at<const TileJob>(tiles)[index];
    checker.need(tile.x, tile.rows * 8, 8);
    checker.need(tile.y, tile.rows * 8, 8);
    if (tile.ids != 0) {
      checker.need(tile.ids, tile.rows * 4, 4);
    }
    checker.need(tile.ambiguous, tile.rows * 4, 4);
    checker.need(tile.counts, sizeof(TileCounts), 4);
    if (tile.feature_counts != 0) {
      checker.need(tile.feature_counts, 4, 4);
    }
  }
  return checker.good();
}

bool are_measures_good(const AssignJob &job, const TileJob &tile, const Context *context) {
  Checker checker(context);
  const uint64_t first = job.measures + tile.first_measure * sizeof(MeasureJob);
  checker.need(first, job.measure_count * sizeof(MeasureJob), 8);
  for (uint32_t number = 0; checker.good() && number < job.measure_count; ++number) {
    const MeasureJob &measure = memory_at<const MeasureJob>(first)[number];
    checker.need(measure.values, tile.rows * 8, 8);
    checker.need(measure.cells, tileloom::cell_bytes(measure.limbs), 8);
    if (measure.validity != 0) {
      checker.need(measure.validity, (tile.rows + 7) / 8, 1);
    }
  }
  return checker.good();
}

bool is_index_good(const AssignJob &job, const Context *context) {
  Checker checker(context);
  checker.need(job.cells, uint64_t{job.columns} * job.rows * 4, 4);
  checker.need(job.records, 0, 64);
  return checker.good();
}

// Every warp of the launch, the last ones first: no order may be counted on.
template <class Query, bool kFused>
void run_tile(const AssignJob &job, const TileJob &tile, unsigned grid_x, unsigned block_x) {
  const uint32_t step = grid_x * block_x;
  for (uint32_t first = step; first > 0;) {
    first -= tileloom::kWarpLanes;
    tileloom::run_warp<Query, kFused>(tileloom::HostWarp{}, job, tile, first, step);
  }
}

constexpr char kFakeImage[] = "tileloom fake image ";
constexpr uint32_t kFatBinaryMagic = 0xba55ed50;
constexpr uint16_t kMachineCuda = 190;

}  // namespace

uint64_t argument_bytes() { return sizeof(AssignJob); }

int run_kernel(const Function &kernel, const void *arguments, unsigned grid_x, unsigned grid_y,
               unsigned block_x, const Context *context) {
  using tileloom::Fp32Query;
  using tileloom::Fp64Query;
  AssignJob job;
  std::memcpy(&job, arguments, sizeof job);
  if (block_x % tileloom::kWarpLanes != 0 || !is_index_good(job, context) ||
      !are_tiles_good(job.tiles, grid_y, context)) {
    return kIllegalAddress;
  }
  for (unsigned index = 0; index < grid_y; ++index) {
    const TileJob &tile = memory_at<const TileJob>(job.tiles)[index];
    if (!kernel.fused) {
      kernel.fp32 ? run_tile<Fp32Query, false>(job, tile, grid_x, block_x)
                  : run_tile<Fp64Query, false>(job, tile, grid_x, block_x);
      continue;
    }
    if (tile.feature_counts != 0 && !are_measures_good(job, tile, context)) {
      return kIllegalAddress;
    }
    kernel.fp32 ? run_tile<Fp32Query, true>(job, tile, grid_x, block_x)
                : run_tile<Fp64Query, true>(job, tile, grid_x, block_x);
  }
  return 0;
}

int judge_image(const void *image, int capability) {
  const char *text = static_cast<const char *>(image);
  uint32_t magic = 0;
  std::memcpy(&magic, image, sizeof magic);
  if (magic == kFatBinaryMagic) {
    return 0;
  }
  if (std::strncmp(text,
                   "\x7f"
                   "ELF",
                   4) == 0) {
    uint16_t machine = 0;
    std::memcpy(&machine, text + 18, sizeof machine);
    return machine == kMachineCuda ? 0 : kInvalidImage;
  }
  if (std::strncmp(text, kFakeImage, sizeof kFakeImage - 1) != 0) {
    return kInvalidImage;
  }
  std::istringstream words(std::string(text, std::strcspn(text, "\n")));
  const std::string wanted = "sm_" + std::to_string(capability);
  for (std::string word; words >> word;) {
    if (word == wanted) {
      return 0;
    }
  }
  return kNoBinary;
}

}  // namespace fake
