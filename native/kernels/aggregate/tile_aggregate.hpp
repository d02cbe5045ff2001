// Aggregation of one tile: ids and values in, per-feature partials out, block by block.
#pragma once

#include <cstdint>
#include <vector>

#include "../../core/meter.hpp"
#include "accumulators.hpp"
#include "window.hpp"

namespace tileloom {

// One measured column of a tile, read and scanned. Exactly one of doubles and integers is not null.
struct MeasureColumn {
  const double *doubles = nullptr;
  const int64_t *integers = nullptr;
  const uint8_t *validity = nullptr;  // Arrow bitmap or null
};

// Owns the accumulators of one tile. Points that are outside or invalid go to two slots of their
// own, so that the loops need no branch on membership.
class TileAggregate {
 public:
  TileAggregate(Meter &meter, uint64_t features, uint32_t measures);

  // Starts a tile. columns: [measures], alive until the tile is encoded.
  void begin(const MeasureColumn *columns, uint64_t rows);
  // ids[i] belongs to row first + i: feature, TL_OUTSIDE or TL_INVALID.
  void add_block(const int32_t *ids, uint64_t first, uint64_t count);
  // Overlap all: entry i says that row rows[i] lies in features[i].
  void add_pairs(const int32_t *features, const uint32_t *rows, uint64_t count);

  uint64_t encoded_bytes_max() const;
  // Canonical TLP1 of the tile; returns its size.
  uint64_t encode(const ResultCounts &counts, uint8_t *out);
  void merge_into(Totals &totals);

  // Bytes that aggregating tiles of this many rows may take.
  static uint64_t bytes_max(uint64_t features, uint64_t rows, uint32_t measures);

 private:
  enum class SumKind { kWindow, kInteger, kWide };

  struct Cell {
    int64_t high = 0;
    int64_t low = 0;
    double min = __builtin_inf();
    double max = -__builtin_inf();
  };
  struct Column {
    MeasureColumn input;
    SumKind kind = SumKind::kWindow;
    bool special = false;
    Window window{};
    Buffer<Cell> cells;
    Buffer<MeasureFacts> facts;  // counts of special columns; min and max live in the cells
    Buffer<WideSum> wide;
    explicit Column(Meter &meter) : cells(meter), facts(meter), wide(meter) {}
  };

  uint32_t new_slot(int32_t id);
  void map_slots(const int32_t *ids, uint64_t count);
  void accumulate(Column &column, const uint32_t *rows, uint64_t first, uint64_t count);
  template <bool kIndexed>
  void accumulate_plain(Column &column, const uint32_t *rows, uint64_t first, uint64_t count);
  template <bool kIndexed>
  void accumulate_any(Column &column, const uint32_t *rows, uint64_t first, uint64_t count);
  MeasureFacts facts_of(const Column &column, uint32_t slot) const;
  // Calls visit(feature, slot) for the features that were met, ascending.
  template <class Visit>
  void for_each_feature(Visit &&visit);

  uint64_t features_;
  uint32_t measures_;
  uint32_t used_ = 0;
  Buffer<int32_t> slot_of_id_;  // [features + 2], index id + 2
  Buffer<uint64_t> met_;        // bitmap over features
  Buffer<int32_t> id_;          // per slot
  Buffer<uint64_t> counts_;     // per slot
  Buffer<uint32_t> slots_;      // per row of a block
  std::vector<Column> columns_;
};

}  // namespace tileloom
