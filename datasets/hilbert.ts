// Owns the curve order of points: neighbours on the curve are neighbours in space.

/** Cells per axis of the curve; keys are below 2^32. */
const SIDE = 65_536;

/**
 * Position of a point along a Hilbert curve over a box (algorithm: Warren, Hacker's Delight, ch.
 * 16).
 *
 * @param box minX, minY, maxX, maxY; points outside are moved to its border
 * @returns an integer in [0, 2^32); 0 for a point that is not finite
 */
export function hilbertKey(
  x: number,
  y: number,
  box: readonly [number, number, number, number],
): number {
  const cx = cellOf(x, box[0], box[2]);
  const cy = cellOf(y, box[1], box[3]);
  return hilbertOfCell(cx, cy);
}

/** Cells are counted in exact arithmetic, so that equal points have equal keys on any machine. */
function cellOf(value: number, low: number, high: number): number {
  const cell = Math.floor(((value - low) / (high - low)) * SIDE);
  if (!(cell > 0)) return 0;
  return cell < SIDE ? cell : SIDE - 1;
}

function hilbertOfCell(cellX: number, cellY: number): number {
  let [x, y] = [cellX, cellY];
  let key = 0;
  for (let side = SIDE >> 1; side > 0; side >>= 1) {
    const right = (x & side) > 0 ? 1 : 0;
    const top = (y & side) > 0 ? 1 : 0;
    key = key * 4 + ((3 * right) ^ top);
    if (top === 0) {
      if (right === 1) {
        x = SIDE - 1 - x;
        y = SIDE - 1 - y;
      }
      [x, y] = [y, x];
    }
  }
  return key;
}
