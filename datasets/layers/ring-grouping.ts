// Owns the grouping of the rings of a cut part into parts: a ring inside an even number of others is a
// shell, else a hole of the innermost shell around it. Where that cannot be told (rings that lie on each
// other, very many rings) all stay in one part, which has the same points by even-odd.
import type { Ring } from './antimeridian.ts';
import { locateInRing } from './ring-location.ts';

const RINGS_MAX = 1000;

/** Groups rings into parts, shells first, in order of appearance. */
export function groupRings(rings: readonly Ring[]): (readonly Ring[])[] {
  if (rings.length <= 1) return rings.length === 0 ? [] : [rings];
  if (rings.length > RINGS_MAX) return [rings];
  const around: number[][] = [];
  for (let i = 0; i < rings.length; i += 1) {
    const containers: number[] = [];
    for (let j = 0; j < rings.length; j += 1) {
      const [inner, outer] = [rings[i], rings[j]];
      if (i === j || inner === undefined || outer === undefined) continue;
      const location = locateRing(inner, outer);
      if (location === 0) return [rings];
      if (location > 0) containers.push(j);
    }
    around.push(containers);
  }
  const parts = new Map<number, Ring[]>();
  rings.forEach((ring, i) => {
    if ((around[i]?.length ?? 0) % 2 === 0) parts.set(i, [ring]);
  });
  for (let i = 0; i < rings.length; i += 1) {
    const depth = around[i]?.length ?? 0;
    const ring = rings[i];
    if (depth % 2 === 0 || ring === undefined) continue;
    const shell = around[i]?.find((j) => around[j]?.length === depth - 1);
    const part = shell === undefined ? undefined : parts.get(shell);
    if (part === undefined) return [rings];
    part.push(ring);
  }
  return [...parts.values()];
}

/** 1 when a vertex of the inner ring lies inside the outer one, −1 outside, 0 when all lie on it. */
function locateRing(inner: Ring, outer: Ring): 1 | 0 | -1 {
  for (let i = 0; i + 1 < inner.x.length; i += 1) {
    const location = locateInRing(
      outer.x,
      outer.y,
      0,
      outer.x.length,
      inner.x[i] ?? 0,
      inner.y[i] ?? 0,
    );
    if (location !== 0) return location;
  }
  return 0;
}
