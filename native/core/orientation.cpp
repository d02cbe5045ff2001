#include "orientation.hpp"

#include <cstring>

namespace tileloom {
namespace {

// Products of two doubles are multiples of 2^-2148 below 2^2048; six of them need 3 more bits.
constexpr int kBias = 2148;
constexpr int kLimbs = 140;  // x 32 bits = 4480 bits
constexpr uint64_t kLimbMask = 0xffffffffu;

struct Decoded {
  uint64_t mantissa;
  int exponent;  // value = mantissa * 2^exponent
  bool negative;
};

Decoded decode(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const int biased = static_cast<int>(bits >> 52) & 2047;
  const uint64_t fraction = bits & ((uint64_t{1} << 52) - 1);
  const bool normal = biased != 0;
  return {normal ? fraction | (uint64_t{1} << 52) : fraction, normal ? biased - 1075 : -1074,
          (bits >> 63) != 0};
}

// Carry-save: each limb is a signed 64-bit sum of 32-bit digits; carries run once, at the end.
class ProductSum {
 public:
  void add(double a, double b, bool subtract) {
    const Decoded da = decode(a);
    const Decoded db = decode(b);
    if (da.mantissa == 0 || db.mantissa == 0) {
      return;
    }
    const unsigned __int128 product = static_cast<unsigned __int128>(da.mantissa) * db.mantissa;
    const int shift = da.exponent + db.exponent + kBias;
    const bool negative = (da.negative != db.negative) != subtract;
    int64_t *limb = limbs_ + (shift >> 5);
    for (int index = 0; index < 4; ++index) {
      const uint64_t digit = static_cast<uint64_t>(product >> (32 * index)) & kLimbMask;
      const uint64_t shifted = digit << (shift & 31);
      const int64_t low = static_cast<int64_t>(shifted & kLimbMask);
      const int64_t high = static_cast<int64_t>(shifted >> 32);
      limb[index] += negative ? -low : low;
      limb[index + 1] += negative ? -high : high;
    }
  }

  int sign() {
    for (int index = 0; index + 1 < kLimbs; ++index) {
      const int64_t carry = limbs_[index] >> 32;  // rounds down: digits end in [0, 2^32)
      limbs_[index] &= static_cast<int64_t>(kLimbMask);
      limbs_[index + 1] += carry;
    }
    if (limbs_[kLimbs - 1] < 0) {
      return -1;
    }
    for (int index = kLimbs - 1; index >= 0; --index) {
      if (limbs_[index] != 0) {
        return 1;
      }
    }
    return 0;
  }

 private:
  int64_t limbs_[kLimbs] = {};
};

}  // namespace

int orientation_sign_exact(double ax, double ay, double bx, double by, double px, double py) {
  // (bx - ax)(py - ay) - (by - ay)(px - ax), multiplied out; ax * ay cancels.
  ProductSum sum;
  sum.add(bx, py, false);
  sum.add(bx, ay, true);
  sum.add(ax, py, true);
  sum.add(by, px, true);
  sum.add(by, ax, false);
  sum.add(ay, px, false);
  return sum.sign();
}

}  // namespace tileloom
