#include "wide_sum.hpp"

#include <cmath>
#include <cstring>

namespace tileloom {
namespace {

constexpr uint64_t kDigitMask = 0xffffffffu;
constexpr int kUnitExponent = -1074;

// Bits [from, from + 53) of a little-endian digit string; bits below 0 and above the end are zero.
uint64_t bits_from(const uint32_t *digits, int count, int from, int width) {
  uint64_t result = 0;
  for (int bit = width - 1; bit >= 0; --bit) {
    const int at = from + bit;
    const bool set = at >= 0 && at < 32 * count && ((digits[at >> 5] >> (at & 31)) & 1) != 0;
    result = result << 1 | (set ? 1 : 0);
  }
  return result;
}

bool any_bit_below(const uint32_t *digits, int end) {
  for (int at = 0; at < end; ++at) {
    if (((digits[at >> 5] >> (at & 31)) & 1) != 0) {
      return true;
    }
  }
  return false;
}

int highest_bit(const uint32_t *digits, int count) {
  for (int index = count - 1; index >= 0; --index) {
    if (digits[index] != 0) {
      return 32 * index + 31 - __builtin_clz(digits[index]);
    }
  }
  return -1;
}

// Rounds digits * 2^unit_exponent, with `sticky` for a non-zero rest below the digits.
double round_digits(const uint32_t *digits, int count, int unit_exponent, bool sticky) {
  const int top = highest_bit(digits, count);
  const int least = kUnitExponent - unit_exponent;  // subnormals have no finer bit than 2^-1074
  const int unit = top - 52 > least ? top - 52 : least;
  const int width = top - unit + 1;
  uint64_t mantissa = width > 0 ? bits_from(digits, count, unit, width) : 0;
  const bool half = bits_from(digits, count, unit - 1, 1) != 0;
  const bool rest = sticky || any_bit_below(digits, unit - 1);
  if (half && (rest || (mantissa & 1) != 0)) {
    ++mantissa;
  }
  return std::ldexp(static_cast<double>(mantissa), unit + unit_exponent);
}

}  // namespace

void WideSum::add(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const int biased = static_cast<int>(bits >> 52) & 2047;
  const uint64_t fraction = bits & ((uint64_t{1} << 52) - 1);
  const uint64_t mantissa = biased != 0 ? fraction | uint64_t{1} << 52 : fraction;
  const int shift = biased != 0 ? biased - 1 : 0;
  const unsigned __int128 shifted = static_cast<unsigned __int128>(mantissa) << (shift & 31);
  // Conditional negation without a branch: (d ^ s) - s.
  const int64_t sign = -static_cast<int64_t>(bits >> 63);
  int64_t *limb = limbs_ + (shift >> 5);
  limb[0] += (static_cast<int64_t>(static_cast<uint64_t>(shifted) & kDigitMask) ^ sign) - sign;
  limb[1] += (static_cast<int64_t>(static_cast<uint64_t>(shifted) >> 32) ^ sign) - sign;
  limb[2] += (static_cast<int64_t>(static_cast<uint64_t>(shifted >> 64)) ^ sign) - sign;
}

void WideSum::add_scaled(__int128 value, int shift) {
  const bool negative = value < 0;
  const unsigned __int128 magnitude =
      negative ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  const int bit = shift & 31;
  int64_t *limb = limbs_ + (shift >> 5);
  uint64_t pending = 0;
  for (int index = 0; index < 4; ++index) {
    const uint64_t digit = static_cast<uint64_t>(magnitude >> (32 * index)) & kDigitMask;
    const uint64_t shifted = (digit << bit) + pending;
    const int64_t low = static_cast<int64_t>(shifted & kDigitMask);
    limb[index] += negative ? -low : low;
    pending = shifted >> 32;
  }
  if (pending != 0) {
    limb[4] += negative ? -static_cast<int64_t>(pending) : static_cast<int64_t>(pending);
  }
}

void WideSum::carry() {
  for (int index = 0; index + 1 < kLimbs; ++index) {
    const int64_t up = limbs_[index] >> 32;
    limbs_[index] &= static_cast<int64_t>(kDigitMask);
    limbs_[index + 1] += up;
  }
}

void WideSum::add_sum(const WideSum &other) {
  WideSum carried = other;
  carried.carry();
  for (int index = 0; index < kLimbs; ++index) {
    limbs_[index] += carried.limbs_[index];
  }
}

Magnitude WideSum::magnitude() const {
  WideSum carried = *this;
  carried.carry();
  const bool negative = carried.limbs_[kLimbs - 1] < 0;
  if (negative) {
    for (int64_t &limb : carried.limbs_) {
      limb = -limb;
    }
    carried.carry();
  }
  Magnitude result;
  result.low = 0;
  result.high = 0;
  for (int index = 0; index < kLimbs; ++index) {
    result.digits[index] = static_cast<uint32_t>(carried.limbs_[index]);
    if (result.digits[index] != 0) {
      result.low = result.high == 0 ? index : result.low;
      result.high = index + 1;
    }
  }
  result.sign = result.high == 0 ? 0 : negative ? -1 : 1;
  return result;
}

double round_quotient(const Magnitude &magnitude, uint64_t divisor) {
  if (magnitude.sign == 0 || divisor == 0) {
    return 0.0;
  }
  // Three zero digits below give the quotient more bits than rounding can look at.
  constexpr int kExtra = 3;
  uint32_t digits[WideSum::kLimbs + kExtra] = {};
  for (int index = magnitude.low; index < magnitude.high; ++index) {
    digits[index + kExtra] = magnitude.digits[index];
  }
  uint64_t rest = 0;
  for (int index = WideSum::kLimbs + kExtra - 1; index >= 0; --index) {
    const unsigned __int128 part = static_cast<unsigned __int128>(rest) << 32 | digits[index];
    digits[index] = static_cast<uint32_t>(part / divisor);
    rest = static_cast<uint64_t>(part % divisor);
  }
  const double rounded =
      round_digits(digits, WideSum::kLimbs + kExtra, kUnitExponent - 32 * kExtra, rest != 0);
  return rounded == 0 ? 0.0 : magnitude.sign * rounded;
}

}  // namespace tileloom
