// A shard's state without a server, and lanes that are driven by hand: each step is one plan and one
// execute of one lane, judged by the real state, reactions and bisection.
import type { OperatorState } from '../../operator/index.ts';
import type { HostLease, PreparedRun } from '../../workflows/activity-contract.ts';
import type { Failure } from '../../workflows/failures.ts';
import { createLane } from '../../workflows/lane.ts';
import type { ShardInput } from '../../workflows/messages.ts';
import { planCall } from '../../workflows/planning.ts';
import { react, reactToRefusal, type Reaction } from '../../workflows/reactions.ts';
import { pendingShard } from '../../workflows/run-state.ts';
import {
  commit,
  openShard,
  reserve,
  shrink,
  type Lane,
  type ShardState,
} from '../../workflows/shard-state.ts';
import { runInput, simulatedRefusal, WORK } from '../e2e/harness/simulated-values.ts';

export const LEASE: HostLease = {
  leaseId: '5f0c3f6e-6a52-4a3b-8a55-0c8f0a9d1d11',
  host: 'one',
  bootId: 'boot',
  hostQueue: 'tileloom.one',
  deviceQueues: { cpu: 'tileloom.one.cpu' },
  chunksMax: 32,
};

export function preparedRun(tiles: number): PreparedRun {
  return {
    contextPath: '/sink/records/context.json',
    contextDigest: 'c'.repeat(64),
    datasetDigest: 'd'.repeat(64),
    tiles,
    rows: tiles * 1000,
    tileRows: 1000,
    shards: [],
    work: WORK,
    warnings: [],
  };
}

export function shardInput(
  tiles: number,
  limits: Partial<OperatorState['limits']> = {},
): ShardInput {
  const { operator, tuning, runId } = runInput('0b7b6a39-3b4c-4b0e-8a77-4a3f7d5c9e01', { limits });
  return {
    schema: 'tileloom.shard-input/1',
    runId,
    spec: { name: 'simulated', mode: 'auto', precision: 'auto', policy: 'probe-first@2' },
    prepared: preparedRun(tiles),
    operator,
    tuning,
    progress: pendingShard(0, { firstTile: 0, endTile: tiles }),
  };
}

export function openTestShard(tiles: number, lanes: number): ShardState {
  const shard = openShard(shardInput(tiles, { failedTiles: tiles }));
  for (let index = 0; index < lanes; index += 1)
    shard.lanes.set(index, { ...createLane(index), lease: LEASE });
  return shard;
}

export interface SimulatedHost {
  readonly variants: readonly string[];
  readonly chunkTiles: number;
  readonly fails: (variant: string, tile: number) => boolean;
  readonly onRefusal: 'hold' | 'fail';
}

/** Plans what the lane holds, or reserves; leaves the lane with a planned range, or judged. */
export function planStep(shard: ShardState, lane: Lane, host: SimulatedHost): string | Reaction {
  const reservation = reserve(shard, lane);
  if (reservation === null) return 'idle';
  const { excluded } = planCall(shard, lane, LEASE, reservation).request;
  const variant = host.variants.find((name) => !excluded.some((one) => one.variant === name));
  if (variant === undefined) {
    return reactToRefusal(shard, lane, simulatedRefusal(host.variants, host.onRefusal), () => true);
  }
  shrink(shard, lane, host.chunkTiles);
  return variant;
}

/** Executes what `planStep` left planned. */
export function executeStep(
  shard: ShardState,
  lane: Lane,
  host: SimulatedHost,
  variant: string,
): Reaction | null {
  const range = lane.reservation;
  if (range === null) return null;
  for (let tile = range.firstTile; tile < range.endTile; tile += 1) {
    if (!host.fails(variant, tile)) continue;
    const attempt = { planId: 'p'.repeat(64), variant, deviceId: 'cpu', host: LEASE.host };
    return react(shard, lane, FAULT, attempt);
  }
  const rows = (range.endTile - range.firstTile) * 1000;
  const { firstTile, endTile } = range;
  commit(shard, lane, {
    part: { file: 'x.arrow', sha256: 'a'.repeat(64), bytes: 1, rows, firstTile, endTile },
    ...{ hits: rows, outside: 0, invalid: 0, deviceClass: 'cpu', image: 'i', peakBytes: 1 },
    seconds: { queued: 0, work: 1, read: 0, kernel: 1, write: 0 },
  });
  return null;
}

const FAULT: Failure = {
  kind: 'kernel-fault',
  code: 'EXECUTOR_CRASHED',
  message: 'the executor ended by SIGSEGV',
  tile: null,
  input: 'data-00000.arrow',
  fingerprint: null,
};
