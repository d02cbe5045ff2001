// The mathematics of `assign`, shared by all variants and exact for any finite doubles.
//
// A segment is taken from its lower to its upper end (by y). It crosses the ray of point p when
// lower.y <= p.y < upper.y and p is strictly left of it. p is in a part when an odd number of the
// part's segments cross; in a feature when it is in one of its parts. `covers` adds points on a
// segment of a part; `contains` takes points that are in some part and on none of that part's
// segments.
//
// Header only and free of the standard library's templates: the AVX2 file includes it, and an
// inline function that the linker shares between files must not carry AVX2 code.
#pragma once

#include <cstdint>

#include "../../core/orientation.hpp"
#include "../../include/tileloom_kernels.h"

namespace tileloom {

// A part's answer for one point over raw edges; out of line, used where no filter applies.
// Bit 0: inside by even-odd; bit 1: on a segment (only looked at when `borders`).
unsigned part_state_exact(const tl_layer_view &layer, uint64_t part, double x, double y,
                          bool borders);

// Checks the parts of an assign call that every variant needs; returns a status and fills text.
int check_assign_args(const tl_assign_args *args, char *text, uint64_t text_bytes);
int fail_assign(int status, const char *message, char *text, uint64_t text_bytes);

constexpr unsigned kInside = 1;
constexpr unsigned kOnBorder = 2;

struct Segment {
  double x1, y1, x2, y2;  // y1 <= y2
};

namespace {

inline bool is_finite(double value) { return value - value == 0; }

inline bool crosses_exact(const Segment &e, double x, double y) {
  return e.y1 <= y && y < e.y2 && orientation_sign(e.x1, e.y1, e.x2, e.y2, x, y) > 0;
}

inline bool on_segment_exact(const Segment &e, double x, double y) {
  const double low = e.x1 < e.x2 ? e.x1 : e.x2;
  const double high = e.x1 < e.x2 ? e.x2 : e.x1;
  return e.y1 <= y && y <= e.y2 && low <= x && x <= high &&
         orientation_sign(e.x1, e.y1, e.x2, e.y2, x, y) == 0;
}

// Whether a part in this state makes its feature hold the point.
inline bool part_holds(unsigned state, uint32_t boundary) {
  if (boundary == TL_BOUNDARY_COVERS) {
    return state != 0;
  }
  if (boundary == TL_BOUNDARY_CONTAINS) {
    return state == kInside;
  }
  return (state & kInside) != 0;
}

// Collects the features of one call's points under the overlap rule; features come ascending per
// point.
class ResultSink {
 public:
  explicit ResultSink(tl_assign_args &args) : args_(args) {
    args.pairs_used = 0;
    args.error_row = -1;
  }

  void begin(uint64_t row) {
    row_ = row;
    found_ = 0;
    last_ = TL_OUTSIDE;
  }

  // Returns whether the point is settled.
  bool add(int32_t feature) {
    if (found_ != 0 && feature == last_) {
      return false;  // another part of the same feature
    }
    if (args_.overlap == TL_OVERLAP_ALL) {
      if (args_.pairs_used < args_.pairs_capacity) {
        args_.pairs[args_.pairs_used] = feature;
      }
      args_.pairs_used += 1;
    } else if (args_.overlap == TL_OVERLAP_ERROR && found_ != 0) {
      args_.error_row = static_cast<int64_t>(row_);
      return true;
    } else {
      first_ = feature;
    }
    last_ = feature;
    found_ += 1;
    return args_.overlap == TL_OVERLAP_FIRST;
  }

  // Writes the point's id; returns whether the call goes on.
  bool end() {
    const bool all = args_.overlap == TL_OVERLAP_ALL;
    args_.ids[row_] = all ? found_ : found_ != 0 ? first_ : TL_OUTSIDE;
    return args_.error_row < 0;
  }

  void invalid(uint64_t row) { args_.ids[row] = TL_INVALID; }

  int status(char *text, uint64_t text_bytes) const {
    if (args_.error_row >= 0) {
      return fail_assign(TL_OVERLAP_FOUND, "lies in two features under overlap error", text,
                         text_bytes);
    }
    if (args_.pairs_used > args_.pairs_capacity && args_.overlap == TL_OVERLAP_ALL) {
      return fail_assign(TL_BUFFER_TOO_SMALL, "has more pairs than fit", text, text_bytes);
    }
    return TL_OK;
  }

 private:
  tl_assign_args &args_;
  uint64_t row_ = 0;
  int32_t found_ = 0;
  int32_t first_ = TL_OUTSIDE;
  int32_t last_ = TL_OUTSIDE;
};

}  // namespace
}  // namespace tileloom
