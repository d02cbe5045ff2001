#include "window.hpp"

#include <cmath>

namespace tileloom {
namespace {

constexpr int kSpecialExponent = 2047;
constexpr int kWidthMax = 46;
// Outside of it the scale factors or their products could leave the normal range.
constexpr int kTopMax = 900;

struct Extremes {
  uint64_t max = 0;                    // of the magnitudes' bits
  uint64_t min_less_one = UINT64_MAX;  // of bits - 1, so that zero counts as the largest
};

// Branch-free, so that the compiler may vectorise it.
Extremes scan_all(const double *values, uint64_t count) {
  Extremes result;
  for (uint64_t index = 0; index < count; ++index) {
    uint64_t bits;
    std::memcpy(&bits, values + index, sizeof bits);
    bits &= INT64_MAX;
    result.max = bits > result.max ? bits : result.max;
    result.min_less_one = bits - 1 < result.min_less_one ? bits - 1 : result.min_less_one;
  }
  return result;
}

int biased_exponent(uint64_t bits) { return static_cast<int>(bits >> 52); }

ValueRange scan_some(const double *values, const uint8_t *validity, uint64_t count) {
  ValueRange range;
  range.exponent_min = kSpecialExponent;
  for (uint64_t index = 0; index < count; ++index) {
    uint64_t bits;
    std::memcpy(&bits, values + index, sizeof bits);
    bits &= INT64_MAX;
    const int exponent = biased_exponent(bits);
    const bool valid = validity == nullptr || (validity[index >> 3] >> (index & 7) & 1) != 0;
    if (!valid || exponent == kSpecialExponent) {
      range.special = true;
    } else if (bits != 0) {
      range.exponent_min = exponent < range.exponent_min ? exponent : range.exponent_min;
      range.exponent_max = exponent > range.exponent_max ? exponent : range.exponent_max;
    }
  }
  return range;
}

int log2_ceiling(uint64_t count) { return count <= 1 ? 0 : 64 - __builtin_clzll(count - 1); }

}  // namespace

ValueRange scan_values(const double *values, const uint8_t *validity, uint64_t count) {
  if (validity != nullptr) {
    return scan_some(values, validity, count);
  }
  const Extremes extremes = scan_all(values, count);
  if (biased_exponent(extremes.max) == kSpecialExponent) {
    return scan_some(values, validity, count);
  }
  ValueRange range;
  if (extremes.max != 0) {
    range.exponent_max = biased_exponent(extremes.max);
    range.exponent_min = biased_exponent(extremes.min_less_one + 1);
  }
  return range;
}

bool fit_window(const ValueRange &range, uint64_t count, Window &window) {
  const int room = 62 - log2_ceiling(count);
  const int width = room < kWidthMax ? room : kWidthMax;
  // A biased exponent e means |v| < 2^(e - 1022) and a lowest bit of at least 2^(max(e, 1) - 1075).
  const bool empty = range.exponent_max < range.exponent_min;
  const int top = empty ? 0 : range.exponent_max - 1022;
  const int lowest = empty ? 0 : (range.exponent_min > 1 ? range.exponent_min : 1) - 1075;
  const bool fits = width > 0 && top >= -kTopMax && top <= kTopMax && lowest >= top - 2 * width;
  if (fits) {
    window.to_high = std::ldexp(1.0, width - top);
    window.from_high = std::ldexp(1.0, top - width);
    window.to_low = std::ldexp(1.0, 2 * width - top);
    window.width = width;
    window.shift = top - 2 * width + 1074;
  }
  return fits;
}

}  // namespace tileloom
