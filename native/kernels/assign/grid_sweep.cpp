#include "grid_sweep.hpp"

#include <algorithm>
#include <cmath>

namespace tileloom {
namespace {

// Rough bytes of the index per entry and per edge reference, sweep and records together.
constexpr uint64_t kBytesPerEntry = sizeof(SweepEntry) + 96;
constexpr uint64_t kBytesPerRef = 4 + 40;

// Cells [first, last] of one row that an edge touches, padded.
struct Span {
  int32_t first;
  int32_t last;
  uint32_t vertex;
};

// Sweeps one part at a time, row by row, from right to left.
class Sweeper {
 public:
  Sweeper(const tl_layer_view &layer, const IndexHeader &grid, const SweepOptions &options)
      : layer_(layer),
        grid_(grid),
        options_(options),
        cell_width_(1 / grid.cells_per_x),
        cell_height_(1 / grid.cells_per_y),
        pad_x_(cell_padding(cell_width_, options.magnitude_max)),
        pad_y_(cell_padding(cell_height_, options.magnitude_max)),
        row_edges_(grid.rows),
        near_(grid.columns) {
    result_.covers.assign(static_cast<size_t>(grid.columns) * grid.rows, -1);
  }

  void add_part(uint32_t feature, uint32_t part) {
    feature_ = feature;
    part_ = part;
    bucket_rows();
    for (const uint32_t row : rows_) {
      sweep_row(row);
      row_edges_[row].clear();
    }
    rows_.clear();
  }

  SweepResult finish() {
    std::stable_sort(result_.entries.begin(), result_.entries.end(),
                     [](const SweepEntry &a, const SweepEntry &b) { return a.cell < b.cell; });
    return std::move(result_);
  }

 private:
  Segment segment(uint32_t vertex) const { return layer_segment(layer_.x, layer_.y, vertex); }

  static int32_t clamp_floor(double value, int32_t low, int32_t high) {
    if (value < low) {
      return low;
    }
    return value >= high ? high : static_cast<int32_t>(std::floor(value));
  }

  void bucket_rows() {
    const int32_t last_row = static_cast<int32_t>(grid_.rows) - 1;
    for (uint64_t ring = layer_.part_rings[part_]; ring < layer_.part_rings[part_ + 1]; ++ring) {
      const uint64_t end = layer_.ring_vertices[ring + 1];
      for (uint64_t at = layer_.ring_vertices[ring]; at + 1 < end; ++at) {
        const Segment edge = segment(static_cast<uint32_t>(at));
        if (edge.y1 == edge.y2 && !options_.keep_horizontal) {
          continue;
        }
        const double low = (edge.y1 - pad_y_ - grid_.y0) * grid_.cells_per_y;
        const double high = (edge.y2 + pad_y_ - grid_.y0) * grid_.cells_per_y;
        const int32_t row_end = clamp_floor(high, 0, last_row);
        for (int32_t row = clamp_floor(low, 0, last_row); row <= row_end; ++row) {
          if (row_edges_[row].empty()) {
            rows_.push_back(static_cast<uint32_t>(row));
          }
          row_edges_[row].push_back(static_cast<uint32_t>(at));
        }
      }
    }
  }

  Span span_of(uint32_t vertex, double row_low, double row_high) const {
    const Segment edge = segment(vertex);
    double left = std::min(edge.x1, edge.x2);
    double right = std::max(edge.x1, edge.x2);
    const double slope = (edge.x2 - edge.x1) / (edge.y2 - edge.y1);
    if (std::isfinite(slope)) {
      const double a = edge.x1 + (std::max(edge.y1, row_low) - edge.y1) * slope;
      const double b = edge.x1 + (std::min(edge.y2, row_high) - edge.y1) * slope;
      left = std::min(a, b);
      right = std::max(a, b);
    }
    const int32_t columns = static_cast<int32_t>(grid_.columns);
    const int32_t first = clamp_floor((left - pad_x_ - grid_.x0) * grid_.cells_per_x, 0, columns);
    const int32_t last =
        clamp_floor((right + pad_x_ - grid_.x0) * grid_.cells_per_x, -1, columns - 1);
    return {first, last, vertex};
  }

  void sweep_row(uint32_t row) {
    const double low = grid_.y0 + row * cell_height_ - pad_y_;
    const double high = grid_.y0 + (row + 1) * cell_height_ + pad_y_;
    spans_.clear();
    int32_t first = static_cast<int32_t>(grid_.columns);
    int32_t last = -1;
    for (const uint32_t vertex : row_edges_[row]) {
      const Span span = span_of(vertex, low, high);
      spans_.push_back(span);
      first = std::min(first, span.first);
      last = std::max(last, span.last);
      for (int32_t column = span.first; column <= span.last; ++column) {
        near_[column].push_back(vertex);
      }
    }
    std::sort(spans_.begin(), spans_.end(), [](const Span &a, const Span &b) {
      return a.first != b.first ? a.first > b.first : a.vertex < b.vertex;
    });
    size_t passed = 0;
    bool parity = false;
    breakpoints_.clear();
    for (int32_t column = last; column >= first; --column) {
      while (passed < spans_.size() && spans_[passed].first > column) {
        const Segment edge = segment(spans_[passed++].vertex);
        toggle(edge.y1, low, high, parity);
        toggle(edge.y2, low, high, parity);
      }
      visit_cell(row * grid_.columns + static_cast<uint32_t>(column), near_[column], parity);
      near_[column].clear();
    }
  }

  // An edge to the right crosses when y < y2 differs from y < y1. For the row's points the
  // comparison with y is constant unless y lies inside the padded row.
  void toggle(double y, double low, double high, bool &parity) {
    if (y >= high) {
      parity = !parity;
      return;
    }
    if (y <= low) {
      return;
    }
    const auto found = std::find(breakpoints_.begin(), breakpoints_.end(), y);
    if (found == breakpoints_.end()) {
      breakpoints_.push_back(y);
    } else {
      breakpoints_.erase(found);
    }
  }

  void visit_cell(uint32_t cell, const std::vector<uint32_t> &near, bool parity) {
    int32_t &cover = result_.covers[cell];
    const int32_t feature = static_cast<int32_t>(feature_);
    if (cover >= 0 && (options_.first_only || cover == feature)) {
      return;  // an earlier feature, or another part of this one, holds every point of the cell
    }
    const bool whole = near.empty() && breakpoints_.empty();
    if (whole && !parity) {
      return;
    }
    if (whole && cover < 0) {
      cover = feature;
      return;
    }
    const uint64_t begin = result_.refs.size();
    result_.refs.insert(result_.refs.end(), near.begin(), near.end());
    add_breaks();
    const uint64_t count = result_.refs.size() - begin;
    result_.entries.push_back(
        {cell, feature_ | (parity ? kBreakFlag : 0), part_, static_cast<uint32_t>(count), begin});
    const uint64_t bytes = result_.covers.size() * 4 + result_.entries.size() * kBytesPerEntry +
                           result_.refs.size() * kBytesPerRef;
    if (bytes > options_.bytes_max || result_.breaks.size() >= kBreakFlag) {
      throw GridTooLarge();
    }
  }

  // The breakpoints, sorted, as half-open intervals in y; an odd one pairs with minus infinity.
  void add_breaks() {
    sorted_ = breakpoints_;
    std::sort(sorted_.begin(), sorted_.end());
    for (size_t index = sorted_.size() % 2 == 1 ? 0 : 1; index < sorted_.size(); index += 2) {
      result_.refs.push_back(kBreakFlag | static_cast<uint32_t>(result_.breaks.size()));
      result_.breaks.push_back({index == 0 ? -kFar : sorted_[index - 1], sorted_[index]});
    }
  }

  const tl_layer_view &layer_;
  const IndexHeader &grid_;
  const SweepOptions &options_;
  const double cell_width_;
  const double cell_height_;
  const double pad_x_;
  const double pad_y_;
  uint32_t feature_ = 0;
  uint32_t part_ = 0;
  std::vector<std::vector<uint32_t>> row_edges_;  // per row: the part's edges in it
  std::vector<uint32_t> rows_;                    // rows that have some
  std::vector<std::vector<uint32_t>> near_;  // per column of the row: edges that touch the cell
  std::vector<Span> spans_;
  std::vector<double> breakpoints_;
  std::vector<double> sorted_;
  SweepResult result_;
};

}  // namespace

double cell_padding(double cell_size, double magnitude_max) {
  return std::max(cell_size * 1e-7, 64 * kUlpHalf * magnitude_max);
}

bool grid_fits(const IndexHeader &grid, double magnitude_max) {
  const double smallest = std::min(1 / grid.cells_per_x, 1 / grid.cells_per_y);
  return 64 * kUlpHalf * magnitude_max <= 1e-3 * smallest;
}

SweepResult sweep_layer(const tl_layer_view &layer, const IndexHeader &grid,
                        const SweepOptions &options) {
  Sweeper sweeper(layer, grid, options);
  for (uint64_t feature = 0; feature < layer.features; ++feature) {
    for (uint64_t part = layer.feature_parts[feature]; part < layer.feature_parts[feature + 1];
         ++part) {
      sweeper.add_part(static_cast<uint32_t>(feature), static_cast<uint32_t>(part));
    }
  }
  return sweeper.finish();
}

}  // namespace tileloom
