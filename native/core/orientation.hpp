// The exact sign of a 2D orientation determinant for any finite doubles.
// Header only, without the standard library's templates, so that every ISA's file may include it;
// the exact path is one out-of-line function.
#pragma once

#include <cstdint>

namespace tileloom {

// Sum of six exact products in a fixed-point accumulator that spans every product of two doubles.
int orientation_sign_exact(double ax, double ay, double bx, double by, double px, double py);

namespace {

constexpr double kUlpHalf = 0x1p-53;
// Error bound of the naive determinant: Shewchuk 1997, "Adaptive precision floating-point
// arithmetic and fast robust geometric predicates", ccwerrboundA. It assumes that no product under-
// or overflows, which the range of the permanent guarantees.
constexpr double kOrientationBound = (3.0 + 16.0 * kUlpHalf) * kUlpHalf;
constexpr double kPermanentMin = 0x1p-900;
constexpr double kPermanentMax = 0x1p1000;

// Sign of (b - a) x (p - a): 1 when p is left of the line from a to b. All coordinates finite.
inline int orientation_sign(double ax, double ay, double bx, double by, double px, double py) {
  const double left = (bx - ax) * (py - ay);
  const double right = (by - ay) * (px - ax);
  const double determinant = left - right;
  const double permanent = __builtin_fabs(left) + __builtin_fabs(right);
  // Infinities and NaN from overflowing differences fail the comparisons.
  if (__builtin_fabs(determinant) > kOrientationBound * permanent && permanent > kPermanentMin &&
      permanent < kPermanentMax) {
    return determinant > 0 ? 1 : -1;
  }
  return orientation_sign_exact(ax, ay, bx, by, px, py);
}

}  // namespace
}  // namespace tileloom
