#include "exact_sum.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "../kernels/aggregate/tile_aggregate.hpp"
#include "failure.hpp"

namespace tileloom {
namespace {

// Validity of one piece, its bits moved to the front.
std::vector<uint8_t> piece_validity(const uint8_t *validity, uint64_t first, uint64_t count) {
  std::vector<uint8_t> bits(count / 8 + 1, 0);
  for (uint64_t index = 0; index < count; ++index) {
    const uint64_t row = first + index;
    bits[index / 8] |= static_cast<uint8_t>((validity[row / 8] >> (row % 8) & 1) << (index % 8));
  }
  return bits;
}

void set_rounded(tl_sum_result &result, const Totals::Measure &measure) {
  const MeasureFacts &facts = measure.facts;
  if (facts.plus_inf != 0 || facts.minus_inf != 0) {
    const bool both = facts.plus_inf != 0 && facts.minus_inf != 0;
    result.sum = both ? std::nan("") : facts.plus_inf != 0 ? HUGE_VAL : -HUGE_VAL;
    result.mean = result.sum;
    return;
  }
  const Magnitude magnitude = measure.sum.magnitude();
  result.sum = round_quotient(magnitude, 1);
  result.mean = round_quotient(magnitude, facts.n);
}

}  // namespace

tl_sum_result exact_sum(const double *values, const uint8_t *validity, uint64_t count,
                        uint64_t splits) {
  Meter meter;
  Totals totals(meter, 1, 1);
  TileAggregate aggregate(meter, 1, 1);
  const std::vector<int32_t> ids(count / splits + 1, 0);
  for (uint64_t piece = 0; piece < splits; ++piece) {
    const uint64_t first = count / splits * piece + std::min(piece, count % splits);
    const uint64_t size = count / splits + (piece < count % splits ? 1 : 0);
    std::vector<uint8_t> bits;
    MeasureColumn column{values + first, nullptr, nullptr};
    if (validity != nullptr) {
      bits = piece_validity(validity, first, size);
      column.validity = bits.data();
    }
    aggregate.begin(&column, size);
    aggregate.add_block(ids.data(), 0, size);
    aggregate.merge_into(totals);
  }
  const Totals::Measure &measure = totals.measure(totals.slot_of(0), 0);
  const MeasureFacts &facts = measure.facts;
  tl_sum_result result{};
  result.count = facts.n;
  result.nulls = facts.nulls;
  result.nans = facts.nans;
  result.plus_inf = facts.plus_inf;
  result.minus_inf = facts.minus_inf;
  if (facts.n != 0) {
    result.min = facts.min;
    result.max = facts.max;
    set_rounded(result, measure);
  }
  return result;
}

}  // namespace tileloom
