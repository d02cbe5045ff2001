// Pauses on the real server, over SIMULATED activities: what starts, what ends, what it costs.
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { OPERATE_SIGNAL, STATUS_QUERY, type RunStatus } from '../../workflows/messages.ts';
import {
  acknowledged,
  eventually,
  openShards,
  operate,
  refusalCode,
  requestOf,
} from '../e2e/harness/operators.ts';
import { pauseFacts, runHistories, shardHistories } from '../e2e/harness/run-history.ts';
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

const pause = (mode: 'drain' | 'now' = 'drain', ttlMs: number | null = null) =>
  requestOf({ verb: 'pause', mode, ttlMs });
const resume = () => requestOf({ verb: 'resume' });
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Seeded numbers in [0, 1), so that a failure can be had again. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describe('a pause', () => {
  test('lets no execute start between acknowledgement and resume, 50 times at random', async () => {
    work = Object.assign(work, { dataset: { tiles: 4_000, tileRows: 1000, chunkTiles: 2 } });
    work.executeMs = 15;
    await fleet.addHost('one', { capacity: 8, chunksMax: 1000 });
    const tuning = { shardTilesMax: 2_000, shardEventsMax: 400 };
    const handle = await fleet.start(runInput(runId, { tuning, limits: { lanes: 2 } }));
    const random = randomOf(20_261_123);
    await eventually(() => work.executed().length > 3);
    for (let round = 0; round < 50; round += 1) {
      const begun = work.executed().length;
      if (random() < 0.6) await eventually(() => work.executed().length > begun);
      await sleep(random() * 20);
      const { epoch } = await operate(handle, pause(random() < 0.5 ? 'drain' : 'now'));
      if (random() < 0.7) await acknowledged(fleet.client, handle, epoch);
      await sleep(random() * 30);
      await operate(handle, resume());
    }
    await handle.terminate('seen enough');
    const facts = (await shardHistories(fleet.client, runId)).map(pauseFacts);
    expect(facts.length).toBeGreaterThan(3);
    expect(facts.flatMap(({ scheduledWhilePaused }) => scheduledWhilePaused)).toEqual([]);
    expect(facts.reduce((sum, { pauses }) => sum + pauses, 0)).toBeGreaterThanOrEqual(100);
    expect(facts.reduce((sum, { executes }) => sum + executes, 0)).toBeGreaterThan(50);
  });

  test('drains chunks in flight, costs no events while it lasts, and ends by its time', async () => {
    await fleet.addHost('one');
    work.executeMs = 300;
    const handle = await fleet.start(runInput(runId));
    await eventually(() => work.executed().length >= 2);
    const asked = pause('drain', 2_500);
    const { epoch, entry } = await operate(handle, asked);
    expect(entry).toMatchObject({ verb: 'pause', by: 'ann', epoch });
    const [draining] = await acknowledged(fleet.client, handle, epoch);
    expect(draining?.tilesRunning).toBeGreaterThan(0);
    const drained = await eventually(async () => {
      const [shard] = await openShards(fleet.client, handle);
      return shard?.tilesRunning === 0 && shard;
    });
    expect(drained.lanes.map(({ state, waiting }) => [state, waiting?.slice(0, 13)])).toEqual(
      drained.lanes.map(() => ['holding', 'paused by ann']),
    );
    await eventually(() => {
      const held = work.calls.filter(({ kind }) => kind === 'claim').length;
      return work.calls.filter(({ kind }) => kind === 'release').length === held;
    });
    await sleep(300);
    const length = async (): Promise<readonly number[]> =>
      [
        ...(await runHistories(fleet.client, runId)),
        ...(await shardHistories(fleet.client, runId)),
      ].map((events) => events.length);
    const before = await length();
    const chunks = work.executed().length;
    await sleep(600);
    expect(await length()).toEqual(before);
    expect(work.executed()).toHaveLength(chunks);
    const status = await handle.query<RunStatus>(STATUS_QUERY);
    expect(status).toMatchObject({ operator: { pause: { mode: 'drain' } }, pausedMs: 0 });
    expect(status.waiting).toContain('paused by ann until');
    const attributesOf = async (): Promise<unknown> => (await handle.describe()).searchAttributes;
    expect(await attributesOf()).toMatchObject({
      TileloomPausedBy: ['ann'],
      TileloomPhase: ['running'],
    });
    work.executeMs = 5;
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
    const after = await handle.query<RunStatus>(STATUS_QUERY);
    const query = `WorkflowId = '${handle.workflowId}' AND TileloomPausedBy IS NULL`;
    await eventually(async () => (await fleet.client.workflow.count(query)).count === 1);
    expect(after).toMatchObject({ pausedMs: 2_500, operator: { pause: null }, epoch: epoch + 1 });
  });

  test('now cancels what is in flight, also when it was draining before', async () => {
    await fleet.addHost('one');
    work.executeMs = 30_000;
    const handle = await fleet.start(runInput(runId));
    await eventually(() => work.executed().length >= 2);
    await operate(handle, pause('drain'));
    const { epoch } = await operate(handle, pause('now'));
    await eventually(async () => {
      const shards = await acknowledged(fleet.client, handle, epoch);
      return shards.every(({ tilesRunning }) => tilesRunning === 0);
    });
    const [shard] = await openShards(fleet.client, handle);
    expect(shard?.counts).toMatchObject({ chunks: 0, failures: 0 });
    work.executeMs = 5;
    await operate(handle, resume());
    expect(await handle.result()).toMatchObject({ phase: 'finished', published: { tiles: 40 } });
  });

  test('opens no shard and begins no publish, but prepares', async () => {
    await fleet.addHost('one');
    const input = runInput(runId);
    const held = { mode: 'drain', by: 'bob', reason: '', epoch: 1, since: 0, until: null } as const;
    const handle = await fleet.start({ ...input, operator: { ...input.operator, pause: held } });
    const ready = await eventually(async () => {
      const status = await handle.query<RunStatus>(STATUS_QUERY);
      return status.phase === 'running' && status;
    });
    expect(ready).toMatchObject({ tiles: 40, openShards: [], waiting: 'paused by bob' });
    await sleep(200);
    expect(work.calls).toEqual([]);
    const skip = requestOf({ verb: 'skip', select: { tiles: null, fingerprint: null } });
    expect(await refusalCode(operate(handle, skip))).toBe('OPERATOR_NOTHING_PARKED');
    work.executeMs = 40;
    await operate(handle, resume());
    await eventually(() => work.executed().some(({ endTile }) => endTile === 40));
    const { epoch } = await operate(handle, pause('drain'));
    await eventually(async () => {
      const status = await handle.query<RunStatus>(STATUS_QUERY);
      return status.openShards.length === 0 || (await drainedOf(handle, epoch));
    });
    await sleep(200);
    expect(work.calls.some(({ kind }) => kind === 'publish')).toBe(false);
    await operate(handle, resume());
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
  });

  const drainedOf = async (handle: Awaited<ReturnType<Fleet['start']>>, epoch: number) => {
    const shards = await openShards(fleet.client, handle);
    return shards.every((one) => one.epoch >= epoch && one.tilesRunning === 0);
  };
});

describe('requests', () => {
  test('are applied once, whether they come as Update, again, or as a signal', async () => {
    await fleet.addHost('one');
    work.executeMs = 100;
    const handle = await fleet.start(runInput(runId));
    const asked = pause();
    const first = await operate(handle, asked);
    expect(first).toMatchObject({ changed: true, epoch: 2 });
    const other = { ...asked, reason: 'sent again' };
    const again = handle.executeUpdate('operate', { args: [other], updateId: randomUUID() });
    expect(await again).toMatchObject({ changed: false, epoch: 2, entry: null });
    await handle.signal(OPERATE_SIGNAL, asked);
    const released = resume();
    await handle.signal(OPERATE_SIGNAL, released);
    expect(await operate(handle, released)).toMatchObject({ epoch: 3 });
    expect(await operate(handle, resume())).toMatchObject({ changed: false, epoch: 3 });
    await handle.signal(OPERATE_SIGNAL, requestOf({ verb: 'cancel' }));
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
  });

  test('that are too late, out of date or no requests are refused without a trace', async () => {
    await fleet.addHost('one');
    work.executeMs = 50;
    const handle = await fleet.start(runInput(runId));
    const late = { ...pause(), notAfter: Date.now() - 1_000 };
    expect(await refusalCode(operate(handle, late))).toBe('OPERATOR_REQUEST_EXPIRED');
    const stale = { ...pause(), expectedEpoch: 7 };
    expect(await refusalCode(operate(handle, stale))).toBe('OPERATOR_CONFLICT');
    const broken = handle.executeUpdate('operate', { args: [{ verb: 'pause' }] as never });
    expect(await refusalCode(broken)).toBe('OPERATOR_REQUEST_INVALID');
    await handle.result();
    const [events] = await runHistories(fleet.client, runId);
    const updates = events?.filter((event) => event.workflowExecutionUpdateAcceptedEventAttributes);
    expect(updates).toEqual([]);
  });
});
