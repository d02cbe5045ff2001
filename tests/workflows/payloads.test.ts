// What is carried through continue-as-new stays within one payload, in the largest runs there are.
import { describe, expect, test } from 'vitest';
import { cutShards } from '../../activities/prepare.ts';
import type { ParkedTile, SegmentRef } from '../../workflows/activity-contract.ts';
import type { ShardProgress } from '../../workflows/messages.ts';
import { carriedOf, compact, openRun, parkedTiles, runStatus } from '../../workflows/run-state.ts';
import { pendingShard } from '../../workflows/run-state.ts';
import { runInput } from '../e2e/harness/simulated-values.ts';
import { preparedRun } from './shard-values.ts';

const PAYLOAD_MAX = 64 * 1024;
const TILES = 1_500_000;

const parked: ParkedTile = {
  tile: 1_234_567,
  errorClass: 'TILE_DATA_ERROR',
  fingerprint: '0123456789ab',
  input: '/a/folder/with/a/name/of/some/length/points/data-00012.arrow',
  planId: 'f'.repeat(64),
  message: 'm'.repeat(240),
};
const head = (shard: number): SegmentRef => ({
  file: `${shard}-00031-${'a'.repeat(12)}.json`,
  sha256: 'b'.repeat(64),
  previousSha256: 'c'.repeat(64),
});

function largeRun(): ReturnType<typeof openRun> {
  const prepared = { ...preparedRun(TILES), shards: cutShards(TILES, 1e6) };
  const run = openRun(runInput('0b7b6a39-3b4c-4b0e-8a77-4a3f7d5c9e01'), 1);
  run.prepared = prepared;
  run.shards = prepared.shards.map((range, shard): ShardProgress => {
    const state = shard < 80 ? 'done' : 'yielded';
    const counts = { ...pendingShard(0, range).counts, tilesDone: 15_000, rowsDone: 983_040_000 };
    const free = Array.from({ length: 8 }, (_, index) => ({
      firstTile: range.firstTile + 100 * index,
      endTile: range.firstTile + 100 * index + 50,
    }));
    return compact({
      ...pendingShard(shard, range),
      ...{ state, counts, head: head(shard), segments: 32 },
      free: state === 'done' ? [] : free,
      parked: { count: 63, first: parked },
    });
  });
  return run;
}

describe('a run of 96 shards with thousands of parked tiles', () => {
  test('carries less than one payload and goes on with the same facts', () => {
    const run = largeRun();
    const { prepared } = run;
    if (prepared === null) throw new Error('prepared');
    const input = { ...run.input, carried: carriedOf(run, prepared) };
    const text = JSON.stringify(input);
    expect(text.length).toBeLessThanOrEqual(PAYLOAD_MAX);
    const next = openRun(JSON.parse(text) as typeof input, 2);
    expect(next.shards.map(({ state, head: at }) => [state, at])).toEqual(
      run.shards.map(({ state, head: at }) => [state, at]),
    );
    expect(next.shards.flatMap(({ free }) => free)).toEqual(run.shards.flatMap(({ free }) => free));
    expect(parkedTiles(next).count).toBe(96 * 63);
    expect({ ...runStatus(next), startedAt: 0 }).toEqual({
      ...runStatus(run),
      startedAt: 0,
      phase: 'running',
    });
  });

  test('publishes with heads that fit one payload', () => {
    const heads = largeRun().shards.map(({ head: at }) => at);
    expect(JSON.stringify(heads).length).toBeLessThanOrEqual(PAYLOAD_MAX / 2);
  });
});
