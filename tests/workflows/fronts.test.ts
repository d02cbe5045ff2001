import { describe, expect, test } from 'vitest';
import * as fc from 'fast-check';
import type { TileInterval } from '../../workflows/activity-contract.ts';
import { reserveAtFront } from '../../workflows/fronts.ts';
import { countTiles, giveBackTiles } from '../../workflows/intervals.ts';

const of = (firstTile: number, endTile: number): TileInterval => ({ firstTile, endTile });

describe('reserveAtFront', () => {
  const free = [of(0, 40), of(60, 100)];

  test('goes on where the lane stopped', () => {
    expect(reserveAtFront(free, 8, 60, new Set([0]))?.taken).toEqual(of(60, 68));
  });

  test('prefers tiles that no other lane works at', () => {
    expect(reserveAtFront(free, 8, 50, new Set([0]))?.taken).toEqual(of(60, 68));
  });

  test('else takes the second half of the largest interval, whole chunks behind its owner', () => {
    const taken = reserveAtFront([of(0, 103)], 10, null, new Set([0]));
    expect(taken).toEqual({ taken: of(50, 60), rest: [of(0, 50), of(60, 103)] });
  });

  test('takes a prefix when there are not two chunks left to share', () => {
    const taken = reserveAtFront([of(0, 15)], 10, null, new Set([0]));
    expect(taken).toEqual({ taken: of(0, 10), rest: [of(10, 15)] });
  });

  test('finds nothing in an empty set', () => {
    expect(reserveAtFront([], 4, 0, new Set())).toBeNull();
  });
});

interface Simulated {
  front: number | null;
  held: TileInterval | null;
}

/** Lanes that reserve, plan a prefix and compute in any order; the sizes of their chunks. */
function drive(
  tiles: number,
  laneCount: number,
  turns: () => number,
  reservedTiles: (chunk: number) => number,
  plannedTiles: (chunk: number) => number,
): readonly number[] {
  const lanes = Array.from({ length: laneCount }, (): Simulated => ({ front: null, held: null }));
  const sizes: number[] = [];
  let free: readonly TileInterval[] = [of(0, tiles)];
  let reservations = 0;
  while (free.length > 0 || lanes.some(({ held }) => held !== null)) {
    const lane = lanes[turns() % laneCount] as Simulated;
    if (lane.held === null) {
      const others = lanes.flatMap((one) => (one === lane || one.front === null ? [] : one.front));
      const taken = reserveAtFront(free, reservedTiles(reservations), lane.front, new Set(others));
      if (taken === null) continue;
      reservations += 1;
      expect(countTiles(taken.rest) + countTiles([taken.taken])).toBe(countTiles(free));
      free = taken.rest;
      lane.held = taken.taken;
      lane.front = taken.taken.endTile;
    } else {
      const { firstTile, endTile } = lane.held;
      const end = Math.min(endTile, firstTile + Math.max(1, plannedTiles(sizes.length)));
      free = giveBackTiles(free, of(end, endTile));
      sizes.push(end - firstTile);
      lane.front = end;
      lane.held = null;
    }
  }
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(tiles);
  return sizes;
}

const settings = fc.record({
  tiles: fc.integer({ min: 1, max: 5_000 }),
  laneCount: fc.integer({ min: 1, max: 6 }),
  chunk: fc.integer({ min: 1, max: 400 }),
  seed: fc.array(fc.nat({ max: 100 }), { minLength: 8, maxLength: 40 }),
});
const cycle = (values: readonly number[]): (() => number) => {
  let at = 0;
  let shift = 0;
  return () => {
    at += 1;
    if (at % values.length === 0) shift += 1;
    return (values[at % values.length] ?? 0) + shift;
  };
};

describe('the chunks of lanes', () => {
  test('of one size are as few as one lane would make, and three per lane', () => {
    fc.assert(
      fc.property(settings, ({ tiles, laneCount, chunk, seed }) => {
        const probe = 4;
        const reserved = (index: number): number => (index < laneCount ? probe : chunk);
        const size = (index: number): number => (index < laneCount ? probe : chunk);
        const sizes = drive(tiles, laneCount, cycle(seed), reserved, size);
        expect(sizes.length).toBeLessThanOrEqual(tiles / chunk + 3 * laneCount + 1);
      }),
      { numRuns: 300 },
    );
  });

  test('stay few when each plan takes a little less than was reserved for it', () => {
    fc.assert(
      fc.property(settings, ({ tiles, laneCount, chunk, seed }) => {
        const least = Math.max(1, Math.floor(chunk * 0.85));
        const planned = (index: number): number => least + ((index * 7) % (chunk - least + 1));
        const sizes = drive(tiles, laneCount, cycle(seed), () => chunk, planned);
        const steals = laneCount * (2 + Math.log2(1 + tiles / chunk));
        expect(sizes.length).toBeLessThanOrEqual(tiles / least + steals);
      }),
      { numRuns: 300 },
    );
  });

  test('are small only where a front ends', () => {
    // A probe, then one reservation far too large, as a first hint often is.
    const reserved = (index: number): number => (index < 2 ? 4 : index === 2 ? 1_876 : 300);
    const planned = (index: number): number => (index < 2 ? 4 : 263 + (index % 5) * 9);
    const sizes = drive(3_052, 2, cycle([0, 1, 1, 0, 1]), reserved, planned);
    expect(sizes.slice(2).filter((size) => size < 200).length).toBeLessThanOrEqual(3);
  });
});
