import { describe, expect, test } from 'vitest';
import { createHostActivities, PlannedWork } from '../../activities/index.ts';
import type { Plan } from '../../planner/index.ts';
import { REGISTRY } from '../../registry/index.ts';
import type { TelemetrySnapshot } from '../../telemetry/index.ts';
import type { PlanCall } from '../../workflows/activity-contract.ts';
import { createLane } from '../../workflows/lane.ts';
import { planCall } from '../../workflows/planning.ts';
import { openShard, reserve } from '../../workflows/shard-state.ts';
import { GPU_SNAPSHOT } from '../planner/fixtures.ts';
import { IDLE, SECOND } from '../planner/gpu-fixtures.ts';
import { LEASE, shardInput } from '../workflows/shard-values.ts';

describe('PlannedWork', () => {
  test('counts a planned chunk until it begins, one a lease', () => {
    const work = new PlannedWork(() => 0);
    work.planned('one', 'GPU-1');
    work.planned('two', 'GPU-1');
    work.planned('two', 'GPU-2');
    expect([work.count('GPU-1'), work.count('GPU-2'), work.count('cpu')]).toEqual([1, 1, 0]);
    work.ended('one');
    work.planned('two', null);
    expect([work.count('GPU-1'), work.count('GPU-2')]).toEqual([0, 0]);
  });

  test('forgets a chunk that never came', () => {
    let now = 0;
    const work = new PlannedWork(() => now);
    work.planned('one', 'GPU-1');
    now = 4_999;
    expect(work.count('GPU-1')).toBe(1);
    now = 5_000;
    expect(work.count('GPU-1')).toBe(0);
  });
});

describe('plans that are made at once', () => {
  const SNAPSHOT: TelemetrySnapshot = { ...GPU_SNAPSHOT, devices: [IDLE, SECOND] };

  function callOf(lane: number, leaseId: string): PlanCall {
    const input = shardInput(1_500_000);
    const shard = openShard({ ...input, spec: { ...input.spec, policy: 'probe-first@3' } });
    const reservation = reserve(shard, createLane(lane));
    if (reservation === null) throw new Error('nothing to reserve');
    const lease = { ...LEASE, leaseId, host: SNAPSHOT.host };
    const call = planCall(shard, createLane(lane), lease, reservation);
    const work = { ...call.request.work, operation: 'assign' };
    const requested = { mode: 'gpu', precision: 'auto' } as const;
    return { ...call, request: { ...call.request, work, requested } };
  }

  /** Activities of a host that does nothing but plan, over readings that take a moment. */
  function hostWith(work: PlannedWork) {
    let reading: Promise<TelemetrySnapshot> | null = null;
    return createHostActivities({
      registry: REGISTRY,
      leases: {
        claim: () => 'lease',
        hold: () => ({ renew: () => undefined, done: () => undefined }),
        release: () => undefined,
      },
      snapshot: () =>
        (reading ??= new Promise((resolve) => setTimeout(() => resolve(SNAPSHOT), 5))),
      plannedWork: work,
      slotsBusy: (deviceId) => work.count(deviceId),
    });
  }

  test('do not all take the device that their shared reading shows idle', async () => {
    const host = hostWith(new PlannedWork());
    const answers = await Promise.all(
      ['a', 'b', 'c', 'd'].map((id, lane) => host.plan(callOf(lane, id))),
    );
    const devices = answers.map(({ decision }) => (decision as Plan).deviceId);
    expect(devices.toSorted()).toEqual(['GPU-2', 'GPU-2', IDLE.deviceId, IDLE.deviceId].toSorted());
    const told = answers.map(({ snapshot }) => snapshot.devices.map(({ slotsBusy }) => slotsBusy));
    expect(told.map(([one = null, two = null]) => Number(one) + Number(two))).toEqual([0, 1, 2, 3]);
  });

  test('again for one lane count once', async () => {
    const work = new PlannedWork();
    const host = hostWith(work);
    const first = await host.plan(callOf(0, 'a'));
    const again = await host.plan(callOf(0, 'a'));
    expect(again.snapshot).toEqual(first.snapshot);
    expect(again.decision).toEqual(first.decision);
  });
});
