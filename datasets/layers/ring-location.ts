// Owns exact point-in-ring: inside, on the border or outside, by even-odd.
import { orientation } from './orientation.ts';

/**
 * Locates a point against one closed ring.
 *
 * @param start first vertex of the ring
 * @param end one past its last vertex, which repeats the first
 * @returns 1 inside by even-odd, 0 on an edge, −1 outside
 */
export function locateInRing(
  x: Float64Array,
  y: Float64Array,
  start: number,
  end: number,
  px: number,
  py: number,
): 1 | 0 | -1 {
  let inside = false;
  for (let i = start; i + 1 < end; i += 1) {
    const ax = x[i] ?? 0;
    const ay = y[i] ?? 0;
    const bx = x[i + 1] ?? 0;
    const by = y[i + 1] ?? 0;
    if ((ay > py && by > py) || (ay < py && by < py) || (ax < px && bx < px)) continue;
    const side = crossingOfRay(ax, ay, bx, by, px, py);
    if (side === 0) return 0;
    if (side > 0) inside = !inside;
  }
  return inside ? 1 : -1;
}

/**
 * How the ray from p to the right meets the segment a–b: 1 crosses (half-open in y), −1 does not,
 * 0 when p lies on the segment.
 */
export function crossingOfRay(
  ax: number,
  ay: number,
  bx: number,
  by: number,
  px: number,
  py: number,
): 1 | 0 | -1 {
  if (ay === by) {
    const within = ay === py && Math.min(ax, bx) <= px && px <= Math.max(ax, bx);
    return within ? 0 : -1;
  }
  if (py < Math.min(ay, by) || py > Math.max(ay, by)) return -1;
  const up = ay < by;
  const side = up ? orientation(ax, ay, bx, by, px, py) : orientation(bx, by, ax, ay, px, py);
  if (side === 0) return 0;
  return side > 0 && py < Math.max(ay, by) ? 1 : -1;
}
