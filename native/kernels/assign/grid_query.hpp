// The query over a grid index, shared by the variants. A variant supplies `Ops`: how to locate
// points and how to test one block of four edges. Header only; everything has internal linkage,
// since each variant's file is built for its own instruction set (see assign.hpp).
#pragma once

#include "../../core/float_environment.hpp"
#include "grid_layout.hpp"

namespace tileloom {
namespace {

constexpr int kBatch = 2048;
constexpr int kPrefetchDistance = 12;
// Crossing bits of one cell: at most 16,384 blocks.
constexpr uint32_t kBitWordsMax = 2048;

struct Grid {
  const IndexHeader *header;
  const int32_t *cells;
  const uint8_t *records;
  const uint32_t *ids;
  const tl_layer_view *layer;
};

inline Grid grid_of(const tl_layer_view &layer) {
  const uint8_t *base = static_cast<const uint8_t *>(layer.index);
  const IndexHeader *header = static_cast<const IndexHeader *>(layer.index);
  return {header, reinterpret_cast<const int32_t *>(base + header->cells_offset),
          base + header->records_offset,
          reinterpret_cast<const uint32_t *>(base + header->ids_offset), &layer};
}

inline const uint8_t *record_at(const Grid &grid, int32_t value) {
  return grid.records + (static_cast<uint64_t>(-(int64_t{value} + 2)) * kRecordAlignment);
}

inline void prefetch_record(const Grid &grid, int32_t value) {
  const uint8_t *record = record_at(grid, value);
  __builtin_prefetch(record);
  __builtin_prefetch(record + 64);
  __builtin_prefetch(record + 128);
  __builtin_prefetch(record + 192);
}

// Points that wait for their cell's record.
struct Pending {
  alignas(32) int32_t point[kBatch + 32];
  alignas(32) int32_t value[kBatch + 32];
};

// One record, opened.
struct Record {
  const uint8_t *bytes;
  const uint32_t *candidates;
  const double *blocks;
  uint32_t candidate_count;
  uint32_t block_count;
  uint32_t words;
  uint32_t stride;  // uint32s per candidate
  uint32_t first_edge;
};

template <bool kBorders>
inline Record open_record(const uint8_t *bytes) {
  const RecordHeader &header = *reinterpret_cast<const RecordHeader *>(bytes);
  Record record;
  record.bytes = bytes;
  record.candidates = reinterpret_cast<const uint32_t *>(bytes + sizeof(RecordHeader));
  record.candidate_count = header.candidates;
  record.block_count = header.blocks;
  record.words = mask_words(header.blocks);
  record.stride = 1 + record.words * (kBorders ? 2 : 1);
  record.first_edge = header.first_edge;
  record.blocks = reinterpret_cast<const double *>(
      bytes + record_head_bytes(header.candidates, record.stride - 1));
  return record;
}

// Repair of a whole cell: every crossing bit, and every touching bit, from the exact predicate.
template <bool kBorders>
__attribute__((noinline)) void exact_bits(const Grid &grid, const Record &record, double x,
                                          double y, uint32_t *crossing, uint32_t *touching) {
  for (uint32_t word = 0; word < record.words; ++word) {
    crossing[word] = 0;
    touching[word] = 0;
  }
  const uint32_t lanes = record.block_count * kBlockLanes;
  for (uint32_t lane = 0; lane < lanes; ++lane) {
    const uint32_t vertex = grid.ids[record.first_edge + lane];
    const uint32_t bit = 1u << (lane % 32);
    if (vertex == kNoVertex) {
      const double *block = record.blocks + lane / kBlockLanes * (kBlockBytes / 8);
      const bool crosses = block[lane % kBlockLanes] <= y && y < block[4 + lane % kBlockLanes];
      crossing[lane / 32] |= crosses ? bit : 0;
      continue;
    }
    const Segment segment = layer_segment(grid.layer->x, grid.layer->y, vertex);
    crossing[lane / 32] |= crosses_exact(segment, x, y) ? bit : 0;
    if (kBorders) {
      touching[lane / 32] |= on_segment_exact(segment, x, y) ? bit : 0;
    }
  }
}

// Bits of one point against one record. `touched` tells whether touching bits were computed.
struct Bits {
  uint32_t crossing[kBitWordsMax];
  uint32_t touching[kBitWordsMax];
  bool touched;
};

template <class Ops, bool kBorders>
inline void point_bits(const Grid &grid, const Record &record, double x, double y, Bits &bits) {
  typename Ops::Point point(x, y, grid.header->band);
  uint32_t word = 0;
  bits.touched = false;
  for (uint32_t block = 0; block < record.block_count; ++block) {
    const uint32_t found =
        Ops::template block<kBorders>(record.blocks + block * (kBlockBytes / 8), point);
    word |= found << (block % 8 * kBlockLanes);
    if (block % 8 == 7) {
      bits.crossing[block / 8] = word;
      word = 0;
    }
  }
  if (record.block_count % 8 != 0) {
    bits.crossing[record.block_count / 8] = word;
  }
  if (record.block_count == 0) {
    bits.crossing[0] = 0;
  }
  if (__builtin_expect(point.undecided(), 0)) {
    exact_bits<kBorders>(grid, record, x, y, bits.crossing, bits.touching);
    bits.touched = kBorders;
  }
}

inline bool odd_parity(uint32_t bits) { return __builtin_parity(bits) != 0; }

// State of one candidate: kInside and kOnBorder bits.
template <bool kBorders>
inline unsigned candidate_state(const Record &record, const uint32_t *candidate, const Bits &bits) {
  uint32_t odd = 0;
  for (uint32_t word = 0; word < record.words; ++word) {
    odd ^= candidate[1 + word] & bits.crossing[word];
  }
  unsigned state = (odd_parity(odd) ? 1u : 0u) ^ (candidate[0] >> 31);
  if (kBorders && bits.touched) {
    for (uint32_t word = 0; word < record.words; ++word) {
      state |= (candidate[1 + record.words + word] & bits.touching[word]) != 0 ? kOnBorder : 0;
    }
  }
  return state;
}

inline bool box_holds(const double *box, double x, double y) {
  return x >= box[0] && y >= box[1] && x <= box[2] && y <= box[3];
}

// A crowded cell: its parts are decided over their raw edges. Calls visit until it returns true.
template <class Visit>
__attribute__((noinline)) void visit_crowded(const Grid &grid, const uint8_t *bytes,
                                             uint32_t boundary, double x, double y, Visit &&visit) {
  const RecordHeader &header = *reinterpret_cast<const RecordHeader *>(bytes);
  const uint32_t *candidate = reinterpret_cast<const uint32_t *>(bytes + sizeof(RecordHeader));
  for (uint32_t index = 0; index < header.first_edge; ++index, candidate += 2) {
    const uint32_t part = candidate[1];
    unsigned state = kInside;
    if (part != kNoVertex) {
      state = box_holds(grid.layer->part_boxes + 4 * uint64_t{part}, x, y)
                  ? part_state_exact(*grid.layer, part, x, y, boundary != TL_BOUNDARY_HALF_OPEN)
                  : 0;
    }
    if (part_holds(state, boundary) && visit(static_cast<int32_t>(candidate[0]))) {
      return;
    }
  }
}

// Visits the features of one record that hold the point, ascending, until visit returns true.
template <class Ops, bool kBorders, class Visit>
inline void visit_features(const Grid &grid, int32_t value, uint32_t boundary, double x, double y,
                           Bits &bits, Visit &&visit) {
  const uint8_t *bytes = record_at(grid, value);
  if (__builtin_expect(reinterpret_cast<const RecordHeader *>(bytes)->candidates == kCrowded, 0)) {
    visit_crowded(grid, bytes, boundary, x, y, visit);
    return;
  }
  const Record record = open_record<kBorders>(bytes);
  point_bits<Ops, kBorders>(grid, record, x, y, bits);
  const uint32_t *candidate = record.candidates;
  for (uint32_t index = 0; index < record.candidate_count; ++index, candidate += record.stride) {
    const unsigned state = candidate_state<kBorders>(record, candidate, bits);
    const bool holds = kBorders ? part_holds(state, boundary) : state != 0;
    if (holds && visit(static_cast<int32_t>(candidate[0] & 0x7fffffff))) {
      return;
    }
  }
}

// Overlap first: cells without a border are settled while locating; the rest wait for their record.
template <class Ops, bool kBorders>
void assign_first(const Grid &grid, tl_assign_args &args) {
  Pending pending;
  Bits bits;
  for (uint64_t start = 0; start < args.rows; start += kBatch) {
    const uint64_t left = args.rows - start;
    const int count = left < kBatch ? static_cast<int>(left) : kBatch;
    const double *x = args.x + start;
    const double *y = args.y + start;
    int32_t *ids = args.ids + start;
    const int waiting = Ops::locate(grid, x, y, count, ids, pending);
    for (int index = 0; index < kPrefetchDistance && index < waiting; ++index) {
      prefetch_record(grid, pending.value[index]);
    }
    for (int index = 0; index < waiting; ++index) {
      if (index + kPrefetchDistance < waiting) {
        prefetch_record(grid, pending.value[index + kPrefetchDistance]);
      }
      const int32_t point = pending.point[index];
      int32_t found = TL_OUTSIDE;
      visit_features<Ops, kBorders>(grid, pending.value[index], args.boundary, x[point], y[point],
                                    bits, [&](int32_t feature) {
                                      found = feature;
                                      return true;
                                    });
      ids[point] = found;
    }
  }
}

// Overlap all and error: every holding feature, points in order. Returns the status.
template <class Ops, bool kBorders>
int assign_every(const Grid &grid, tl_assign_args &args, char *text, uint64_t text_bytes) {
  Pending pending;
  Bits bits;
  ResultSink sink(args);
  for (uint64_t start = 0; start < args.rows; start += kBatch) {
    const uint64_t left = args.rows - start;
    const int count = left < kBatch ? static_cast<int>(left) : kBatch;
    const double *x = args.x + start;
    const double *y = args.y + start;
    const int waiting = Ops::locate(grid, x, y, count, args.ids + start, pending);
    for (int point = 0, next = 0; point < count; ++point) {
      const uint64_t row = start + static_cast<uint64_t>(point);
      const int32_t located = args.ids[row];
      if (located == TL_INVALID && (next >= waiting || pending.point[next] != point)) {
        continue;
      }
      sink.begin(row);
      if (next < waiting && pending.point[next] == point) {
        const int32_t value = pending.value[next++];
        if (next + kPrefetchDistance < waiting) {
          prefetch_record(grid, pending.value[next + kPrefetchDistance]);
        }
        visit_features<Ops, kBorders>(grid, value, args.boundary, x[point], y[point], bits,
                                      [&](int32_t feature) { return sink.add(feature); });
      } else if (located >= 0) {
        sink.add(located);
      }
      if (!sink.end()) {
        return sink.status(text, text_bytes);
      }
    }
  }
  return sink.status(text, text_bytes);
}

// The entry point of a grid variant, after its ISA check.
template <class Ops>
__attribute__((noinline)) int assign_on_grid(tl_assign_args *args, char *text,
                                             uint64_t text_bytes) {
  const int status = check_assign_args(args, text, text_bytes);
  if (status != TL_OK) {
    return status;
  }
  const tl_layer_view &layer = *args->layer;
  if (layer.index == nullptr) {
    return fail_assign(TL_BAD_INDEX, "needs the layer's index", text, text_bytes);
  }
  const IndexHeader &header = *static_cast<const IndexHeader *>(layer.index);
  if (header.boundary != args->boundary || header.overlap != args->overlap) {
    return fail_assign(TL_BAD_INDEX, "was given an index for another boundary or overlap rule",
                       text, text_bytes);
  }
  if (header.kind == kKindEdges) {
    return tl_assign__brute__fp64__scalar(args, text, text_bytes);
  }
  const FloatEnvironment environment;
  const Grid grid = grid_of(layer);
  const bool borders = args->boundary != TL_BOUNDARY_HALF_OPEN;
  args->pairs_used = 0;
  args->error_row = -1;
  if (args->overlap != TL_OVERLAP_FIRST) {
    return borders ? assign_every<Ops, true>(grid, *args, text, text_bytes)
                   : assign_every<Ops, false>(grid, *args, text, text_bytes);
  }
  borders ? assign_first<Ops, true>(grid, *args) : assign_first<Ops, false>(grid, *args);
  return TL_OK;
}

}  // namespace
}  // namespace tileloom
