// Exact per-feature sums as CUDA threads add them up, in any order; g++ builds the same text.
//
// A sum is kept in the limbs of WideSum (32-bit digits in wrapping 64-bit words, units of 2^-1074),
// but only in those that the tile's exponents can touch. Integers add up in any order, so the limbs
// of a tile are the same for every schedule. A tile has less than 2^31 rows and a digit less than
// 2^32, so no limb overflows before the host carries.
#pragma once

#include "../assign/assign_device.hpp"

namespace tileloom {

// One measured column of one tile.
struct MeasureJob {
  uint64_t values;    // [rows] doubles or int64s
  uint64_t validity;  // Arrow bitmap, or 0
  uint64_t cells;     // [features] of cell_bytes(limbs), zeroed before
  uint32_t integers;  // 1: int64
  uint32_t limb_low;  // first limb of WideSum that is kept
  uint32_t limbs;
  uint32_t reserved;
};
static_assert(sizeof(MeasureJob) == 40, "both sides agree on a measure's job");

// Head of a cell; its limbs follow. Zero means that nothing was added yet.
struct CellHead {
  uint32_t n;
  uint32_t nulls;
  uint32_t nans;
  uint32_t plus_inf;
  uint32_t minus_inf;
  uint32_t reserved;
  uint64_t max_key;  // largest ordered_key of the values
  uint64_t min_key;  // largest complement of it
};

TL_HD uint64_t cell_bytes(uint32_t limbs) { return sizeof(CellHead) + uint64_t{limbs} * 8; }

constexpr uint64_t kSignBit = uint64_t{1} << 63;
constexpr int kIntegerShift = 1074;
constexpr uint32_t kIntegerLimbLow = kIntegerShift >> 5;
constexpr uint32_t kLimbsPerValue = 3;

// Orders the bits of doubles like the doubles; -0 counts as +0. Never 0 for a number.
TL_HD uint64_t ordered_key(uint64_t bits) {
  bits = bits == kSignBit ? 0 : bits;
  return (bits & kSignBit) != 0 ? ~bits : bits | kSignBit;
}

TL_HD uint64_t bits_of_key(uint64_t key) { return (key & kSignBit) != 0 ? key ^ kSignBit : ~key; }

constexpr uint32_t kNoValue = 0;
constexpr uint32_t kNullValue = 1;
constexpr uint32_t kNanValue = 2;
constexpr uint32_t kPlusInfinity = 3;  // from here on the value counts and has a key
constexpr uint32_t kMinusInfinity = 4;
constexpr uint32_t kFiniteValue = 5;

// One value, taken apart: what it adds to its feature's cell.
struct ValueParts {
  uint64_t key;       // ordered_key, or 0
  uint64_t low;       // digits of limbs `limb` and `limb` + 1
  uint32_t high;      // digit of limb `limb` + 2
  uint32_t limb;      // of WideSum
  uint32_t kind;      // k…Value
  uint32_t negative;  // 1: the digits are subtracted
};

TL_HD ValueParts no_value(uint32_t kind) { return {0, 0, 0, 0, kind, 0}; }

// (-1)^negative * magnitude * 2^shift units.
TL_HD ValueParts finite_value(uint64_t key, uint64_t magnitude, uint32_t shift, bool negative) {
  const uint32_t bit = shift & 31;
  const uint32_t high = bit == 0 ? 0 : static_cast<uint32_t>(magnitude >> (64 - bit));
  return {key, magnitude << bit, high, shift >> 5, kFiniteValue, negative ? 1u : 0u};
}

TL_HD ValueParts parts_of_integer(int64_t value) {
  const uint64_t magnitude =
      value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  return finite_value(ordered_key(bits_of(static_cast<double>(value))), magnitude, kIntegerShift,
                      value < 0);
}

TL_HD ValueParts parts_of_double(uint64_t bits) {
  const uint32_t exponent = static_cast<uint32_t>(bits >> 52) & 2047u;
  const uint64_t fraction = bits & ((uint64_t{1} << 52) - 1);
  if (exponent == 2047) {
    ValueParts parts = no_value(fraction != 0            ? kNanValue
                                : (bits & kSignBit) == 0 ? kPlusInfinity
                                                         : kMinusInfinity);
    parts.key = fraction != 0 ? 0 : ordered_key(bits);
    return parts;
  }
  const uint64_t hidden = exponent != 0 ? uint64_t{1} << 52 : 0;
  return finite_value(ordered_key(bits), fraction | hidden, exponent != 0 ? exponent - 1 : 0,
                      (bits & kSignBit) != 0);
}

TL_HD ValueParts value_parts(const MeasureJob &job, uint64_t row) {
  if (job.validity != 0 &&
      (memory_at<const uint8_t>(job.validity)[row >> 3] >> (row & 7) & 1) == 0) {
    return no_value(kNullValue);
  }
  return job.integers != 0 ? parts_of_integer(read_once<int64_t>(job.values, row))
                           : parts_of_double(read_once<uint64_t>(job.values, row));
}

// What a value adds to a limb: below 2^32 in magnitude.
TL_HD int64_t digit_at(const ValueParts &parts, uint32_t limb) {
  const uint32_t index = limb - parts.limb;  // wraps around below the first
  const uint64_t digit = index == 0   ? parts.low & 0xffffffffu
                         : index == 1 ? parts.low >> 32
                         : index == 2 ? parts.high
                                      : 0;
  return parts.negative != 0 ? -static_cast<int64_t>(digit) : static_cast<int64_t>(digit);
}

TL_HD CellHead *head_of(const MeasureJob &job, uint32_t feature) {
  return memory_at<CellHead>(job.cells + feature * cell_bytes(job.limbs));
}

TL_HD void add_to_limb(const MeasureJob &job, CellHead *head, uint32_t limb, int64_t value) {
  if (value != 0) {
    uint64_t *limbs = reinterpret_cast<uint64_t *>(head + 1);
    atomic_add(limbs + (limb - job.limb_low), static_cast<uint64_t>(value));
  }
}

// Adds one row's value to a feature's cell.
TL_HD void add_measure(const MeasureJob &job, uint64_t row, uint32_t feature) {
  CellHead *head = head_of(job, feature);
  const ValueParts parts = value_parts(job, row);
  if (parts.kind < kPlusInfinity) {
    atomic_add(parts.kind == kNullValue ? &head->nulls : &head->nans, 1u);
    return;
  }
  if (parts.kind != kFiniteValue) {
    atomic_add(parts.kind == kPlusInfinity ? &head->plus_inf : &head->minus_inf, 1u);
  }
  for (uint32_t index = 0; index < kLimbsPerValue; ++index) {
    add_to_limb(job, head, parts.limb + index, digit_at(parts, parts.limb + index));
  }
  atomic_max(&head->max_key, parts.key);
  atomic_max(&head->min_key, ~parts.key);
  atomic_add(&head->n, 1u);
}

// Adds one row, lying in one feature, to everything that is kept about it.
TL_HD void add_row(const TileJob &tile, const MeasureJob *measures, uint32_t measure_count,
                   uint64_t row, uint32_t feature) {
  atomic_add(memory_at<uint32_t>(tile.feature_counts) + feature, 1u);
  for (uint32_t number = 0; number < measure_count; ++number) {
    add_measure(measures[number], row, feature);
  }
}

}  // namespace tileloom
