// What is carried through continue-as-new stays within one payload, in the largest runs there are.
import { describe, expect, test } from 'vitest';
import { cutShards } from '../../activities/prepare.ts';
import {
  applyRequest,
  refusalOf,
  type OperatorCommand,
  type OperatorState,
} from '../../operator/index.ts';
import type { ParkedTile, SegmentRef } from '../../workflows/activity-contract.ts';
import type { ShardProgress } from '../../workflows/messages.ts';
import {
  carriedOf,
  compact,
  ledgerOf,
  openRun,
  parkedTiles,
  pendingShard,
  runStatus,
} from '../../workflows/run-state.ts';
import { requestOf, wish } from '../e2e/harness/operators.ts';
import { runInput } from '../e2e/harness/simulated-values.ts';
import { preparedRun, shardInput } from './shard-values.ts';

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

/** As full as operators can make it: pins with long reasons up to the bound, orders, request ids. */
function fullOperator(): OperatorState {
  let { operator } = runInput('0b7b6a39-3b4c-4b0e-8a77-4a3f7d5c9e01');
  const facts = { nowMs: 1_760_000_000_000, phase: 'running', tiles: TILES };
  const ask = (command: OperatorCommand, index: number): void => {
    const id = `${String(index).padStart(8, '0')}-3b4c-4b0e-8a77-4a3f7d5c9e01`;
    const request = requestOf(command, { id, by: 'ann@example.org', reason: 'r'.repeat(400) });
    if (refusalOf(operator, request, facts) !== null) throw new Error(`refused: ${id}`);
    operator = applyRequest(operator, request, facts).state;
  };
  for (let index = 0; index < 32; index += 1) {
    const scope = {
      kind: 'tiles',
      firstTile: 1_000 * index,
      lastTile: 1_000 * index + 99,
    } as const;
    const value = 'assign/grid-avx512-unrolled@12';
    const pin = wish({ aspect: 'variant', value, scope, ttlMs: 86_400_000, ttlChunks: 1_000 });
    ask({ verb: 'pin', pins: [pin] }, index);
  }
  for (let index = 32; index < 100; index += 1) {
    const select = {
      tiles: [{ firstTile: index, endTile: index + 1 }],
      fingerprint: 'f'.repeat(12),
    };
    ask({ verb: 'retry', select, pin: null }, index);
  }
  ask({ verb: 'pause', mode: 'drain', ttlMs: null }, 100);
  return operator;
}

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

describe('an operator state with 32 pins, 16 orders and 64 request ids', () => {
  const operator = fullOperator();

  test('is as full as it may be and stays below half a payload', () => {
    expect([operator.pins.length, operator.recent.length]).toEqual([32, 64]);
    expect(operator.parkedOrders.length).toBe(16);
    expect(JSON.stringify(operator).length).toBeLessThanOrEqual(PAYLOAD_MAX / 2 + 8 * 1024);
  });

  test('is carried by a run and by a shard within one payload', () => {
    const prepared = preparedRun(TILES);
    const shards = cutShards(TILES, 1e6).slice(0, 16);
    const input = runInput('0b7b6a39-3b4c-4b0e-8a77-4a3f7d5c9e01');
    const run = openRun({ ...input, operator }, 1);
    run.prepared = { ...prepared, shards };
    run.shards = shards.map((range, shard) => ({
      ...pendingShard(shard, range),
      ...{ state: 'yielded', head: head(shard), segments: 4 },
    }));
    const carried = { ...run.input, operator, carried: carriedOf(run, run.prepared) };
    expect(JSON.stringify(carried).length).toBeLessThanOrEqual(PAYLOAD_MAX);
    const pinUses = Object.fromEntries(operator.pins.map(({ id }) => [id, 999]));
    const progress = { ...pendingShard(0, { firstTile: 0, endTile: TILES }), pinUses };
    const shard = { ...shardInput(TILES), operator: { ...operator, recent: [] }, progress };
    expect(JSON.stringify(shard).length).toBeLessThanOrEqual(PAYLOAD_MAX);
  });
});

describe('a closed run', () => {
  test('is started again with nothing excluded and everything left over', () => {
    const run = largeRun();
    run.shards = run.shards.map((one) =>
      one.state === 'done' ? one : { ...one, state: one.shard % 2 === 0 ? 'failed' : 'cancelled' },
    );
    run.excluded = [{ variant: 'v', deviceId: 'cpu', host: 'h', failure: 'KERNEL_FAULT' }];
    run.pausedMs = 500;
    run.finishedAt = 2_000;
    const ledger = ledgerOf(run, 9_000);
    if (ledger === null) throw new Error('prepared');
    expect(ledger.generation).toBe(1);
    const next = openRun(ledger, 5_000);
    expect(new Set(next.shards.map(({ state }) => state))).toEqual(new Set(['done', 'yielded']));
    expect(next.excluded).toEqual([]);
    expect([next.startedAt, next.pausedMs]).toEqual([run.startedAt, 3_500]);
    expect(JSON.stringify(ledger).length).toBeLessThanOrEqual(PAYLOAD_MAX);
    expect(ledgerOf({ ...run, prepared: null }, 0)).toBeNull();
  });
});

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
