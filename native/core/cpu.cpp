#include "cpu.hpp"

#include <cpuid.h>

#include "../include/tileloom_kernels.h"

namespace tileloom {
namespace {

// XCR0: which register states the operating system saves.
uint64_t enabled_states() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

uint64_t detect() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) {
    return 0;
  }
  const bool saves = (ecx & bit_OSXSAVE) != 0;
  const bool has_fma = (ecx & bit_FMA) != 0;
  const uint64_t states = saves ? enabled_states() : 0;
  const bool ymm = (states & 6) == 6;
  const bool zmm = (states & 0xe6) == 0xe6;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) {
    ebx = 0;
  }
  uint64_t bits = 0;
  bits |= ymm && (ebx & bit_AVX2) != 0 ? TL_ISA_AVX2 : 0;
  bits |= ymm && has_fma ? TL_ISA_FMA : 0;
  bits |= zmm && (ebx & bit_AVX512F) != 0 ? TL_ISA_AVX512F : 0;
  return bits;
}

}  // namespace

uint64_t cpu_features() {
  static const uint64_t bits = detect();
  return bits;
}

}  // namespace tileloom
