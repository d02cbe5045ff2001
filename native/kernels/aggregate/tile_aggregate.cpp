#include "tile_aggregate.hpp"

#include <cstring>

#include "../../include/tileloom_kernels.h"

namespace tileloom {
namespace {

constexpr uint32_t kFixedSlots = 2;  // slot 0: invalid (id -2), slot 1: outside (id -1)

bool is_valid(const uint8_t *validity, uint64_t row) {
  return validity == nullptr || (validity[row >> 3] >> (row & 7) & 1) != 0;
}

}  // namespace

TileAggregate::TileAggregate(Meter &meter, uint64_t features, uint32_t measures)
    : features_(features),
      measures_(measures),
      slot_of_id_(meter),
      met_(meter),
      id_(meter),
      counts_(meter),
      slots_(meter) {
  slot_of_id_.reserve_discarding(features + kFixedSlots);
  for (uint64_t index = 0; index < features + kFixedSlots; ++index) {
    slot_of_id_[index] = -1;
  }
  met_.reserve_discarding(features / 64 + 1);
  std::memset(met_.data(), 0, (features / 64 + 1) * sizeof(uint64_t));
  columns_.reserve(measures);
  for (uint32_t number = 0; number < measures; ++number) {
    columns_.emplace_back(meter);
  }
}

void TileAggregate::begin(const MeasureColumn *columns, uint64_t rows) {
  for (uint32_t slot = 0; slot < used_; ++slot) {
    const int64_t id = id_[slot];
    slot_of_id_[static_cast<uint64_t>(id + kFixedSlots)] = -1;
    if (id >= 0) {
      met_[static_cast<uint64_t>(id) / 64] = 0;
    }
  }
  used_ = 0;
  for (uint32_t number = 0; number < measures_; ++number) {
    Column &column = columns_[number];
    column.input = columns[number];
    if (column.input.integers != nullptr) {
      column.kind = SumKind::kInteger;
      column.special = column.input.validity != nullptr;
      column.window.width = 32;
      column.window.shift = 1074;
      continue;
    }
    const ValueRange range = scan_values(column.input.doubles, column.input.validity, rows);
    column.special = range.special;
    column.kind = fit_window(range, rows, column.window) ? SumKind::kWindow : SumKind::kWide;
  }
  new_slot(TL_INVALID);
  new_slot(TL_OUTSIDE);
}

uint32_t TileAggregate::new_slot(int32_t id) {
  const uint64_t slot = used_;
  id_.reserve_keeping(slot + 1, slot);
  counts_.reserve_keeping(slot + 1, slot);
  id_[slot] = id;
  counts_[slot] = 0;
  for (Column &column : columns_) {
    column.cells.reserve_keeping(slot + 1, slot);
    column.cells[slot] = Cell{};
    if (column.special) {
      column.facts.reserve_keeping(slot + 1, slot);
      column.facts[slot] = MeasureFacts{};
    }
    if (column.kind == SumKind::kWide) {
      column.wide.reserve_keeping(slot + 1, slot);
      column.wide[slot] = WideSum{};
    }
  }
  slot_of_id_[static_cast<uint64_t>(static_cast<int64_t>(id) + kFixedSlots)] =
      static_cast<int32_t>(slot);
  if (id >= 0) {
    met_[static_cast<uint64_t>(id) / 64] |= uint64_t{1} << (id % 64);
  }
  return used_++;
}

void TileAggregate::map_slots(const int32_t *ids, uint64_t count) {
  slots_.reserve_discarding(count);
  const int32_t *slot_of_id = slot_of_id_.data() + kFixedSlots;
  for (uint64_t index = 0; index < count; ++index) {
    int32_t slot = slot_of_id[ids[index]];
    if (__builtin_expect(slot < 0, 0)) {
      slot = static_cast<int32_t>(new_slot(ids[index]));
    }
    slots_[index] = static_cast<uint32_t>(slot);
    counts_[static_cast<uint32_t>(slot)] += 1;
  }
}

void TileAggregate::add_block(const int32_t *ids, uint64_t first, uint64_t count) {
  map_slots(ids, count);
  for (Column &column : columns_) {
    accumulate(column, nullptr, first, count);
  }
}

void TileAggregate::add_pairs(const int32_t *features, const uint32_t *rows, uint64_t count) {
  map_slots(features, count);
  for (Column &column : columns_) {
    accumulate(column, rows, 0, count);
  }
}

void TileAggregate::accumulate(Column &column, const uint32_t *rows, uint64_t first,
                               uint64_t count) {
  const bool plain = column.kind == SumKind::kWindow && !column.special;
  if (rows == nullptr) {
    plain ? accumulate_plain<false>(column, rows, first, count)
          : accumulate_any<false>(column, rows, first, count);
  } else {
    plain ? accumulate_plain<true>(column, rows, first, count)
          : accumulate_any<true>(column, rows, first, count);
  }
}

// Doubles without nulls, NaN and infinities whose exponents fit the window.
template <bool kIndexed>
void TileAggregate::accumulate_plain(Column &column, const uint32_t *rows, uint64_t first,
                                     uint64_t count) {
  const Window window = column.window;
  const double *values = column.input.doubles;
  const uint32_t *slots = slots_.data();
  Cell *cells = column.cells.data();
  for (uint64_t index = 0; index < count; ++index) {
    const double value = values[kIndexed ? rows[index] : first + index] + 0.0;  // -0 becomes +0
    int64_t high;
    int64_t low;
    split(window, value, high, low);
    Cell &cell = cells[slots[index]];
    cell.high += high;
    cell.low += low;
    cell.min = value < cell.min ? value : cell.min;
    cell.max = value > cell.max ? value : cell.max;
  }
}

template <bool kIndexed>
void TileAggregate::accumulate_any(Column &column, const uint32_t *rows, uint64_t first,
                                   uint64_t count) {
  MeasureFacts none;
  for (uint64_t index = 0; index < count; ++index) {
    const uint64_t row = kIndexed ? rows[index] : first + index;
    const uint32_t slot = slots_[index];
    MeasureFacts &facts = column.special ? column.facts[slot] : none;
    if (!is_valid(column.input.validity, row)) {
      facts.nulls += 1;
      continue;
    }
    Cell &cell = column.cells[slot];
    double value;
    if (column.kind == SumKind::kInteger) {
      const int64_t integer = column.input.integers[row];
      value = static_cast<double>(integer);
      cell.high += integer >> 32;
      cell.low += integer & 0xffffffff;
    } else {
      value = column.input.doubles[row] + 0.0;
      if (value != value) {
        facts.nans += 1;
        continue;
      }
      if (__builtin_isinf(value)) {
        (value > 0 ? facts.plus_inf : facts.minus_inf) += 1;
      } else if (column.kind == SumKind::kWide) {
        column.wide[slot].add(value);
      } else {
        int64_t high;
        int64_t low;
        split(column.window, value, high, low);
        cell.high += high;
        cell.low += low;
      }
    }
    facts.n += 1;
    cell.min = value < cell.min ? value : cell.min;
    cell.max = value > cell.max ? value : cell.max;
  }
}

MeasureFacts TileAggregate::facts_of(const Column &column, uint32_t slot) const {
  MeasureFacts facts;
  if (column.special) {
    facts = column.facts[slot];
  } else {
    facts.n = counts_[slot];
  }
  facts.min = column.cells[slot].min;
  facts.max = column.cells[slot].max;
  return facts;
}

template <class Visit>
void TileAggregate::for_each_feature(Visit &&visit) {
  const uint64_t words = features_ / 64 + 1;
  for (uint64_t word = 0; word < words; ++word) {
    for (uint64_t bits = met_[word]; bits != 0; bits &= bits - 1) {
      const uint64_t feature = word * 64 + static_cast<uint64_t>(__builtin_ctzll(bits));
      visit(static_cast<uint32_t>(feature),
            static_cast<uint32_t>(slot_of_id_[feature + kFixedSlots]));
    }
  }
}

uint64_t TileAggregate::encoded_bytes_max() const {
  return PartialsWriter::kHeaderBytes +
         used_ * (PartialsWriter::kEntryBytes + measures_ * PartialsWriter::kMeasureBytesMax);
}

uint64_t TileAggregate::encode(const ResultCounts &counts, uint8_t *out) {
  PartialsWriter writer(out);
  writer.header(measures_, used_ - kFixedSlots, counts);
  for_each_feature([&](uint32_t feature, uint32_t slot) {
    writer.entry(feature, counts_[slot]);
    for (const Column &column : columns_) {
      writer.facts(facts_of(column, slot));
      if (column.kind == SumKind::kWide) {
        writer.sum(column.wide[slot].magnitude());
      } else {
        const Cell &cell = column.cells[slot];
        const __int128 high =
            static_cast<__int128>(cell.high) * (__int128{1} << column.window.width);
        writer.sum(high + cell.low, column.window.shift);
      }
    }
  });
  return writer.size();
}

void TileAggregate::merge_into(Totals &totals) {
  for (uint32_t slot = kFixedSlots; slot < used_; ++slot) {
    const uint32_t into = totals.slot_of(static_cast<uint32_t>(id_[slot]));
    totals.add_count(into, counts_[slot]);
    for (uint32_t number = 0; number < measures_; ++number) {
      const Column &column = columns_[number];
      Totals::Measure &measure = totals.measure(into, number);
      measure.facts.add(facts_of(column, slot));
      if (column.kind == SumKind::kWide) {
        measure.sum.add_sum(column.wide[slot]);
        continue;
      }
      const Cell &cell = column.cells[slot];
      const __int128 high = static_cast<__int128>(cell.high) * (__int128{1} << column.window.width);
      measure.sum.add_scaled(high + cell.low, column.window.shift);
    }
  }
}

uint64_t TileAggregate::bytes_max(uint64_t features, uint64_t rows, uint32_t measures) {
  const uint64_t slots = (rows < features ? rows : features) + kFixedSlots;
  const uint64_t per_measure = sizeof(Cell) + sizeof(MeasureFacts) + sizeof(WideSum);
  const uint64_t per_slot = sizeof(int32_t) + sizeof(uint64_t) + measures * per_measure;
  const uint64_t encoded =
      slots * (PartialsWriter::kEntryBytes + measures * PartialsWriter::kMeasureBytesMax);
  return (features + kFixedSlots) * sizeof(int32_t) + features / 8 + slots * per_slot * 5 / 2 +
         encoded + (measures + 4) * 1024;
}

}  // namespace tileloom
