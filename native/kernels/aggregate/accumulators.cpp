#include "accumulators.hpp"

#include <cstring>

namespace tileloom {

void PartialsWriter::header(uint32_t measures, uint32_t entries, const ResultCounts &counts) {
  std::memcpy(at_, "TLP1", 4);
  at_ += 4;
  put(measures);
  put(entries);
  put(uint32_t{0});
  put(counts.rows);
  put(counts.hits);
  put(counts.outside);
  put(counts.invalid);
}

void PartialsWriter::entry(uint32_t feature, uint64_t count) {
  put(feature);
  put(count);
}

void PartialsWriter::facts(const MeasureFacts &facts) {
  put(facts.n);
  put(facts.nulls);
  put(facts.nans);
  put(facts.plus_inf);
  put(facts.minus_inf);
  put(facts.n == 0 ? 0.0 : facts.min);
  put(facts.n == 0 ? 0.0 : facts.max);
}

void PartialsWriter::sum(__int128 value, int shift) {
  if (value == 0) {
    put(int32_t{0});
    put(uint32_t{0});
    put(uint32_t{0});
    return;
  }
  unsigned __int128 magnitude =
      value < 0 ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  uint32_t digits[5];
  uint64_t pending = 0;
  for (int index = 0; index < 4; ++index) {
    pending += (static_cast<uint64_t>(magnitude >> (32 * index)) & 0xffffffffu) << (shift & 31);
    digits[index] = static_cast<uint32_t>(pending);
    pending >>= 32;
  }
  digits[4] = static_cast<uint32_t>(pending);
  uint32_t low = 0;
  uint32_t high = 5;
  while (digits[low] == 0) ++low;
  while (digits[high - 1] == 0) --high;
  put(value < 0 ? int32_t{-1} : int32_t{1});
  put(static_cast<uint32_t>(shift >> 5) + low);
  put(high - low);
  for (uint32_t index = low; index < high; ++index) {
    put(digits[index]);
  }
}

void PartialsWriter::sum(const Magnitude &magnitude) {
  put(magnitude.sign);
  put(static_cast<uint32_t>(magnitude.low));
  put(static_cast<uint32_t>(magnitude.high - magnitude.low));
  for (int index = magnitude.low; index < magnitude.high; ++index) {
    put(magnitude.digits[index]);
  }
}

Totals::Totals(Meter &meter, uint64_t features, uint32_t measures)
    : measures_(measures),
      features_(features),
      slots_(meter),
      feature_(meter),
      counts_(meter),
      measures_data_(meter) {
  slots_.reserve_discarding(features);
  for (uint64_t index = 0; index < features; ++index) {
    slots_[index] = -1;
  }
}

uint32_t Totals::slot_of(uint32_t feature) {
  if (slots_[feature] >= 0) {
    return static_cast<uint32_t>(slots_[feature]);
  }
  const uint64_t used = used_;
  feature_.reserve_keeping(used + 1, used);
  counts_.reserve_keeping(used + 1, used);
  measures_data_.reserve_keeping((used + 1) * measures_, used * measures_);
  feature_[used] = feature;
  counts_[used] = 0;
  for (uint32_t number = 0; number < measures_; ++number) {
    measures_data_[used * measures_ + number] = Measure{};
  }
  slots_[feature] = static_cast<int32_t>(used_);
  return used_++;
}

void Totals::merge(Totals &other) {
  results_.add(other.results_);
  for (uint32_t from = 0; from < other.used_; ++from) {
    const uint32_t slot = slot_of(other.feature_[from]);
    add_count(slot, other.counts_[from]);
    for (uint32_t number = 0; number < measures_; ++number) {
      measure(slot, number).facts.add(other.measure(from, number).facts);
      measure(slot, number).sum.add_sum(other.measure(from, number).sum);
    }
  }
}

uint64_t Totals::encoded_bytes_max() const {
  return PartialsWriter::kHeaderBytes +
         used_ * (PartialsWriter::kEntryBytes + measures_ * PartialsWriter::kMeasureBytesMax);
}

uint64_t Totals::encode(uint8_t *out) {
  PartialsWriter writer(out);
  writer.header(measures_, used_, results_);
  for (uint64_t feature = 0; feature < features_; ++feature) {
    if (slots_[feature] < 0) {
      continue;
    }
    const uint32_t slot = static_cast<uint32_t>(slots_[feature]);
    writer.entry(static_cast<uint32_t>(feature), counts_[slot]);
    for (uint32_t number = 0; number < measures_; ++number) {
      writer.facts(measure(slot, number).facts);
      writer.sum(measure(slot, number).sum.magnitude());
    }
  }
  return writer.size();
}

uint64_t Totals::bytes_max(uint64_t features, uint64_t touched, uint32_t measures) {
  // Growth by half holds old and new memory for a moment: 1 + 1.5 times what is used.
  const uint64_t per_slot = sizeof(uint32_t) + sizeof(uint64_t) + measures * sizeof(Measure);
  return features * sizeof(int32_t) + touched * per_slot * 5 / 2 + 4096;
}

}  // namespace tileloom
