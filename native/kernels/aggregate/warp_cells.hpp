// Adds the rows of a warp to their features' cells. Rows in tile order put whole warps on one
// feature; without this, all lanes would add to the same few addresses, one after the other.
//
// A Warp supplies what 32 lanes do together: Lanes<T> (one T per lane), each (a statement per
// lane), ballot, sum, max, value (of one lane, for all), one (a statement once). On a GPU a lane is
// a thread (warp_device.hpp), on the host an entry of an array (warp_host.hpp), so tests run this
// text.
//
// Sums stay exact and independent of the schedule: only integers are added, and the digits of 32
// values at one limb are below 2^37, so a limb is bounded as without warps (exact_cells.hpp).
#pragma once

#include "exact_cells.hpp"

namespace tileloom {

constexpr uint32_t kWarpLanes = 32;
// Judgement, not measured: a group of fewer lanes adds one by one; the rest of the warp too.
constexpr uint32_t kWarpPeersMin = 8;
// Judgement, not measured: features of one warp that are added as groups.
constexpr uint32_t kWarpGroupsMax = 2;

// The largest of the lanes' values, from two maxima of 32 bits.
template <class Warp, class Value>
TL_WARP uint64_t warp_max64(const Warp &warp, Value &&value) {
  const uint32_t high =
      warp.max([&](uint32_t lane) { return static_cast<uint32_t>(value(lane) >> 32); });
  const uint32_t low = warp.max([&](uint32_t lane) {
    return static_cast<uint32_t>(value(lane) >> 32) == high ? static_cast<uint32_t>(value(lane))
                                                            : 0;
  });
  return uint64_t{high} << 32 | low;
}

// The sum of values below 2^32 in magnitude, from two sums of 32 bits: the low halves add up to
// less than 2^21, the high ones to at most 2^21 in magnitude.
template <class Warp, class Value>
TL_WARP int64_t warp_sum64(const Warp &warp, Value &&value) {
  const int32_t low =
      warp.sum([&](uint32_t lane) { return static_cast<int32_t>(value(lane) & 0xffff); });
  const int32_t high =
      warp.sum([&](uint32_t lane) { return static_cast<int32_t>(value(lane) >> 16); });
  return int64_t{high} * 65536 + low;
}

// Adds one measure of the peers' rows, all of one feature.
template <class Warp>
TL_WARP void add_group_measure(const Warp &warp, const MeasureJob &job, uint32_t base,
                               uint32_t feature, uint32_t peers) {
  typename Warp::template Lanes<ValueParts> parts;
  warp.each([&](uint32_t lane) {
    parts[lane] = (peers >> lane & 1) != 0 ? value_parts(job, base + lane) : no_value(kNoValue);
  });
  const auto lanes_of = [&](uint32_t kind) {
    return count_of(warp.ballot([&](uint32_t lane) { return parts[lane].kind == kind; }));
  };
  CellHead *head = head_of(job, feature);
  const uint32_t finite = lanes_of(kFiniteValue);
  uint32_t counted = finite;
  if (finite != count_of(peers)) {
    const uint32_t nulls = lanes_of(kNullValue);
    const uint32_t nans = lanes_of(kNanValue);
    const uint32_t plus = lanes_of(kPlusInfinity);
    const uint32_t minus = lanes_of(kMinusInfinity);
    counted += plus + minus;
    warp.one([&] {
      atomic_add(&head->nulls, nulls);
      atomic_add(&head->nans, nans);
      atomic_add(&head->plus_inf, plus);
      atomic_add(&head->minus_inf, minus);
    });
  }
  if (counted == 0) {
    return;
  }
  const uint64_t max_key = warp_max64(warp, [&](uint32_t lane) { return parts[lane].key; });
  const uint64_t min_key = warp_max64(
      warp, [&](uint32_t lane) { return parts[lane].key == 0 ? uint64_t{0} : ~parts[lane].key; });
  warp.one([&] {
    atomic_add(&head->n, counted);
    atomic_max(&head->max_key, max_key);
    atomic_max(&head->min_key, min_key);
  });
  const auto is_added = [&](uint32_t lane) { return (parts[lane].low | parts[lane].high) != 0; };
  const uint32_t last = warp.max(
      [&](uint32_t lane) { return is_added(lane) ? parts[lane].limb + kLimbsPerValue : 0; });
  const uint32_t first =
      ~warp.max([&](uint32_t lane) { return is_added(lane) ? ~parts[lane].limb : 0; });
  for (uint32_t limb = first; limb < last; ++limb) {
    const int64_t sum =
        warp_sum64(warp, [&](uint32_t lane) { return digit_at(parts[lane], limb); });
    warp.one([&] { add_to_limb(job, head, limb, sum); });
  }
}

// Adds rows base, base + 1, … of a tile; ids below 0 are in no feature.
template <class Warp>
TL_WARP void add_warp(const Warp &warp, const TileJob &tile, const MeasureJob *measures,
                      uint32_t measure_count, uint32_t base,
                      typename Warp::template Lanes<int32_t> &ids) {
  uint32_t waiting = warp.ballot([&](uint32_t lane) { return ids[lane] >= 0; });
  for (uint32_t group = 0; group < kWarpGroupsMax && waiting != 0; ++group) {
    const int32_t id = warp.value(ids, lowest_of(waiting));
    const uint32_t peers = warp.ballot([&](uint32_t lane) { return ids[lane] == id; });
    if (count_of(peers) < kWarpPeersMin) {
      break;
    }
    const uint32_t feature = static_cast<uint32_t>(id);
    warp.one(
        [&] { atomic_add(memory_at<uint32_t>(tile.feature_counts) + feature, count_of(peers)); });
    for (uint32_t number = 0; number < measure_count; ++number) {
      add_group_measure(warp, measures[number], base, feature, peers);
    }
    waiting &= ~peers;
  }
  warp.each([&](uint32_t lane) {
    if ((waiting >> lane & 1) != 0) {
      add_row(tile, measures, measure_count, base + lane, static_cast<uint32_t>(ids[lane]));
    }
  });
}

}  // namespace tileloom
