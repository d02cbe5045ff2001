#include "grid_pack.hpp"

#include <cmath>
#include <cstring>
#include <map>
#include <unordered_map>

namespace tileloom {
namespace {

constexpr uint64_t kBlocksMax = 16384;  // 65,536 edges in one cell; beyond, the cell is `crowded`
constexpr uint64_t kCandidatesMax = 65534;
constexpr size_t kLinearSearchMax = 24;

struct PackedEdge {
  Segment segment;
  uint32_t vertex;  // kNoVertex for stand-ins
};

bool same(const Segment &a, const Segment &b) {
  return a.x1 == b.x1 && a.y1 == b.y1 && a.x2 == b.x2 && a.y2 == b.y2;
}

uint64_t hash_of(const Segment &segment) {
  uint64_t words[4];
  std::memcpy(words, &segment, sizeof words);
  uint64_t hash = 0;
  for (const uint64_t word : words) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  }
  return hash;
}

class Packer {
 public:
  Packer(const tl_layer_view &layer, SweepResult &&swept, bool borders)
      : layer_(layer), swept_(std::move(swept)), borders_(borders) {
    packed_.cells = std::move(swept_.covers);
  }

  PackedGrid pack() {
    const std::vector<SweepEntry> &entries = swept_.entries;
    for (size_t begin = 0; begin < entries.size();) {
      size_t end = begin;
      while (end < entries.size() && entries[end].cell == entries[begin].cell) {
        ++end;
      }
      pack_cell(begin, end);
      begin = end;
    }
    return std::move(packed_);
  }

 private:
  void pack_cell(size_t begin, size_t end) {
    const uint32_t cell = swept_.entries[begin].cell;
    gather_candidates(begin, end, packed_.cells[cell]);
    gather_edges();
    const uint64_t blocks = (edges_.size() + kBlockLanes - 1) / kBlockLanes;
    const uint64_t start = packed_.records.size();
    if (blocks > kBlocksMax || candidates_.size() > kCandidatesMax) {
      write_crowded();
    } else if (blocks == 0) {
      packed_.cells[cell] = shared_record(start);
      return;
    } else {
      write_record(static_cast<uint32_t>(blocks));
    }
    packed_.cells[cell] = record_value(start);
    packed_.record_count += 1;
  }

  static int32_t record_value(uint64_t start) {
    const uint64_t number = start / kRecordAlignment;
    if (number > 0x7ffffff0u) {
      throw GridTooLarge();
    }
    return -2 - static_cast<int32_t>(number);
  }

  // The cell's entries plus its cover, features ascending.
  void gather_candidates(size_t begin, size_t end, int32_t cover) {
    candidates_.clear();
    bool pending = cover >= 0;
    const SweepEntry whole{0, static_cast<uint32_t>(cover) | kBreakFlag, 0, 0, 0};
    for (size_t at = begin; at < end; ++at) {
      const SweepEntry &entry = swept_.entries[at];
      const int32_t feature = static_cast<int32_t>(entry.feature_parity & ~kBreakFlag);
      if (pending && cover < feature) {
        candidates_.push_back(whole);
        pending = false;
      }
      candidates_.push_back(entry);
    }
    if (pending) {
      candidates_.push_back(whole);
    }
  }

  PackedEdge edge_of(uint32_t ref) const {
    if ((ref & kBreakFlag) != 0) {
      const Break &rows = swept_.breaks[ref & ~kBreakFlag];
      return {{kFar, rows.low, kFar, rows.high}, kNoVertex};
    }
    Segment segment = layer_segment(layer_.x, layer_.y, ref);
    if (segment.y1 == segment.y2 && segment.x1 > segment.x2) {
      std::swap(segment.x1, segment.x2);
    }
    return {segment, ref};
  }

  // Numbers the cell's distinct edges; shared borders get one number.
  void gather_edges() {
    edges_.clear();
    numbers_.clear();
    by_hash_.clear();
    for (const SweepEntry &candidate : candidates_) {
      for (uint64_t at = candidate.begin; at < candidate.begin + candidate.count; ++at) {
        numbers_.push_back(number_of(edge_of(swept_.refs[at])));
      }
    }
  }

  uint32_t number_of(const PackedEdge &edge) {
    if (edges_.size() < kLinearSearchMax) {
      for (uint32_t number = 0; number < edges_.size(); ++number) {
        if (same(edges_[number].segment, edge.segment)) {
          return number;
        }
      }
      edges_.push_back(edge);
      return static_cast<uint32_t>(edges_.size() - 1);
    }
    if (by_hash_.empty()) {
      for (uint32_t number = 0; number < edges_.size(); ++number) {
        by_hash_.emplace(hash_of(edges_[number].segment), number);
      }
    }
    const auto range = by_hash_.equal_range(hash_of(edge.segment));
    for (auto at = range.first; at != range.second; ++at) {
      if (same(edges_[at->second].segment, edge.segment)) {
        return at->second;
      }
    }
    const uint32_t number = static_cast<uint32_t>(edges_.size());
    by_hash_.emplace(hash_of(edge.segment), number);
    edges_.push_back(edge);
    return number;
  }

  template <class T>
  void put(const T &value) {
    const uint8_t *bytes = reinterpret_cast<const uint8_t *>(&value);
    packed_.records.insert(packed_.records.end(), bytes, bytes + sizeof value);
  }

  void pad_records(uint64_t alignment) {
    packed_.records.resize((packed_.records.size() + alignment - 1) / alignment * alignment, 0);
  }

  void write_crowded() {
    put(RecordHeader{kCrowded, 0, static_cast<uint32_t>(candidates_.size())});
    for (const SweepEntry &candidate : candidates_) {
      // A cover has no edges of its own here: kNoVertex says that it holds every point.
      put(candidate.feature_parity & ~kBreakFlag);
      put(candidate.count == 0 ? kNoVertex : candidate.part);
    }
    pad_records(kRecordAlignment);
  }

  // Records without edges (several features that hold the whole cell) repeat: they are stored once.
  int32_t shared_record(uint64_t start) {
    std::vector<uint32_t> key;
    for (const SweepEntry &candidate : candidates_) {
      key.push_back(candidate.feature_parity);
    }
    const auto known = shared_.find(key);
    if (known != shared_.end()) {
      return known->second;
    }
    write_record(0);
    packed_.record_count += 1;
    return shared_[key] = record_value(start);
  }

  void write_record(uint32_t blocks) {
    const uint32_t words = mask_words(blocks);
    if (packed_.ids.size() + uint64_t{blocks} * kBlockLanes > kNoVertex) {
      throw GridTooLarge();
    }
    put(RecordHeader{static_cast<uint16_t>(candidates_.size()), static_cast<uint16_t>(blocks),
                     static_cast<uint32_t>(packed_.ids.size())});
    size_t next = 0;
    for (const SweepEntry &candidate : candidates_) {
      std::vector<uint32_t> &crossing = crossing_;
      crossing.assign(words, 0);
      touching_.assign(words, 0);
      for (uint32_t index = 0; index < candidate.count; ++index) {
        const uint32_t number = numbers_[next++];
        // An edge that a part uses twice does not change its even-odd rule, but is a border.
        crossing[number / 32] ^= 1u << (number % 32);
        touching_[number / 32] |= 1u << (number % 32);
      }
      put(candidate.feature_parity);
      for (const uint32_t word : crossing) put(word);
      for (size_t word = 0; borders_ && word < words; ++word) put(touching_[word]);
    }
    pad_records(32);
    for (uint32_t block = 0; block < blocks; ++block) {
      write_block(block);
    }
    pad_records(kRecordAlignment);
    packed_.edge_count += edges_.size();
  }

  void write_block(uint32_t block) {
    double values[4][kBlockLanes] = {};
    for (int lane = 0; lane < kBlockLanes; ++lane) {
      const size_t number = static_cast<size_t>(block) * kBlockLanes + static_cast<size_t>(lane);
      if (number >= edges_.size()) {
        // Never crosses: an empty interval above every coordinate.
        values[0][lane] = values[1][lane] = kFar;
        packed_.ids.push_back(kNoVertex);
        continue;
      }
      const Segment &edge = edges_[number].segment;
      const double slope = (edge.x2 - edge.x1) / (edge.y2 - edge.y1);
      values[0][lane] = edge.y1;
      values[1][lane] = edge.y2;
      values[2][lane] = edge.x1;
      values[3][lane] = std::isfinite(slope) ? slope : std::nan("");
      packed_.ids.push_back(edges_[number].vertex);
    }
    put(values);
  }

  const tl_layer_view &layer_;
  SweepResult swept_;
  const bool borders_;
  PackedGrid packed_;
  std::vector<SweepEntry> candidates_;
  std::vector<PackedEdge> edges_;
  std::vector<uint32_t> numbers_;  // of each candidate's edges, in order
  std::vector<uint32_t> crossing_;
  std::vector<uint32_t> touching_;
  std::unordered_multimap<uint64_t, uint32_t> by_hash_;
  std::map<std::vector<uint32_t>, int32_t> shared_;
};

}  // namespace

PackedGrid pack_grid(const tl_layer_view &layer, SweepResult &&swept, bool borders) {
  return Packer(layer, std::move(swept), borders).pack();
}

}  // namespace tileloom
