// A warp of a GPU: each thread is one lane. Every function is called by all 32 threads together.
#pragma once

#include "warp_cells.hpp"

namespace tileloom {

struct DeviceWarp {
  uint32_t self;  // this thread's lane

  template <class T>
  struct Lanes {
    T mine;
    __device__ __forceinline__ T &operator[](uint32_t) { return mine; }
  };

  template <class Statement>
  __device__ __forceinline__ void each(Statement &&statement) const {
    statement(self);
  }

  template <class Test>
  __device__ __forceinline__ uint32_t ballot(Test &&test) const {
    return __ballot_sync(kAll, test(self));
  }

  template <class Value>
  __device__ __forceinline__ int32_t sum(Value &&value) const {
    int32_t total = value(self);
#if __CUDA_ARCH__ >= 800
    return __reduce_add_sync(kAll, total);
#else
    for (int offset = 16; offset > 0; offset /= 2) {
      total += __shfl_xor_sync(kAll, total, offset);
    }
    return total;
#endif
  }

  template <class Value>
  __device__ __forceinline__ uint32_t max(Value &&value) const {
    uint32_t largest = value(self);
#if __CUDA_ARCH__ >= 800
    return __reduce_max_sync(kAll, largest);
#else
    for (int offset = 16; offset > 0; offset /= 2) {
      const uint32_t other = __shfl_xor_sync(kAll, largest, offset);
      largest = other > largest ? other : largest;
    }
    return largest;
#endif
  }

  template <class T>
  __device__ __forceinline__ T value(Lanes<T> &values, uint32_t lane) const {
    return __shfl_sync(kAll, values.mine, static_cast<int>(lane));
  }

  template <class Statement>
  __device__ __forceinline__ void one(Statement &&statement) const {
    if (self == 0) {
      statement();
    }
  }

 private:
  static constexpr unsigned kAll = 0xffffffffu;
};

}  // namespace tileloom
