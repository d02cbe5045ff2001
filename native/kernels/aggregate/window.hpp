// The fixed window: exact sums of doubles in two 64-bit integers, where a tile's exponents allow
// it.
//
// Every value v with |v| < 2^top is split without rounding into v = high * 2^(top - w) +
// low * 2^(top - 2w), |high| <= 2^w, |low| < 2^w. It is lossless when the lowest bit of every value
// is at least 2^(top - 2w), which one pass over the exponents tells. Sums of 2^(62 - w) of them do
// not overflow. Scaling by powers of two is exact, so no FMA is needed.
#pragma once

#include <cstdint>
#include <cstring>

namespace tileloom {

// What one pass over a column's values tells.
struct ValueRange {
  bool special = false;  // a null, NaN or infinity is among them
  int exponent_min =
      0;  // biased exponents of the finite non-zero values; min > max if there are none
  int exponent_max = -1;
};

// validity: Arrow bitmap or null. Null rows set `special` and are ignored otherwise.
ValueRange scan_values(const double *values, const uint8_t *validity, uint64_t count);

struct Window {
  double to_high;    // 2^(w - top)
  double from_high;  // 2^(top - w)
  double to_low;     // 2^(2w - top)
  int width;         // w: value = (high << w) + low, in units
  int shift;         // unit = 2^(shift - 1074)
};

// Whether the values fit losslessly; fills the window.
bool fit_window(const ValueRange &range, uint64_t count, Window &window);

// Adding 1.5 * 2^52 rounds to an integer that the low bits hold.
constexpr double kRounder = 6755399441055744.0;

inline int64_t rounded_integer(double shifted) {
  int64_t bits;
  int64_t base;
  const double rounder = kRounder;
  std::memcpy(&bits, &shifted, sizeof bits);
  std::memcpy(&base, &rounder, sizeof base);
  return bits - base;
}

inline void split(const Window &window, double value, int64_t &high, int64_t &low) {
  const double shifted = value * window.to_high + kRounder;
  const double rest = value - (shifted - kRounder) * window.from_high;
  high = rounded_integer(shifted);
  low = rounded_integer(rest * window.to_low + kRounder);
}

}  // namespace tileloom
