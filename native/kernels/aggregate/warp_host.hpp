// A warp of the host: 32 entries of arrays, taken one after the other. For tests and fakes.
#pragma once

#include "warp_cells.hpp"

namespace tileloom {

struct HostWarp {
  template <class T>
  struct Lanes {
    T values[kWarpLanes];
    T &operator[](uint32_t lane) { return values[lane]; }
  };

  template <class Statement>
  void each(Statement &&statement) const {
    for (uint32_t lane = 0; lane < kWarpLanes; ++lane) {
      statement(lane);
    }
  }

  template <class Test>
  uint32_t ballot(Test &&test) const {
    uint32_t bits = 0;
    each([&](uint32_t lane) { bits |= test(lane) ? 1u << lane : 0; });
    return bits;
  }

  // Wraps around as a GPU's does.
  template <class Value>
  int32_t sum(Value &&value) const {
    uint32_t total = 0;
    each([&](uint32_t lane) { total += static_cast<uint32_t>(value(lane)); });
    return static_cast<int32_t>(total);
  }

  template <class Value>
  uint32_t max(Value &&value) const {
    uint32_t largest = 0;
    each([&](uint32_t lane) { largest = value(lane) > largest ? value(lane) : largest; });
    return largest;
  }

  template <class T>
  T value(Lanes<T> &values, uint32_t lane) const {
    return values[lane];
  }

  template <class Statement>
  void one(Statement &&statement) const {
    statement();
  }
};

}  // namespace tileloom
