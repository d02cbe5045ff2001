// Per-feature accumulators: the totals of a chunk, and their canonical bytes (TLP1,
// docs/formats.md).
#pragma once

#include <cstdint>

#include "../../core/meter.hpp"
#include "../../core/wide_sum.hpp"

namespace tileloom {

struct ResultCounts {
  uint64_t rows = 0;
  uint64_t hits = 0;
  uint64_t outside = 0;
  uint64_t invalid = 0;

  void add(const ResultCounts &other) {
    rows += other.rows;
    hits += other.hits;
    outside += other.outside;
    invalid += other.invalid;
  }
};

// What is known about one measure of one feature, without its sum. min > max when n is 0.
struct MeasureFacts {
  uint64_t n = 0;
  uint64_t nulls = 0;
  uint64_t nans = 0;
  uint64_t plus_inf = 0;
  uint64_t minus_inf = 0;
  double min = __builtin_inf();
  double max = -__builtin_inf();

  void add(const MeasureFacts &other) {
    n += other.n;
    nulls += other.nulls;
    nans += other.nans;
    plus_inf += other.plus_inf;
    minus_inf += other.minus_inf;
    min = other.min < min ? other.min : min;
    max = other.max > max ? other.max : max;
  }
};

// Writes TLP1 bytes front to back into memory that is large enough.
class PartialsWriter {
 public:
  static constexpr uint64_t kHeaderBytes = 48;
  static constexpr uint64_t kEntryBytes = 12;
  static constexpr uint64_t kMeasureBytesMax = 68 + 4 * WideSum::kLimbs;

  explicit PartialsWriter(uint8_t *out) : start_(out), at_(out) {}

  void header(uint32_t measures, uint32_t entries, const ResultCounts &counts);
  void entry(uint32_t feature, uint64_t count);
  void facts(const MeasureFacts &facts);
  // value * 2^shift units of 2^-1074.
  void sum(__int128 value, int shift);
  void sum(const Magnitude &magnitude);
  uint64_t size() const { return static_cast<uint64_t>(at_ - start_); }

 private:
  template <class T>
  void put(T value) {
    __builtin_memcpy(at_, &value, sizeof value);
    at_ += sizeof value;
  }

  uint8_t *start_;
  uint8_t *at_;
};

// Totals of one lane: what the batches that took this lane added up. Features get slots when first
// met.
class Totals {
 public:
  struct Measure {
    MeasureFacts facts;
    WideSum sum;
  };

  Totals(Meter &meter, uint64_t features, uint32_t measures);

  // Slot of a feature, made when it is new. Invalidates pointers to measures.
  uint32_t slot_of(uint32_t feature);
  void add_count(uint32_t slot, uint64_t count) { counts_[slot] += count; }
  Measure &measure(uint32_t slot, uint32_t number) {
    return measures_data_[static_cast<uint64_t>(slot) * measures_ + number];
  }
  void add_results(const ResultCounts &counts) { results_.add(counts); }
  const ResultCounts &results() const { return results_; }
  void merge(Totals &other);

  // Upper bound of the bytes that encode writes, and the encoding; returns the size written.
  uint64_t encoded_bytes_max() const;
  uint64_t encode(uint8_t *out);

  // Bytes that a lane with this many distinct features holds at most.
  static uint64_t bytes_max(uint64_t features, uint64_t touched, uint32_t measures);

 private:
  uint32_t measures_;
  uint64_t features_;
  uint32_t used_ = 0;
  ResultCounts results_;
  Buffer<int32_t> slots_;          // per feature: its slot or -1
  Buffer<uint32_t> feature_;       // per slot
  Buffer<uint64_t> counts_;        // per slot
  Buffer<Measure> measures_data_;  // per slot and measure
};

}  // namespace tileloom
