// Owns the shape bucket: which chunks of work are alike enough to share statistics.

/** The facts of a workload that move its rows per second; a planner's WorkloadProfile has them all. */
export interface ShapeFacts {
  readonly vertices: number;
  readonly meanVertices: number;
  readonly ordered: boolean;
  readonly overlap: string;
  readonly boundary: string;
  readonly measures: number;
}

/**
 * Names the bucket, at most 24 characters, for example `v17.8-o-first-half-m2`.
 *
 * Vertices in all and per feature count by powers of two; rows do not count, so that a probe and
 * the full chunks after it share one entry.
 */
export function shapeBucket(facts: ShapeFacts): string {
  const size = `v${String(powerOfTwo(facts.vertices))}.${String(powerOfTwo(facts.meanVertices))}`;
  const order = facts.ordered ? 'o' : 'r';
  const boundary = facts.boundary.slice(0, 4);
  const measures = `m${String(Math.min(Math.max(Math.trunc(facts.measures), 0), 99))}`;
  return `${size}-${order}-${facts.overlap.slice(0, 5)}-${boundary}-${measures}`;
}

/** Whole number n with 2^n ≤ value < 2^(n + 1), 0 below 1; no logarithm, so equal on every host. */
function powerOfTwo(value: number): number {
  let exponent = 0;
  for (let rest = value; rest >= 2 && exponent < 99; rest /= 2) {
    exponent += 1;
  }
  return exponent;
}
