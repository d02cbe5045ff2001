// The floating point environment of every computing call: round to nearest, no flush to zero.
// Header only and free of the standard library, so that files built for other ISAs may include it.
#pragma once

#include <xmmintrin.h>

namespace tileloom {
namespace {

// Other libraries in the process may have set FTZ, DAZ or a rounding mode: exactness needs neither.
class FloatEnvironment {
 public:
  FloatEnvironment() : saved_(_mm_getcsr()) { _mm_setcsr(kDefault); }
  ~FloatEnvironment() { _mm_setcsr(saved_); }
  FloatEnvironment(const FloatEnvironment &) = delete;
  FloatEnvironment &operator=(const FloatEnvironment &) = delete;

 private:
  static constexpr unsigned kDefault = 0x1F80;  // all exceptions masked, nearest, FTZ and DAZ off
  unsigned saved_;
};

}  // namespace
}  // namespace tileloom
