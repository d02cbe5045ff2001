import { describe, expect, test } from 'vitest';
import type { Failure } from '../../workflows/failures.ts';
import { react, type Attempt } from '../../workflows/reactions.ts';
import { reserve, type Lane, type ShardState } from '../../workflows/shard-state.ts';
import { LEASE, openTestShard } from './shard-values.ts';

const ATTEMPT: Attempt = {
  ...{ planId: 'p'.repeat(64), variant: 'assign/cuda-grid-fp64@1', deviceId: 'GPU-1' },
  host: LEASE.host,
};
const CROWDED: Failure = {
  ...{ kind: 'moved-on', code: 'INDEX_EXCEEDS_DEVICE', tile: null, input: null, fingerprint: null },
  message: 'the index has no room on the device beside those in use',
};

function fail(shard: ShardState, lane: Lane, failure: Failure): void {
  lane.lease = LEASE;
  if (reserve(shard, lane) === null) throw new Error('nothing to reserve');
  const { failure: ending } = react(shard, lane, failure, ATTEMPT);
  expect(ending).toBeNull();
}

describe('a layer that finds no room beside those of other runs', () => {
  test('is tried again a few times, and then the variant is excluded there', () => {
    const shard = openTestShard(40, 1);
    const [lane] = shard.lanes.values();
    if (lane === undefined) throw new Error('no lane');
    for (let time = 1; time <= 5; time += 1) {
      fail(shard, lane, CROWDED);
      expect([shard.excluded, shard.suspects, lane.hostLosses]).toEqual([[], [], time]);
    }
    fail(shard, lane, CROWDED);
    expect(shard.excluded).toMatchObject([
      { variant: ATTEMPT.variant, deviceId: 'GPU-1', failure: 'INDEX_EXCEEDS_DEVICE' },
    ]);
    expect(shard.parked.count).toBe(0);
  });

  test('is no reason to exclude anything where a host was lost for another one', () => {
    const shard = openTestShard(40, 1);
    const [lane] = shard.lanes.values();
    if (lane === undefined) throw new Error('no lane');
    for (let time = 1; time <= 12; time += 1) {
      fail(shard, lane, { ...CROWDED, code: 'EXECUTOR_BYSTANDER' });
    }
    expect(shard.excluded).toEqual([]);
  });
});
