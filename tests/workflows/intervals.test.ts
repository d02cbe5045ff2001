import { describe, expect, test } from 'vitest';
import * as fc from 'fast-check';
import type { TileInterval } from '../../workflows/activity-contract.ts';
import { countTiles, giveBackTiles, reserveTiles } from '../../workflows/intervals.ts';

const of = (firstTile: number, endTile: number): TileInterval => ({ firstTile, endTile });

describe('reserveTiles', () => {
  test('takes a prefix and leaves the rest', () => {
    expect(reserveTiles([of(0, 10), of(20, 30)], 4)).toEqual({
      taken: of(0, 4),
      rest: [of(4, 10), of(20, 30)],
    });
  });

  test('never crosses a gap', () => {
    expect(reserveTiles([of(0, 3), of(20, 30)], 8)).toEqual({
      taken: of(0, 3),
      rest: [of(20, 30)],
    });
  });

  test.each([0, -5, 0.5])('takes one tile when asked for %d', (wanted) => {
    expect(reserveTiles([of(7, 9)], wanted)?.taken).toEqual(of(7, 8));
  });

  test('takes the whole first interval when there is no limit', () => {
    expect(reserveTiles([of(7, 9)], Infinity)?.taken).toEqual(of(7, 9));
  });

  test('finds nothing in an empty set', () => expect(reserveTiles([], 1)).toBeNull());
});

describe('giveBackTiles', () => {
  test('joins neighbours on both sides', () => {
    expect(giveBackTiles([of(0, 3), of(5, 9)], of(3, 5))).toEqual([of(0, 9)]);
  });

  test('ignores an empty interval', () => {
    expect(giveBackTiles([of(0, 3)], of(2, 2))).toEqual([of(0, 3)]);
  });

  test.each([of(0, 1), of(2, 6), of(0, 20), of(8, 9)])(
    'refuses tiles that are free: %o',
    (twice) => {
      expect(() => giveBackTiles([of(0, 3), of(5, 9)], twice)).toThrow(RangeError);
    },
  );

  test('holds exactly the tiles that a set of numbers would, in order and without neighbours', () => {
    const step = fc.record({ take: fc.boolean(), size: fc.integer({ min: 1, max: 9 }) });
    const property = fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      let free: readonly TileInterval[] = [of(0, 50)];
      const model = new Set(Array.from({ length: 50 }, (_, tile) => tile));
      const out: TileInterval[] = [];
      for (const { take, size } of steps) {
        if (take) {
          const taken = reserveTiles(free, size);
          if (taken === null) continue;
          free = taken.rest;
          out.push(taken.taken);
          for (let t = taken.taken.firstTile; t < taken.taken.endTile; t += 1) model.delete(t);
        } else {
          const back = out.splice(size % Math.max(1, out.length), 1)[0];
          if (back === undefined) continue;
          free = giveBackTiles(free, back);
          for (let t = back.firstTile; t < back.endTile; t += 1) model.add(t);
        }
        const listed = free.flatMap(({ firstTile, endTile }) =>
          Array.from({ length: endTile - firstTile }, (_, index) => firstTile + index),
        );
        expect(listed).toEqual([...model].toSorted((a, b) => a - b));
        expect(countTiles(free)).toBe(model.size);
        free.forEach((one, index) => {
          const next = free[index + 1];
          expect(next === undefined || one.endTile < next.firstTile).toBe(true);
        });
      }
    });
    fc.assert(property, { numRuns: 200 });
  });
});
