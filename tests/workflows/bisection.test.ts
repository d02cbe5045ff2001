import { describe, expect, test } from 'vitest';
import * as fc from 'fast-check';
import {
  judgeDataError,
  judgeKernelFault,
  judgeRefusal,
  type Fault,
  type Suspect,
  type Verdict,
} from '../../workflows/bisection.ts';
import type { Failure } from '../../workflows/failures.ts';

const range = (firstTile: number, endTile: number, faults: readonly Fault[] = []): Suspect => ({
  firstTile,
  endTile,
  attempt: 1,
  faults,
});
const fault = (variant: string): Fault => ({
  variant,
  deviceId: 'cpu',
  host: 'one',
  planId: `plan of ${variant}`,
  code: 'KERNEL_FAULT',
});
const failed = (tile: number | null = null): Failure => ({
  kind: 'tile-data',
  code: 'TILE_CORRUPT',
  message: 'tile is corrupt',
  tile,
  input: 'data-00000.arrow',
  fingerprint: null,
});

const covered = (verdict: Verdict): number[] =>
  [...verdict.suspects, ...verdict.free]
    .flatMap(({ firstTile, endTile }) =>
      Array.from({ length: endTile - firstTile }, (_, index) => firstTile + index),
    )
    .concat(verdict.parked === null ? [] : [verdict.parked.tile])
    .toSorted((a, b) => a - b);

describe('judgeDataError', () => {
  test('isolates the tile that the failure names', () => {
    const verdict = judgeDataError(range(10, 20), failed(13), 'p');
    expect(verdict.suspects).toMatchObject([{ firstTile: 13, endTile: 14, attempt: 2 }]);
    expect(verdict.free).toEqual([
      { firstTile: 10, endTile: 13 },
      { firstTile: 14, endTile: 20 },
    ]);
  });

  test.each([null, 9, 20])('halves the range when the tile is %s', (tile) => {
    const { suspects } = judgeDataError(range(10, 17), failed(tile), 'p');
    expect(suspects).toMatchObject([
      { firstTile: 10, endTile: 14 },
      { firstTile: 14, endTile: 17 },
    ]);
  });

  test('parks a single tile with what is known about it', () => {
    expect(judgeDataError(range(13, 14), failed(), 'p').parked).toEqual({
      tile: 13,
      errorClass: 'TILE_DATA_ERROR',
      fingerprint: 'TILE_CORRUPT',
      input: 'data-00000.arrow',
      planId: 'p',
      message: 'TILE_CORRUPT: tile is corrupt',
    });
  });

  test('finds the one bad tile in any range, and covers the others exactly once', () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 200 }),
      fc.nat(),
      fc.boolean(),
      (length, seed, named) => {
        const bad = seed % length;
        let suspects: readonly Suspect[] = [range(0, length)];
        const good: number[] = [];
        const parked: number[] = [];
        for (let steps = 0; suspects.length > 0; steps += 1) {
          expect(steps).toBeLessThan(40);
          const [next, ...others] = suspects as [Suspect, ...Suspect[]];
          const { firstTile, endTile } = next;
          suspects = others;
          if (bad < firstTile || bad >= endTile) {
            for (let tile = firstTile; tile < endTile; tile += 1) good.push(tile);
            continue;
          }
          const verdict = judgeDataError(next, failed(named ? bad : null), 'p');
          expect(covered(verdict)).toHaveLength(endTile - firstTile);
          suspects = [...verdict.suspects, ...suspects];
          if (verdict.parked !== null) parked.push(verdict.parked.tile);
          for (const one of verdict.free) {
            for (let tile = one.firstTile; tile < one.endTile; tile += 1) good.push(tile);
          }
        }
        expect(parked).toEqual([bad]);
        expect(new Set(good).size).toBe(length - 1);
      },
    );
    fc.assert(property, { numRuns: 200 });
  });
});

describe('judgeKernelFault', () => {
  test('excludes the first variant and tries the whole range with another', () => {
    const verdict = judgeKernelFault(range(0, 8), failed(), fault('a'));
    expect(verdict.excluded).toEqual(fault('a'));
    expect(verdict.suspects).toEqual([{ ...range(0, 8, [fault('a')]), attempt: 2 }]);
  });

  test('the same variant elsewhere is no second opinion', () => {
    const elsewhere = { ...fault('a'), host: 'two' };
    const verdict = judgeKernelFault(range(3, 4, [fault('a')]), failed(), elsewhere);
    expect(verdict.parked).toBeNull();
    expect(verdict.suspects).toMatchObject([{ firstTile: 3, endTile: 4 }]);
  });

  test('faults of one variant on two hosts are both lifted when another variant fails, too', () => {
    const elsewhere = { ...fault('a'), host: 'two' };
    const verdict = judgeKernelFault(range(3, 4, [fault('a'), elsewhere]), failed(), fault('b'));
    expect(verdict.lifted).toEqual([fault('a'), elsewhere, fault('b')]);
  });

  test('a second variant that fails too halves the range and acquits both variants', () => {
    const verdict = judgeKernelFault(range(0, 8, [fault('a')]), failed(), fault('b'));
    expect(covered(verdict)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(verdict.suspects.every(({ faults }) => faults.length === 0)).toBe(true);
    expect(verdict.lifted).toEqual([fault('a'), fault('b')]);
    expect(verdict.excluded).toBeNull();
  });

  test('a second variant that fails on a single tile parks it', () => {
    const verdict = judgeKernelFault(range(3, 4, [fault('a')]), failed(), fault('b'));
    expect(verdict.parked).toMatchObject({
      tile: 3,
      errorClass: 'KERNEL_FAULT',
      planId: 'plan of b',
      message: 'a: KERNEL_FAULT; b: TILE_CORRUPT: tile is corrupt',
    });
    expect(verdict.suspects).toEqual([]);
  });
});

describe('judgeRefusal', () => {
  const none = new Set<string>();

  test.each([none, new Set(['b'])])('halves a range that one variant has failed on', (others) => {
    expect(judgeRefusal(range(0, 3, [fault('a')]), others)).toMatchObject({
      suspects: [
        { firstTile: 0, endTile: 2 },
        { firstTile: 2, endTile: 3 },
      ],
      lifted: [fault('a')],
    });
  });

  test.each([
    [range(0, 1, [fault('a')]), new Set(['b'])],
    [range(0, 5), new Set(['a', 'b'])],
  ])('tries %o once more with what failed elsewhere', (refused, others) => {
    const verdict = judgeRefusal(refused, others);
    expect(verdict?.suspects).toEqual([{ ...refused, attempt: 2, onlyOwn: true }]);
    expect(judgeRefusal({ ...refused, onlyOwn: true }, others)).toBeNull();
  });

  test.each([
    [range(0, 3), none],
    [range(0, 3), new Set(['a'])],
    [range(0, 1, [fault('a')]), none],
  ])('follows the refusal of %o', (suspect, others) => {
    expect(judgeRefusal(suspect, others)).toBeNull();
  });
});

describe('a tile under which only devices were lost, where nothing else may run it', () => {
  const lost = (deviceId: string, code = 'DEVICE_LOST'): Fault => ({
    ...fault('a'),
    deviceId,
    code,
  });

  test('is tried there again three times, and then its refusal is followed', () => {
    let suspect = range(7, 8, [lost('GPU-1'), lost('GPU-2', 'DEVICE_FAILED')]);
    for (const retries of [1, 2, 3]) {
      const verdict = judgeRefusal(suspect, new Set());
      const again = { ...suspect, attempt: suspect.attempt + 1, faults: [], retries };
      expect(verdict).toMatchObject({ suspects: [again], lifted: suspect.faults, parked: null });
      suspect = { ...again, faults: [lost('GPU-1')] };
    }
    expect(judgeRefusal(suspect, new Set())).toBeNull();
  });

  test('is not where a fault speaks of the kernel', () => {
    const suspect = range(7, 8, [lost('GPU-1'), lost('GPU-1', 'EXECUTOR_CRASHED')]);
    expect(judgeRefusal(suspect, new Set())).toBeNull();
  });
});

describe('a range that a retry order pinned', () => {
  const pin = { aspect: 'variant', value: 'a/x@1', epoch: 5 } as const;
  const pinned = (firstTile: number, endTile: number, faults: readonly Fault[] = []): Suspect => ({
    ...range(firstTile, endTile, faults),
    pin,
  });

  test('hands its pin on to every part, also to the neighbours of a corrupt tile', () => {
    const named = judgeDataError(pinned(10, 20), failed(13), 'p');
    expect(named.free).toEqual([]);
    expect(covered(named)).toEqual(covered(judgeDataError(range(10, 20), failed(13), 'p')));
    const halved = judgeDataError(pinned(10, 20), failed(), 'p');
    for (const suspect of [...named.suspects, ...halved.suspects]) {
      expect(suspect.pin).toEqual(pin);
    }
    const other = judgeKernelFault(pinned(1, 2), failed(), fault('a/x@1'));
    expect(other.suspects).toMatchObject([{ pin }]);
  });

  test('is parked once more when what is pinned fails on its one tile', () => {
    const verdict = judgeRefusal(pinned(7, 8, [fault('a/x@1')]), new Set());
    expect(verdict?.parked).toMatchObject({ tile: 7, errorClass: 'KERNEL_FAULT' });
    expect(verdict?.lifted).toEqual([fault('a/x@1')]);
    expect(judgeRefusal(pinned(7, 8), new Set())).toBeNull();
  });
});
