#include "index_fp32.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_map>

#include "../core/float_environment.hpp"
#include "../kernels/assign/grid_fp32.hpp"
#include "../kernels/assign/grid_layout.hpp"

namespace tileloom {
namespace {

constexpr double kEndMax = 1;            // beyond it an end is clamped
constexpr double kExtentMin = 0x1p-200;  // of an edge, in cells; below, quotients lose their bound
constexpr uint64_t kRecordNumberMax = 0x7ffffff0u;
constexpr uint64_t kSectionAlignment = 64;

struct EdgeFp32 {
  float y1, y2, a, b, c;
};

// Lies above every point of the cell, so it never spans one.
constexpr EdgeFp32 kPadding = {1, 1, 0, 0, 1};

uint64_t aligned(uint64_t bytes, uint64_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

float clamped_end(double v) { return static_cast<float>(std::min(std::max(v, -kEndMax), kEndMax)); }

// Edges of one cell in its coordinates. Error of a coordinate: 2^-52 of at most 2^15 cells from the
// map, and two roundings of 2^-38: at most 2^-36 together.
class CellFrame {
 public:
  CellFrame(const IndexHeader &grid, uint64_t cell)
      : grid_(grid),
        column_(static_cast<double>(cell % grid.columns)),
        row_(static_cast<double>(cell / grid.columns)) {}

  EdgeFp32 edge(const Segment &edge) const {
    const double dx = (edge.x2 - edge.x1) * grid_.cells_per_x;
    const double dy = (edge.y2 - edge.y1) * grid_.cells_per_y;
    const double extent = std::max(std::fabs(dx), std::fabs(dy));
    // Each has a relative error of at most 3 * 2^-53; the extent only scales the line.
    const double a = dy / extent;
    const double b = -dx / extent;
    // Error: twice 2^-51 * 2^15 + 2^-36 and a rounding of 2^-38, and the sum's: below 2^-33.
    const double c = -(a * u_of(edge.x1) + b * v_of(edge.y1));
    EdgeFp32 result = {clamped_end(v_of(edge.y1)), clamped_end(v_of(edge.y2)), NAN, NAN, NAN};
    if (extent >= kExtentMin && std::fabs(c) <= kFp32OffsetMax) {
      result.a = static_cast<float>(a);
      result.b = static_cast<float>(b);
      result.c = static_cast<float>(c);
    }
    return result;
  }

  // Crosses, to the right of the whole cell, for low <= y < high.
  EdgeFp32 stand_in(double low, double high) const {
    return {clamped_end(v_of(low)), clamped_end(v_of(high)), 1, 0, -1};
  }

 private:
  double u_of(double x) const { return (grid_column(grid_, x) - column_) - 0.5; }
  double v_of(double y) const { return (grid_row(grid_, y) - row_) - 0.5; }

  const IndexHeader &grid_;
  const double column_;
  const double row_;
};

class Converter {
 public:
  explicit Converter(const tl_layer_view &layer)
      : layer_(layer),
        grid_(*static_cast<const IndexHeader *>(layer.index)),
        base_(static_cast<const uint8_t *>(layer.index)),
        cells_(reinterpret_cast<const int32_t *>(base_ + grid_.cells_offset)),
        ids_(reinterpret_cast<const uint32_t *>(base_ + grid_.ids_offset)),
        masks_(grid_.boundary != TL_BOUNDARY_HALF_OPEN ? 2 : 1) {}

  Fp32Index convert() {
    const uint64_t count = uint64_t{grid_.columns} * grid_.rows;
    result_.records_offset = aligned(count * sizeof(int32_t), kSectionAlignment);
    result_.bytes.reserve(fp32_index_bytes_max(layer_));
    result_.bytes.resize(result_.records_offset);
    for (uint64_t cell = 0; cell < count; ++cell) {
      const int32_t value = cells_[cell] < TL_OUTSIDE ? record(cell) : cells_[cell];
      if (value < TL_OUTSIDE &&
          (result_.bytes.size() - result_.records_offset) / kFp32RecordAlignment >
              kRecordNumberMax) {
        return Fp32Index{};
      }
      std::memcpy(result_.bytes.data() + cell * sizeof value, &value, sizeof value);
    }
    return std::move(result_);
  }

 private:
  // Writes the record of a cell, or finds it written, and returns the value that names it.
  int32_t record(uint64_t cell) {
    const uint8_t *from = base_ + grid_.records_offset +
                          static_cast<uint64_t>(-(int64_t{cells_[cell]} + 2)) * kRecordAlignment;
    RecordHeader header;
    std::memcpy(&header, from, sizeof header);
    const bool shared = header.candidates == kCrowded || header.blocks == 0;
    const int32_t key = header.candidates == kCrowded ? TL_OUTSIDE : cells_[cell];
    if (shared) {
      const auto known = shared_.find(key);
      if (known != shared_.end()) {
        return known->second;
      }
    }
    const uint64_t start = result_.bytes.size() - result_.records_offset;
    const int32_t value = static_cast<int32_t>(
        -2 - static_cast<int64_t>(std::min(start / kFp32RecordAlignment, kRecordNumberMax)));
    if (shared) {
      shared_[key] = value;
    }
    write(cell, from, header);
    return value;
  }

  void write(uint64_t cell, const uint8_t *from, const RecordHeader &header) {
    put(RecordHeader{header.candidates, header.blocks, 0});
    if (header.candidates != kCrowded) {
      const uint32_t words = mask_words(header.blocks);
      const uint32_t stride = 1 + words * masks_;
      const uint8_t *candidate = from + sizeof header;
      for (uint32_t index = 0; index < header.candidates; ++index) {
        // Touching masks stay behind: a decided edge is never touched.
        append(candidate + uint64_t{index} * stride * 4, (1 + uint64_t{words}) * 4);
      }
      pad(kFp32HeadAlignment);
      const uint8_t *blocks = from + record_head_bytes(header.candidates, stride - 1);
      for (uint32_t block = 0; block < header.blocks; ++block) {
        write_block(cell, blocks + block * kBlockBytes,
                    ids_ + header.first_edge + uint64_t{block} * kBlockLanes);
      }
    }
    pad(kFp32RecordAlignment);
  }

  void write_block(uint64_t cell, const uint8_t *from, const uint32_t *ids) {
    const CellFrame frame(grid_, cell);
    double ends[3][kBlockLanes];  // y1, y2, x1
    std::memcpy(ends, from, sizeof ends);
    Fp32Block block;
    for (int lane = 0; lane < kBlockLanes; ++lane) {
      const EdgeFp32 edge = ids[lane] != kNoVertex
                                ? frame.edge(layer_segment(layer_.x, layer_.y, ids[lane]))
                            : ends[2][lane] == kFar ? frame.stand_in(ends[0][lane], ends[1][lane])
                                                    : kPadding;
      block.y1.lane[lane] = edge.y1;
      block.y2.lane[lane] = edge.y2;
      block.a.lane[lane] = edge.a;
      block.b.lane[lane] = edge.b;
      block.c.lane[lane] = edge.c;
    }
    put(block);
  }

  template <class T>
  void put(const T &value) {
    append(reinterpret_cast<const uint8_t *>(&value), sizeof value);
  }

  void append(const uint8_t *bytes, uint64_t count) {
    result_.bytes.insert(result_.bytes.end(), bytes, bytes + count);
  }

  void pad(uint64_t alignment) {
    result_.bytes.resize(aligned(result_.bytes.size(), alignment), 0);
  }

  const tl_layer_view &layer_;
  const IndexHeader &grid_;
  const uint8_t *base_;
  const int32_t *cells_;
  const uint32_t *ids_;
  const uint32_t masks_;  // per candidate, in the index
  Fp32Index result_;
  // By value in the index: records that no edge ties to one cell, and all crowded ones as one.
  std::unordered_map<int32_t, int32_t> shared_;
};

}  // namespace

// The bound of grid_fp32.hpp counts on rounding to nearest.
Fp32Index make_fp32_index(const tl_layer_view &layer) {
  const FloatEnvironment environment;
  const IndexHeader &grid = *static_cast<const IndexHeader *>(layer.index);
  if (grid.columns > kFp32SideMax || grid.rows > kFp32SideMax) {
    return Fp32Index{};
  }
  return Converter(layer).convert();
}

// A record of the index takes at least as many bytes as here: a block 128 against 80, a head as
// many or more, and padding to 64 against 32.
uint64_t fp32_index_bytes_max(const tl_layer_view &layer) {
  const IndexHeader &grid = *static_cast<const IndexHeader *>(layer.index);
  const uint64_t cells = uint64_t{grid.columns} * grid.rows * sizeof(int32_t);
  return aligned(cells, kSectionAlignment) + grid.records_bytes;
}

}  // namespace tileloom
