// Exact sums: a long accumulator for any finite doubles, and its rounding.
// Method: Neal 2015, "Fast exact summation using small and large superaccumulators", with 32-bit
// digits kept in signed 64-bit limbs, so that carries run once, at the end.
#pragma once

#include <cstdint>

namespace tileloom {

// Digits of magnitude, in units of 2^-1074; digits[low] and digits[high - 1] are not zero.
// Zero has sign 0 and low = high = 0.
struct Magnitude;

class WideSum {
 public:
  // 2^1024 in units of 2^-1074 is 2098 bits; 2^64 of them are 2162 bits; 68 limbs hold 2176.
  static constexpr int kLimbs = 68;

  void add(double value);
  // Adds value * 2^shift units; shift + 128 bits must lie inside the accumulator.
  void add_scaled(__int128 value, int shift);
  // Adds a signed digit to one limb; callers keep each limb within 63 bits.
  void add_limb(int index, int64_t value) { limbs_[index] += value; }
  // Adds another sum. Carries of `other` run first, so 2^31 sums may be added without overflow.
  void add_sum(const WideSum &other);
  Magnitude magnitude() const;

 private:
  void carry();

  int64_t limbs_[kLimbs] = {};
};

struct Magnitude {
  uint32_t digits[WideSum::kLimbs];
  int32_t sign;
  int32_t low;
  int32_t high;
};

// The double nearest to sign * |S| * 2^-1074 / divisor, ties to even; zero is +0; may be infinite.
double round_quotient(const Magnitude &magnitude, uint64_t divisor);

}  // namespace tileloom
