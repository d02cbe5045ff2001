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

struct AggregateJob {
  uint64_t tiles;     // TileJob[tile_count]
  uint64_t measures;  // MeasureJob[tile_count][measure_count]
  uint32_t tile_count;
  uint32_t measure_count;
};

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

// Adds (-1)^negative * magnitude * 2^shift units.
TL_HD void add_digits(uint64_t *limbs, uint32_t limb_low, uint64_t magnitude, uint32_t shift,
                      bool negative) {
  const uint32_t bit = shift & 31;
  const uint64_t low = magnitude << bit;
  const uint64_t digits[kLimbsPerValue] = {low & 0xffffffffu, low >> 32,
                                           bit == 0 ? 0 : magnitude >> (64 - bit)};
  uint64_t *limb = limbs + ((shift >> 5) - limb_low);
  for (uint32_t index = 0; index < kLimbsPerValue; ++index) {
    if (digits[index] != 0) {
      atomic_add(limb + index, negative ? uint64_t{0} - digits[index] : digits[index]);
    }
  }
}

TL_HD void add_extremes(CellHead *head, uint64_t bits) {
  const uint64_t key = ordered_key(bits);
  atomic_max(&head->max_key, key);
  atomic_max(&head->min_key, ~key);
}

// Adds one row's value to a feature's cell.
TL_HD void add_measure(const MeasureJob &job, uint64_t row, uint32_t feature) {
  uint8_t *cell = memory_at<uint8_t>(job.cells) + feature * cell_bytes(job.limbs);
  CellHead *head = reinterpret_cast<CellHead *>(cell);
  uint64_t *limbs = reinterpret_cast<uint64_t *>(cell + sizeof(CellHead));
  if (job.validity != 0 &&
      (memory_at<const uint8_t>(job.validity)[row >> 3] >> (row & 7) & 1) == 0) {
    atomic_add(&head->nulls, 1u);
    return;
  }
  if (job.integers != 0) {
    const int64_t value = memory_at<const int64_t>(job.values)[row];
    const uint64_t magnitude =
        value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
    add_digits(limbs, job.limb_low, magnitude, kIntegerShift, value < 0);
    add_extremes(head, bits_of(static_cast<double>(value)));
    atomic_add(&head->n, 1u);
    return;
  }
  const uint64_t bits = memory_at<const uint64_t>(job.values)[row];
  const uint32_t exponent = static_cast<uint32_t>(bits >> 52) & 2047u;
  const uint64_t fraction = bits & ((uint64_t{1} << 52) - 1);
  if (exponent == 2047 && fraction != 0) {
    atomic_add(&head->nans, 1u);
    return;
  }
  if (exponent == 2047) {
    atomic_add((bits & kSignBit) == 0 ? &head->plus_inf : &head->minus_inf, 1u);
  } else if ((bits & ~kSignBit) != 0) {
    const uint64_t hidden = exponent != 0 ? uint64_t{1} << 52 : 0;
    add_digits(limbs, job.limb_low, fraction | hidden, exponent != 0 ? exponent - 1 : 0,
               (bits & kSignBit) != 0);
  }
  add_extremes(head, bits);
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
