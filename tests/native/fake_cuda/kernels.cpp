// The kernels of native/cuda/kernels.cu by their names, built by g++ from the same row functions,
// and the images that pretend to hold them.
#include <cstring>
#include <sstream>

#include "kernels/aggregate/exact_cells.hpp"
#include "state.hpp"

namespace fake {
namespace {

using tileloom::AggregateJob;
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
    checker.need(tile.ids, tile.rows * 4, 4);
    checker.need(tile.ambiguous, tile.rows * 4, 4);
    checker.need(tile.counts, sizeof(TileCounts), 4);
    if (tile.feature_counts != 0) {
      checker.need(tile.feature_counts, 4, 4);
    }
  }
  return checker.good();
}

// Every row of a grid-stride loop, the last threads first: no order may be counted on.
template <class Row>
void each_row(const TileJob &tile, unsigned grid_x, unsigned block_x, Row &&visit) {
  const uint64_t step = uint64_t{grid_x} * block_x;
  for (uint64_t thread = step; thread-- > 0;) {
    for (uint64_t row = thread; row < tile.rows; row += step) {
      visit(row);
    }
  }
}

template <bool kBorders, bool kSingle>
void assign_tile(const AssignJob &job, const TileJob &tile, unsigned grid_x, unsigned block_x) {
  TileCounts counts{};
  each_row(tile, grid_x, block_x,
           [&](uint64_t row) { tileloom::assign_row<kBorders, kSingle>(job, tile, row, counts); });
  TileCounts *total = memory_at<TileCounts>(tile.counts);
  tileloom::atomic_add(&total->hits, counts.hits);
  tileloom::atomic_add(&total->outside, counts.outside);
  tileloom::atomic_add(&total->invalid, counts.invalid);
}

int run_assign(const AssignJob &job, unsigned grid_x, unsigned grid_y, unsigned block_x,
               const Context *context) {
  {
    Checker checker(context);
    checker.need(job.cells, uint64_t{job.columns} * job.rows * 4, 4);
    checker.need(job.records, 0, 64);
    if (!checker.good()) {
      return kIllegalAddress;
    }
  }
  if (!are_tiles_good(job.tiles, grid_y, context)) {
    return kIllegalAddress;
  }
  for (unsigned index = 0; index < grid_y; ++index) {
    const TileJob &tile = memory_at<const TileJob>(job.tiles)[index];
    if (job.borders != 0) {
      job.single != 0 ? assign_tile<true, true>(job, tile, grid_x, block_x)
                      : assign_tile<true, false>(job, tile, grid_x, block_x);
    } else {
      job.single != 0 ? assign_tile<false, true>(job, tile, grid_x, block_x)
                      : assign_tile<false, false>(job, tile, grid_x, block_x);
    }
  }
  return 0;
}

bool are_measures_good(const AggregateJob &job, const TileJob &tile, const Context *context) {
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

int run_aggregate(const AggregateJob &job, unsigned grid_x, unsigned grid_y, unsigned block_x,
                  const Context *context) {
  if (!are_tiles_good(job.tiles, grid_y, context)) {
    return kIllegalAddress;
  }
  for (unsigned index = 0; index < grid_y; ++index) {
    const TileJob &tile = memory_at<const TileJob>(job.tiles)[index];
    if (tile.feature_counts == 0) {
      continue;
    }
    if (!are_measures_good(job, tile, context)) {
      return kIllegalAddress;
    }
    const MeasureJob *measures = memory_at<const MeasureJob>(job.measures) + tile.first_measure;
    const int32_t *ids = memory_at<const int32_t>(tile.ids);
    each_row(tile, grid_x, block_x, [&](uint64_t row) {
      if (ids[row] >= 0) {
        tileloom::add_row(tile, measures, job.measure_count, row, static_cast<uint32_t>(ids[row]));
      }
    });
  }
  return 0;
}

constexpr char kFakeImage[] = "tileloom fake image ";
constexpr uint32_t kFatBinaryMagic = 0xba55ed50;
constexpr uint16_t kMachineCuda = 190;

}  // namespace

uint64_t argument_bytes(Kernel kernel) {
  return kernel == Kernel::kAssign ? sizeof(AssignJob) : sizeof(AggregateJob);
}

int run_kernel(Kernel kernel, const void *arguments, unsigned grid_x, unsigned grid_y,
               unsigned block_x, const Context *context) {
  if (kernel == Kernel::kAssign) {
    AssignJob job;
    std::memcpy(&job, arguments, sizeof job);
    return run_assign(job, grid_x, grid_y, block_x, context);
  }
  AggregateJob job;
  std::memcpy(&job, arguments, sizeof job);
  return run_aggregate(job, grid_x, grid_y, block_x, context);
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
