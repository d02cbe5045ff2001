// assign/grid-scalar@1: the grid query in portable C++ for any x86-64 processor.
#include "grid_query.hpp"

namespace tileloom {
namespace {

struct ScalarOps {
  // One point against the edges of a cell; remembers whether an edge was too close to decide.
  struct Point {
    double x, y, band;
    uint32_t close = 0;
    Point(double x_, double y_, double band_) : x(x_), y(y_), band(band_) {}
    bool undecided() const { return close != 0; }
  };

  // Crossing bits of four edges.
  template <bool kBorders>
  static uint32_t block(const double *edges, Point &point) {
    uint32_t crossing = 0;
    for (int lane = 0; lane < kBlockLanes; ++lane) {
      const EdgeTest edge = test_edge<kBorders>(edges[lane], edges[4 + lane], edges[8 + lane],
                                                edges[12 + lane], point.x, point.y, point.band);
      crossing |= edge.crosses << lane;
      point.close |= edge.close;
    }
    return crossing;
  }

  // Writes the ids of points in cells without a border; the others go to `pending`, in order, with
  // their id left open. Returns how many.
  static int locate(const Grid &grid, const double *x, const double *y, int count, int32_t *ids,
                    Pending &pending) {
    int waiting = 0;
    for (int point = 0; point < count; ++point) {
      const int64_t cell = cell_of(*grid.header, x[point], y[point]);
      int32_t value = TL_OUTSIDE;
      if (cell >= 0) {
        value = grid.cells[cell];
        pending.point[waiting] = point;
        pending.value[waiting] = value;
        waiting += value < TL_OUTSIDE;
      } else if (!is_finite(x[point]) || !is_finite(y[point])) {
        value = TL_INVALID;
      }
      ids[point] = value;
    }
    return waiting;
  }
};

}  // namespace
}  // namespace tileloom

extern "C" int tl_assign__grid__fp64__scalar(tl_assign_args *args, char *text,
                                             uint64_t text_bytes) {
  return tileloom::assign_on_grid<tileloom::ScalarOps>(args, text, text_bytes);
}
