// The workflows on the real server, over SIMULATED activities: what they do when all goes well.
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import type { ShardStatus } from '../../workflows/messages.ts';
import { SHARD_STATUS_QUERY, STATUS_QUERY } from '../../workflows/messages.ts';
import type { RunStatus } from '../../workflows/messages.ts';
import { operate, requestOf } from '../e2e/harness/operators.ts';
import { startFleet, type Fleet } from '../e2e/harness/simulated-fleet.ts';
import { runInput } from '../e2e/harness/simulated-values.ts';
import { SimulatedWork } from '../e2e/harness/simulated-work.ts';

let work: SimulatedWork;
let fleet: Fleet;
let runId: string;

beforeEach(async () => {
  work = new SimulatedWork();
  fleet = await startFleet(inject('temporal').address, work);
  runId = randomUUID();
});
afterEach(() => fleet.close());

describe('runWorkflow', () => {
  test('computes each tile once over several shards and publishes', async () => {
    await fleet.addHost('one');
    const handle = await fleet.start(runInput(runId, { tuning: { shardTilesMax: 15 } }));
    const result = await handle.result();
    expect(result).toMatchObject({ runId, phase: 'finished', published: { tiles: 40 } });
    const status = await handle.query<RunStatus>(STATUS_QUERY);
    expect(status).toMatchObject({
      phase: 'finished',
      openShards: [],
      closed: { tilesDone: 40, rowsDone: 40_000, parked: 0 },
      error: null,
    });
    expect(work.executed().map(({ shard }) => shard)).toEqual(expect.arrayContaining([0, 1, 2]));
  });

  test('starts with a small probe and lets chunks grow to the hint of the plan', async () => {
    await fleet.addHost('one');
    await fleet.run(runInput(runId, { limits: { lanes: 1 } }));
    const sizes = work.executed().map(({ firstTile, endTile }) => endTile - firstTile);
    expect(sizes).toEqual([1, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3]);
    const [probe, next] = work.planned().map(({ request }) => request);
    expect(probe).toMatchObject({ previous: null, work: { chunkIndex: 0, rows: 1000 } });
    expect(next).toMatchObject({
      previous: { chunkRowsHint: 4000, actualSeconds: 0.9 },
      work: { chunkIndex: 1, rows: 4000, remainingRows: 39_000 },
    });
    expect(next?.history.entries[0]).toMatchObject({ variant: 'sim/quick@1', rows: 1000 });
  });

  test('continues shards and itself as new every few chunks and loses nothing', async () => {
    await fleet.addHost('one', { capacity: 4 });
    const tuning = {
      shardTilesMax: 10,
      openShardsMax: 2,
      shardEventsMax: 24,
      runEventsMax: 20,
      sealPartsMax: 3,
    };
    work.leaseChunks = 1;
    const handle = await fleet.start(runInput(runId, { tuning }));
    expect(await handle.result()).toMatchObject({ phase: 'finished', published: { tiles: 40 } });
    const executions = { run: 0, shards: 0 };
    for await (const { workflowId } of fleet.client.workflow.list({
      query: `WorkflowId STARTS_WITH 'tileloom/${runId}'`,
    })) {
      executions[workflowId.includes('/shard-') ? 'shards' : 'run'] += 1;
    }
    expect(executions.run).toBeGreaterThan(1);
    expect(executions.shards).toBeGreaterThan(4);
    const numbers = work.executed().map(({ shard, chunk }) => `${shard}/${chunk}`);
    expect(new Set(numbers).size).toBe(numbers.length);
  });

  test('recomputes the parts that a seal finds lost', async () => {
    await fleet.addHost('one');
    let losses = 0;
    work.onSeal = ({ parts }) => {
      losses += 1;
      return losses <= 2 ? parts.slice(0, 2) : [];
    };
    const handle = await fleet.start(runInput(runId, { tuning: { sealPartsMax: 4 } }));
    expect(await handle.result()).toMatchObject({ phase: 'finished', published: { tiles: 40 } });
    expect(await handle.query<RunStatus>(STATUS_QUERY)).toMatchObject({
      closed: { tilesDone: 40, rowsDone: 40_000 },
    });
    const seals = work.calls.flatMap((call) => (call.kind === 'seal' ? [call.request] : []));
    expect(Math.max(...seals.map(({ parts }) => parts.length))).toBeLessThanOrEqual(4);
    expect(seals.map(({ sequence }) => sequence)).toEqual(seals.map((_, index) => index));
  });

  test('plans again when the operator state changes between plan and execute', async () => {
    await fleet.addHost('one');
    const input = runInput(runId, { limits: { lanes: 1 } });
    const handle = await fleet.start(input);
    let told = false;
    work.onPlan = async ({ request }) => {
      if (request.where.chunk !== 2 || told) return;
      told = true;
      const command = { verb: 'limits', set: { chunkSecondsTarget: 2 } } as const;
      await operate(handle, requestOf(command));
      await new Promise((resolve) => setTimeout(resolve, 300));
    };
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
    const third = work.planned().filter(({ request }) => request.where.chunk === 2);
    expect(third.map(({ request }) => request.where.epoch)).toEqual([1, 2]);
    expect(work.executed().filter(({ chunk }) => chunk === 2)).toHaveLength(1);
  });

  test('executes further chunks under a plan lease without planning again', async () => {
    await fleet.addHost('one');
    work.leaseChunks = 3;
    await fleet.run(runInput(runId, { limits: { lanes: 1 } }));
    expect(work.executed()).toHaveLength(11);
    expect(work.planned()).toHaveLength(5);
  });

  test('gives leases back after their chunks, so that a host that joins gets work', async () => {
    await fleet.addHost('early', { chunksMax: 2, capacity: 1 });
    work.executeMs = 60;
    const running = fleet.run(runInput(runId, { limits: { lanes: 2 } }));
    await new Promise((resolve) => setTimeout(resolve, 300));
    await fleet.addHost('late', { chunksMax: 2, capacity: 1 });
    await running;
    const hosts = work.calls.flatMap((call) => (call.kind === 'execute' ? [call.host] : []));
    expect(new Set(hosts)).toEqual(new Set(['early', 'late']));
    const claims = work.calls.filter(({ kind }) => kind === 'claim').length;
    const releases = work.calls.filter(({ kind }) => kind === 'release').length;
    expect(claims).toBeGreaterThanOrEqual(6);
    expect(releases).toBe(claims);
  });

  test('answers queries that add up while it runs', async () => {
    await fleet.addHost('one');
    work.executeMs = 150;
    const handle = await fleet.start(runInput(runId));
    let seen: ShardStatus | null = null;
    while (seen === null || seen.counts.tilesDone === 0) {
      const status = await handle.query<RunStatus>(STATUS_QUERY);
      const [open] = status.openShards;
      if (open === undefined) continue;
      const shard = fleet.client.workflow.getHandle(open.workflowId);
      seen = await shard.query<ShardStatus>(SHARD_STATUS_QUERY).catch(() => null);
    }
    expect(seen.tilesRunning).toBeGreaterThan(0);
    expect(seen.counts.tilesDone + seen.tilesRunning).toBeLessThanOrEqual(40);
    expect(seen.lanes.map(({ host }) => host)).toContain('one');
    await handle.result();
  });
});
