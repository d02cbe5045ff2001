// What one source needs to be built by g++, nvcc and NVRTC alike: integer types, the qualifier of
// functions that run on both sides, and the few operations whose spelling differs.
// Header only, without includes under NVRTC; everything has internal linkage (see assign.hpp).
#pragma once

#if defined(__CUDACC_RTC__)
typedef int int32_t;
typedef unsigned int uint32_t;
typedef unsigned short uint16_t;
typedef unsigned char uint8_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#else
#include <stdint.h>
#endif

#if defined(__CUDACC__)
#define TL_HD static __host__ __device__ __forceinline__
// What the lanes of a warp do together: nvcc builds it for the device only.
#define TL_WARP static __device__ __forceinline__
#else
#define TL_HD static inline __attribute__((always_inline))
#define TL_WARP TL_HD
#endif

namespace tileloom {

TL_HD double magnitude_of(double value) {
#if defined(__CUDA_ARCH__)
  return fabs(value);
#else
  return __builtin_fabs(value);
#endif
}

TL_HD float magnitude_of(float value) {
#if defined(__CUDA_ARCH__)
  return fabsf(value);
#else
  return __builtin_fabsf(value);
#endif
}

TL_HD uint64_t bits_of(double value) {
#if defined(__CUDA_ARCH__)
  return static_cast<uint64_t>(__double_as_longlong(value));
#else
  uint64_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
#endif
}

TL_HD uint32_t parity_of(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return static_cast<uint32_t>(__popc(bits)) & 1u;
#else
  return static_cast<uint32_t>(__builtin_parity(bits));
#endif
}

TL_HD uint32_t count_of(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return static_cast<uint32_t>(__popc(bits));
#else
  return static_cast<uint32_t>(__builtin_popcount(bits));
#endif
}

// Of at least one bit.
TL_HD uint32_t lowest_of(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return static_cast<uint32_t>(__ffs(static_cast<int>(bits))) - 1u;
#else
  return static_cast<uint32_t>(__builtin_ctz(bits));
#endif
}

// Atomics on global memory. Said in PTX: on an address of unknown kind, a 64-bit atomicAdd brings a
// branch for shared memory with it.
TL_HD uint32_t atomic_add(uint32_t *at, uint32_t value) {
#if defined(__CUDA_ARCH__)
  uint32_t old;
  asm volatile("atom.global.add.u32 %0, [%1], %2;"
               : "=r"(old)
               : "l"(__cvta_generic_to_global(at)), "r"(value)
               : "memory");
  return old;
#else
  return __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
#endif
}

// Wraps around: two's complement sums of signed values come out right.
TL_HD void atomic_add(uint64_t *at, uint64_t value) {
#if defined(__CUDA_ARCH__)
  asm volatile("red.global.add.u64 [%0], %1;"
               :
               : "l"(__cvta_generic_to_global(at)), "l"(value)
               : "memory");
#else
  __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
#endif
}

TL_HD void atomic_max(uint64_t *at, uint64_t value) {
#if defined(__CUDA_ARCH__)
  asm volatile("red.global.max.u64 [%0], %1;"
               :
               : "l"(__cvta_generic_to_global(at)), "l"(value)
               : "memory");
#else
  uint64_t known = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (known < value && !__atomic_compare_exchange_n(at, &known, value, true, __ATOMIC_RELAXED,
                                                       __ATOMIC_RELAXED)) {
  }
#endif
}

// Memory of the side that runs the code: jobs carry addresses as integers, because the host fills
// them in for the device. All of it is global memory there; saying so spares generic accesses
// (saying it by __cvta_global_to_generic makes nvcc 13.0 run for ever).
template <class T>
TL_HD T *memory_at(uint64_t address) {
  T *memory = reinterpret_cast<T *>(address);
#if defined(__CUDA_ARCH__)
  __builtin_assume(__isGlobal(memory));
#endif
  return memory;
}

// A value that is read once: it need not push what stays useful out of the cache.
template <class T>
TL_HD T read_once(uint64_t address, uint64_t index) {
#if defined(__CUDA_ARCH__)
  return __ldcs(reinterpret_cast<const T *>(address) + index);
#else
  return memory_at<const T>(address)[index];
#endif
}

template <class T>
TL_HD void write_once(uint64_t address, uint64_t index, T value) {
#if defined(__CUDA_ARCH__)
  __stcs(reinterpret_cast<T *>(address) + index, value);
#else
  memory_at<T>(address)[index] = value;
#endif
}

}  // namespace tileloom
