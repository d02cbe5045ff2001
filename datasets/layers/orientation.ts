// Owns exact planar predicates of validation: orientation, segment intersection, zero area. A rounded
// result is used only when an error bound proves its sign; everything else is decided with BigInt.
import { exactUnits } from '../finish.ts';

/** Relative error of the rounded determinant: Shewchuk 1997, ccwerrboundA = (3 + 16u)u, u = 2^-53. */
const CCW_ERROR = (3 + 16 * 2 ** -53) * 2 ** -53;

/** Below this the bound itself may have lost bits to underflow. */
const UNDERFLOW_GUARD = 2 ** -960;

/**
 * Sign of (b − a) × (p − a): 1 when p is left of the line from a to b, 0 on it, −1 right of it.
 *
 * Exact for any finite doubles.
 */
export function orientation(
  ax: number,
  ay: number,
  bx: number,
  by: number,
  px: number,
  py: number,
): number {
  // Neighbouring edges share an end, the commonest zero by far.
  if ((px === ax && py === ay) || (px === bx && py === by)) return 0;
  const left = (bx - ax) * (py - ay);
  const right = (by - ay) * (px - ax);
  const determinant = left - right;
  const bound = CCW_ERROR * (Math.abs(left) + Math.abs(right));
  if (bound > UNDERFLOW_GUARD && bound < Infinity) {
    if (determinant > bound) return 1;
    if (-determinant > bound) return -1;
  }
  return orientationExact(ax, ay, bx, by, px, py);
}

function orientationExact(
  ax: number,
  ay: number,
  bx: number,
  by: number,
  px: number,
  py: number,
): number {
  // A difference of doubles is zero only when they are equal, so these products are exactly zero.
  const leftZero = bx === ax || py === ay;
  const rightZero = by === ay || px === ax;
  if (leftZero && rightZero) return 0;
  if (leftZero) return by > ay === px > ax ? -1 : 1;
  if (rightZero) return bx > ax === py > ay ? 1 : -1;
  const x = exactUnits(ax);
  const y = exactUnits(ay);
  const left = (exactUnits(bx) - x) * (exactUnits(py) - y);
  const right = (exactUnits(by) - y) * (exactUnits(px) - x);
  if (left === right) return 0;
  return left > right ? 1 : -1;
}

/**
 * How two segments meet: `none`; `touch` at an end point of both; `tee` where an end of one lies inside
 * the other; `cross` inside both; `overlap` along more than a point.
 */
export type SegmentMeeting = 'none' | 'touch' | 'tee' | 'cross' | 'overlap';

/** Decides exactly how the segments a–b and c–d meet; neither may have length zero. */
export function meetingOf(
  ax: number,
  ay: number,
  bx: number,
  by: number,
  cx: number,
  cy: number,
  dx: number,
  dy: number,
): SegmentMeeting {
  if (Math.max(ax, bx) < Math.min(cx, dx) || Math.max(cx, dx) < Math.min(ax, bx)) return 'none';
  if (Math.max(ay, by) < Math.min(cy, dy) || Math.max(cy, dy) < Math.min(ay, by)) return 'none';
  const c = orientation(ax, ay, bx, by, cx, cy);
  const d = orientation(ax, ay, bx, by, dx, dy);
  if (c === 0 && d === 0) return collinearMeeting(ax, ay, bx, by, cx, cy, dx, dy);
  if (c * d > 0) return 'none';
  const a = orientation(cx, cy, dx, dy, ax, ay);
  const b = orientation(cx, cy, dx, dy, bx, by);
  if (a * b > 0) return 'none';
  const atEndOfSecond = c === 0 || d === 0;
  const atEndOfFirst = a === 0 || b === 0;
  if (atEndOfFirst && atEndOfSecond) return 'touch';
  return atEndOfFirst || atEndOfSecond ? 'tee' : 'cross';
}

function collinearMeeting(
  ax: number,
  ay: number,
  bx: number,
  by: number,
  cx: number,
  cy: number,
  dx: number,
  dy: number,
): SegmentMeeting {
  const alongX = ax !== bx;
  const [a, b, c, d] = alongX ? [ax, bx, cx, dx] : [ay, by, cy, dy];
  const low = Math.max(Math.min(a, b), Math.min(c, d));
  const high = Math.min(Math.max(a, b), Math.max(c, d));
  if (low > high) return 'none';
  return low === high ? 'touch' : 'overlap';
}

/**
 * Sign of the signed area of a closed ring (first vertex repeated), exact.
 *
 * @param start first vertex
 * @param end one past the last vertex
 */
export function areaSign(x: Float64Array, y: Float64Array, start: number, end: number): number {
  const x0 = x[start] ?? 0;
  const y0 = y[start] ?? 0;
  let sum = 0;
  let magnitude = 0;
  for (let i = start + 1; i + 1 < end; i += 1) {
    const left = ((x[i] ?? 0) - x0) * ((y[i + 1] ?? 0) - y0);
    const right = ((x[i + 1] ?? 0) - x0) * ((y[i] ?? 0) - y0);
    sum += left - right;
    magnitude += Math.abs(left) + Math.abs(right);
  }
  // Each product has relative error 3u, each of n additions u: n + 8 covers both.
  const bound = magnitude * (end - start + 8) * 2 ** -52;
  if (bound > UNDERFLOW_GUARD && bound < Infinity && Math.abs(sum) > bound) return Math.sign(sum);
  let exact = 0n;
  for (let i = start; i + 1 < end; i += 1) {
    exact += exactUnits(x[i] ?? 0) * exactUnits(y[i + 1] ?? 0);
    exact -= exactUnits(x[i + 1] ?? 0) * exactUnits(y[i] ?? 0);
  }
  if (exact === 0n) return 0;
  return exact > 0n ? 1 : -1;
}
