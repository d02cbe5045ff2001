// Which tiles end parked when variants fault: several lanes, any order of their steps, the real state.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EXCLUSIONS_MAX } from '../../workflows/exclusions.ts';
import { learnFrom, openRun, pendingShard } from '../../workflows/run-state.ts';
import { tooManySentence } from '../../workflows/reactions.ts';
import { hasWork, progressOf, type Lane, type ShardState } from '../../workflows/shard-state.ts';
import { runInput } from '../e2e/harness/simulated-values.ts';
import { executeStep, openTestShard, planStep, type SimulatedHost } from './shard-values.ts';

interface Ended {
  readonly done: readonly number[];
  readonly parked: readonly number[];
  /** Reactions that would fail the run, or hold with nobody left to change anything. */
  readonly stuck: string | null;
  readonly shard: ShardState;
}

/** Drives lanes until nothing is left; a lane whose plan is out executes at its next turn. */
function drive(host: SimulatedHost, tiles: number, lanes: number, turns: readonly number[]): Ended {
  const shard = openTestShard(tiles, lanes);
  const planned = new Map<Lane, string>();
  let stuck: string | null = null;
  let quiet = 0;
  for (let step = 0; stuck === null && (hasWork(shard) || planned.size > 0); step += 1) {
    expect(step).toBeLessThan(200 * (tiles + 10));
    const index = ((turns[step % turns.length] ?? 0) + step) % lanes;
    const lane = shard.lanes.get(index) as Lane;
    const variant = planned.get(lane);
    quiet += 1;
    if (variant !== undefined) {
      planned.delete(lane);
      executeStep(shard, lane, host, variant);
      quiet = 0;
      continue;
    }
    const before = JSON.stringify([shard.suspects, shard.free, shard.excluded]);
    const next = planStep(shard, lane, host);
    if (typeof next === 'string') {
      if (next !== 'idle') planned.set(lane, next);
      if (next !== 'idle') quiet = 0;
    } else if (next.failure !== null) stuck = next.failure.code;
    else if (before !== JSON.stringify([shard.suspects, shard.free, shard.excluded])) quiet = 0;
    if (quiet > 20 * lanes) stuck = 'held for ever';
  }
  const done = shard.unsealed.flatMap(({ answer }) =>
    Array.from(
      { length: answer.part.endTile - answer.part.firstTile },
      (_, offset) => answer.part.firstTile + offset,
    ),
  );
  return { done, parked: shard.parkedUnsealed.map(({ tile }) => tile), stuck, shard };
}

const ascending = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b);
const TWO = ['sim/a@1', 'sim/b@1'];

describe('lanes over faulty variants', () => {
  test('two tiles that each break another variant are both computed', () => {
    const fails = (variant: string, tile: number): boolean =>
      (tile === 1 && variant === 'sim/a@1') || (tile === 2 && variant === 'sim/b@1');
    for (const onRefusal of ['hold', 'fail'] as const) {
      const host = { variants: TWO, chunkTiles: 1, fails, onRefusal };
      for (const turns of [[0], [0, 1], [1, 1, 0], [0, 0, 1, 1, 1]]) {
        const ended = drive(host, 4, 2, turns);
        expect(ended).toMatchObject({ stuck: null, parked: [] });
        expect(ascending(ended.done)).toEqual([0, 1, 2, 3]);
      }
    }
  });

  test('end: a tile is parked exactly when both variants fail on it', () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 24 }),
      fc.uniqueArray(fc.nat({ max: 23 }), { maxLength: 6 }),
      fc.uniqueArray(fc.nat({ max: 23 }), { maxLength: 6 }),
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 1, max: 3 }),
      fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 12 }),
      (tiles, breaksA, breaksB, chunkTiles, lanes, turns) => {
        const fails = (variant: string, tile: number): boolean =>
          (variant === 'sim/a@1' ? breaksA : breaksB).includes(tile);
        const ended = drive(
          { variants: TWO, chunkTiles, fails, onRefusal: 'hold' },
          tiles,
          lanes,
          turns,
        );
        expect(ended.stuck).toBeNull();
        const both = breaksA.filter((tile) => breaksB.includes(tile) && tile < tiles);
        expect(ascending(ended.parked)).toEqual(ascending(both));
        const all = Array.from({ length: tiles }, (_, tile) => tile);
        expect(ascending([...ended.done, ...ended.parked])).toEqual(all);
      },
    );
    fc.assert(property, { numRuns: 300 });
  });

  test('two variants that fail everywhere end parked, with both failures named', () => {
    const host = { variants: TWO, chunkTiles: 8, fails: () => true, onRefusal: 'hold' } as const;
    const { parked, stuck, shard } = drive(host, 10, 2, [0, 1]);
    expect(stuck).toBeNull();
    expect(ascending(parked)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const message = shard.parked.first?.message ?? '';
    expect(message).toContain('sim/a@1: EXECUTOR_CRASHED');
    expect(message).toContain('sim/b@1: EXECUTOR_CRASHED: the executor ended by SIGSEGV');
  });

  test('the only variant never parks a tile: the refusal of its plan is followed', () => {
    const fails = (_: string, tile: number): boolean => tile === 3;
    const host = { variants: ['sim/a@1'], chunkTiles: 8, fails, onRefusal: 'fail' } as const;
    expect(drive(host, 8, 2, [0, 1])).toMatchObject({ stuck: 'PLAN_NO_VARIANT', parked: [] });
  });

  test('suspects that a new execution inherits still know what failed on them', () => {
    const host = { variants: TWO, chunkTiles: 1, fails: () => true, onRefusal: 'hold' } as const;
    const shard = openTestShard(1, 1);
    const lane = shard.lanes.get(0) as Lane;
    const planned = planStep(shard, lane, host);
    executeStep(shard, lane, host, typeof planned === 'string' ? planned : '');
    const progress = JSON.parse(JSON.stringify(progressOf(shard, 'open'))) as ReturnType<
      typeof progressOf
    >;
    const next = openTestShard(1, 1);
    Object.assign(next, { free: progress.free, suspects: progress.suspects });
    const nextLane = next.lanes.get(0) as Lane;
    expect(planStep(next, nextLane, host)).toBe('sim/b@1');
    executeStep(next, nextLane, host, 'sim/b@1');
    expect(next.parkedUnsealed).toMatchObject([{ tile: 0, errorClass: 'KERNEL_FAULT' }]);
  });
});

describe('what is remembered of failures', () => {
  test('exclusions are bounded however many hosts fail', () => {
    const run = openRun(runInput('run'), 0);
    for (let index = 0; index < 500; index += 1) {
      const excluded = [
        { variant: 'a@1', deviceId: 'cpu', host: `host-${index}`, failure: 'EXECUTOR_CRASHED' },
      ];
      learnFrom(run, { ...pendingShard(0, { firstTile: 0, endTile: 1 }), excluded });
    }
    expect(run.excluded).toHaveLength(EXCLUSIONS_MAX);
    expect(run.excluded.at(-1)?.host).toBe('host-499');
  });

  test('a run that parked too much says which tile, where, why, and what to do', () => {
    const first = {
      tile: 13,
      errorClass: 'TILE_DATA_ERROR',
      fingerprint: 'f',
      input: '/data/points/data-00002.arrow',
      planId: 'p',
      message: 'TILE_CORRUPT: column "x" has 9 bytes: expected 16',
    };
    expect(tooManySentence({ count: 3, first }, 2)).toBe(
      'too many tiles cannot be computed: expected at most 2, got 3; the first is tile 13 of ' +
        '/data/points/data-00002.arrow (TILE_DATA_ERROR): TILE_CORRUPT: column "x" has 9 bytes: ' +
        'expected 16; correct the input and start again, or raise limits.failedTiles to leave ' +
        'such tiles out',
    );
  });
});
