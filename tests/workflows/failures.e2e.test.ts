// The workflows on the real server, over SIMULATED activities: what they do when something fails.
// In each case the simulated publish checks that the ledger names each tile exactly once.
import { randomUUID } from 'node:crypto';
import { WorkflowFailedError } from '@temporalio/client';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import type { PlanRefusal } from '../../planner/index.ts';
import type { ExecuteOrder, FailureType } from '../../workflows/activity-contract.ts';
import { QUEUES } from '../../workflows/activity-contract.ts';
import { STATUS_QUERY, type RunInput, type RunStatus } from '../../workflows/messages.ts';
import { operate, requestOf } from '../e2e/harness/operators.ts';
import { startFleet, type Fleet } from '../e2e/harness/simulated-fleet.ts';
import { failure, runInput, simulatedRefusal } from '../e2e/harness/simulated-values.ts';
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

const holds = (order: ExecuteOrder, tile: number): boolean =>
  order.firstTile <= tile && tile < order.endTile;

/** The failure a run ended with. */
async function failureOf(result: Promise<unknown>): Promise<{ type: string; message: string }> {
  const error = await result.then(
    () => {
      throw new Error('the run did not fail');
    },
    (caught: unknown) => caught,
  );
  if (!(error instanceof WorkflowFailedError)) throw error;
  const { type, message } = error.cause as unknown as { type: string; message: string };
  return { type, message };
}

describe('failures of execute', () => {
  test.each<FailureType>([
    'LEASE_LOST',
    'HOST_DRAINING',
    'RESIDENCY_LOST',
    'HOST_RESTARTED',
    'INPUT_UNAVAILABLE',
  ])('%s is tried again, never parked, however often it comes', async (type) => {
    await fleet.addHost('one');
    let failures = 0;
    work.onExecute = () => {
      failures += 1;
      if (failures <= 3) throw failure(type);
    };
    const result = await fleet.run(runInput(runId));
    expect(result).toMatchObject({ phase: 'finished', published: { tiles: 40, parkedTiles: 0 } });
  });

  test('OUT_OF_MEMORY makes chunks smaller', async () => {
    await fleet.addHost('one');
    work.onExecute = ({ firstTile, endTile }) => {
      if (endTile - firstTile > 2) throw failure('OUT_OF_MEMORY');
    };
    const result = await fleet.run(runInput(runId));
    expect(result).toMatchObject({ phase: 'finished', published: { parkedTiles: 0 } });
    const limits = work.planned().map(({ request }) => request.limits.chunkRowsMax);
    expect(limits.at(-1)).toBe(2000);
  });

  test('KERNEL_FAULT excludes the variant on that device', async () => {
    await fleet.addHost('one');
    work.onExecute = ({ variant }) => {
      if (variant === 'sim/quick@1') throw failure('KERNEL_FAULT');
    };
    const result = await fleet.run(runInput(runId));
    expect(result).toMatchObject({ phase: 'finished', published: { parkedTiles: 0 } });
    expect(work.planned().at(-1)?.request.excluded).toEqual([
      { variant: 'sim/quick@1', deviceId: 'cpu', failure: 'KERNEL_FAULT' },
    ]);
    const quick = work.executed().filter(({ variant }) => variant === 'sim/quick@1');
    expect(quick.length).toBeLessThanOrEqual(2);
  });

  test('KERNEL_FAULT of every variant on one tile parks it and lifts the exclusions', async () => {
    await fleet.addHost('one');
    work.onExecute = (order) => {
      if (holds(order, 13)) throw failure('KERNEL_FAULT');
    };
    const result = await fleet.run(runInput(runId, { limits: { failedTiles: 1, lanes: 1 } }));
    expect(result).toMatchObject({ phase: 'partial', published: { tiles: 40, parkedTiles: 1 } });
    const parked = work.calls.flatMap((call) => (call.kind === 'seal' ? call.request.parked : []));
    expect(parked).toMatchObject([{ tile: 13, errorClass: 'KERNEL_FAULT', fingerprint: 'f00d' }]);
    const alone = work.executed().filter((order) => order.firstTile === 13 && order.endTile === 14);
    expect(alone.map(({ variant }) => variant)).toEqual(['sim/quick@1', 'sim/plain@1']);
    expect(work.planned().at(-1)?.request.excluded).toEqual([]);
  });

  test('a fault with no second variant to compare never parks a tile', async () => {
    await fleet.addHost('one');
    work.variants = ['sim/quick@1'];
    work.onExecute = (order) => {
      if (holds(order, 13)) throw failure('KERNEL_FAULT');
    };
    const limits = { failedTiles: 5, lanes: 1 };
    expect(await failureOf(fleet.run(runInput(runId, { limits })))).toMatchObject({
      type: 'PLAN_NO_VARIANT',
    });
    expect(work.calls.flatMap((call) => (call.kind === 'seal' ? call.request.parked : []))).toEqual(
      [],
    );
  });

  test.each([null, 22])('TILE_DATA_ERROR (tile %s named) parks that tile alone', async (named) => {
    await fleet.addHost('one');
    work.onExecute = (order) => {
      if (holds(order, 22)) throw failure('TILE_DATA_ERROR', { tile: named, code: 'TILE_CORRUPT' });
    };
    const handle = await fleet.start(runInput(runId, { limits: { failedTiles: 2 } }));
    expect(await handle.result()).toMatchObject({
      phase: 'partial',
      published: { tiles: 40, parkedTiles: 1 },
    });
    expect(await handle.query<RunStatus>(STATUS_QUERY)).toMatchObject({
      closed: { tilesDone: 39, parked: 1 },
    });
  });

  test('more parked tiles than the limit fail the run, with everything sealed', async () => {
    await fleet.addHost('one');
    work.onExecute = (order) => {
      if ([5, 17, 33].some((tile) => holds(order, tile))) throw failure('TILE_DATA_ERROR');
    };
    const input = runInput(runId, { limits: { failedTiles: 1 }, tuning: { shardTilesMax: 10 } });
    const handle = await fleet.start(input);
    const failed = await failureOf(handle.result());
    expect(failed.type).toBe('RUN_TOO_MANY_FAILED_TILES');
    expect(failed.message).toMatch(/expected at most 1, got [23]; the first is tile (5|17|33) of/u);
    expect(failed.message).toContain('data-00000.arrow (TILE_DATA_ERROR): TILE_DATA_ERROR');
    expect(work.calls.some(({ kind }) => kind === 'publish')).toBe(false);
    const answered = await handle.query<RunStatus>(STATUS_QUERY);
    expect(answered).toMatchObject({ phase: 'failed', error: { code: failed.type } });
    const sealed = [...work.segments.values()].flatMap(({ parts }) => parts);
    expect(sealed.reduce((sum, part) => sum + part.endTile - part.firstTile, 0)).toBe(
      answered.closed.tilesDone,
    );
  });

  test('REFUSED fails the run with its own code after sealing what is done', async () => {
    await fleet.addHost('one');
    work.onExecute = (order) => {
      if (holds(order, 30)) throw failure('REFUSED', { code: 'DATASET_CHANGED' });
    };
    expect(await failureOf(fleet.run(runInput(runId)))).toMatchObject({ type: 'DATASET_CHANGED' });
    const sealed = [...work.segments.values()].flatMap(({ parts }) => parts);
    expect(sealed.length).toBeGreaterThan(3);
  });

  test('a bug in an activity is tried a few times, then fails the run', async () => {
    await fleet.addHost('one');
    work.onExecute = () => {
      throw new TypeError('undefined is not a function');
    };
    const failed = await failureOf(fleet.run(runInput(runId, { limits: { lanes: 1 } })));
    expect(failed).toMatchObject({ type: 'RUN_ACTIVITY_FAILED' });
    expect(work.executed()).toHaveLength(5);
  });

  test('DISK_FULL holds, says so, and goes on when there is room', async () => {
    await fleet.addHost('one');
    let full = true;
    work.onExecute = () => {
      if (full) throw failure('DISK_FULL');
    };
    const input = runInput(runId, { limits: { lanes: 1 } });
    const handle = await fleet.start(input);
    const waiting = await shardWaiting(handle.workflowId, (text) => text.includes('disk full'));
    expect(waiting).toContain('next try at');
    full = false;
    await operate(handle, requestOf({ verb: 'limits', set: { chunkSecondsTarget: 2 } }));
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
  });
});

describe('many parked tiles', () => {
  test('are sealed in portions, each far below a payload', async () => {
    work = Object.assign(work, { dataset: { tiles: 100, tileRows: 1000, chunkTiles: 4 } });
    await fleet.addHost('one');
    work.onExecute = () => {
      throw failure('TILE_DATA_ERROR');
    };
    const handle = await fleet.start(runInput(runId, { limits: { failedTiles: 100 } }));
    expect(await handle.result()).toMatchObject({ published: { tiles: 100, parkedTiles: 100 } });
    const seals = work.calls.flatMap((call) => (call.kind === 'seal' ? [call.request] : []));
    expect(Math.max(...seals.map(({ parked }) => parked.length))).toBeLessThanOrEqual(32);
  });
});

describe('hosts that go', () => {
  test('a lane without a host does not keep a shard open that has nothing left to do', async () => {
    const host = await fleet.addHost('one', { capacity: 1 });
    work.onExecute = ({ endTile }) => {
      // From the last chunk on nobody answers a claim any more.
      if (endTile === 40) host.pool.drain();
    };
    const result = await fleet.run(runInput(runId, { limits: { lanes: 2 } }));
    expect(result).toMatchObject({ phase: 'finished', published: { tiles: 40 } });
  });

  test('a host that does not pick its work up is left after schedule-to-start', async () => {
    await fleet.addHost('deaf', { capacity: 1, deaf: true });
    const handle = await fleet.start(runInput(runId, { limits: { lanes: 2 } }));
    while (work.planned().length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    await fleet.addHost('alive', { capacity: 2 });
    expect(await handle.result()).toMatchObject({ phase: 'finished', published: { tiles: 40 } });
    const hosts = work.calls.flatMap((call) => (call.kind === 'execute' ? [call.host] : []));
    expect(new Set(hosts)).toEqual(new Set(['alive']));
  });

  test('a silent execute is computed again, and what it commits late does not count', async () => {
    await fleet.addHost('one', { capacity: 3 });
    let zombieEnds = 0;
    let silent: number | null = null;
    work.isSilent = ({ chunk }) => chunk === silent;
    work.onExecute = async ({ chunk }) => {
      if (chunk < 4 || silent !== null) return;
      silent = chunk;
      await new Promise((resolve) => setTimeout(resolve, 5_500));
      zombieEnds += 1;
    };
    work.executeMs = 250;
    expect(await fleet.run(runInput(runId))).toMatchObject({ published: { tiles: 40 } });
    while (zombieEnds === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    const orders = work.executed().filter(({ chunk }) => chunk === silent);
    expect(orders).toHaveLength(1);
    const again = work.executed().filter(({ firstTile }) => firstTile === orders[0]?.firstTile);
    expect(again).toHaveLength(2);
  });

  test('a host that vanishes costs its chunk, which another host computes', async () => {
    const first = await fleet.addHost('first', { capacity: 2 });
    let vanished = false;
    let release = (): void => undefined;
    const stuck = new Promise<void>((resolve) => {
      release = resolve;
    });
    work.onExecute = async (order, host) => {
      if (host === 'first' && order.chunk >= 3) {
        vanished = true;
        await stuck;
      }
    };
    const running = fleet.run(runInput(runId));
    while (!vanished) await new Promise((resolve) => setTimeout(resolve, 20));
    await first.vanish();
    await fleet.addHost('second', { capacity: 2 });
    expect(await running).toMatchObject({ phase: 'finished', published: { tiles: 40 } });
    release();
  });

  test('a draining host finishes, answers HOST_DRAINING, and another goes on', async () => {
    const first = await fleet.addHost('first', { capacity: 2 });
    work.executeMs = 40;
    const running = fleet.run(runInput(runId));
    while (work.executed().length < 3) await new Promise((resolve) => setTimeout(resolve, 10));
    first.pool.drain();
    await fleet.addHost('second');
    expect(await running).toMatchObject({ phase: 'finished', published: { tiles: 40 } });
    const hosts = work.calls.flatMap((call) => (call.kind === 'execute' ? [call.host] : []));
    expect(hosts.at(-1)).toBe('second');
  });

  test('says what it waits for when no host answers', async () => {
    const handle = await fleet.start(runInput(runId));
    const waiting = await shardWaiting(handle.workflowId, () => true);
    expect(waiting).toContain(QUEUES.poolAny);
  });
});

describe('plans that are refused', () => {
  test('hold, with the reason, until the operator state changes', async () => {
    await fleet.addHost('one');
    let refused = true;
    work.onPlan = async () => (refused ? simulatedRefusal(work.variants, 'hold') : undefined);
    const input = runInput(runId, { limits: { lanes: 1 } });
    const handle = await fleet.start(input);
    const waiting = await shardWaiting(handle.workflowId, (text) => text.includes('PLAN_NO'));
    expect(waiting).toContain('sim/quick@1 EXCLUDED');
    refused = false;
    await operate(handle, requestOf({ verb: 'limits', set: { chunkSecondsTarget: 2 } }));
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
  });

  test('fail the run with the code of the refusal', async () => {
    await fleet.addHost('one');
    work.onPlan = async () => simulatedRefusal(work.variants, 'fail');
    expect(await failureOf(fleet.run(runInput(runId)))).toMatchObject({ type: 'PLAN_NO_VARIANT' });
  });
});

describe('plans for GPUs that a host refuses, and not to be waited for', () => {
  const onGpus = (hostTimeoutMs = 5_000): RunInput => {
    const input = runInput(runId, { tuning: { hostTimeoutMs } });
    const plan = { ...input.spec.plan, mode: 'gpu', ifImpossible: 'fail' } as const;
    return { ...input, spec: { ...input.spec, plan } };
  };
  const refusal = (): PlanRefusal => ({
    ...simulatedRefusal(work.variants, 'fail'),
    reasons: [
      { code: 'DEVICE_OUT_OF_SERVICE', params: { device: 'GPU-1', why: 'DEVICE_LOST: gone' } },
      { code: 'RELEASE_BY_DEVICE', params: { kind: 'gpu' } },
    ],
  });

  test('are made by another host with a GPU', async () => {
    const hosts = new Set<string>();
    work.onPlan = async (_, host) => (host === 'broken' ? refusal() : undefined);
    work.onExecute = (_, host) => void hosts.add(host);
    const handle = await fleet.start(onGpus());
    await fleet.addHost('broken', { cuda: true });
    await expect.poll(() => work.planned().length, { timeout: 20_000 }).toBeGreaterThan(0);
    await fleet.addHost('sound', { cuda: true });
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
    expect(hosts).toEqual(new Set(['sound']));
  });

  test('fail the run when the same host refuses again and again', async () => {
    await fleet.addHost('broken', { cuda: true });
    work.onPlan = async () => refusal();
    const { type, message } = await failureOf(fleet.run(onGpus()));
    expect(type).toBe('PLAN_NO_VARIANT');
    expect(message).toContain('DEVICE_LOST: gone');
    expect(work.planned().length).toBeGreaterThan(2);
  });

  test('are not waited for where no host with a GPU is there any more', async () => {
    const wishes: string[] = [];
    work.onRequireGpu = ({ wish }) => {
      wishes.push(wish);
      if (wishes.length > 1) throw failure('REFUSED', { code: 'NO_GPU_HOST' });
    };
    const { type } = await failureOf(fleet.run(onGpus(100)));
    expect(type).toBe('NO_GPU_HOST');
    expect(new Set(wishes)).toEqual(new Set(['plan.mode gpu']));
  });

  test('fail the run when no other host answers', async () => {
    const broken = await fleet.addHost('broken', { cuda: true });
    const vanishing: Promise<void>[] = [];
    work.onPlan = async () => {
      if (vanishing.length === 0) vanishing.push(broken.vanish());
      return refusal();
    };
    const { type, message } = await failureOf(fleet.run(onGpus(400)));
    expect(type).toBe('PLAN_NO_VARIANT');
    expect(message).toContain('no other host with a GPU in service has answered');
    await Promise.all(vanishing);
  });
});

describe('preparing and cancelling', () => {
  test('a refused preparation fails the run with its own code', async () => {
    work.onPrepare = () => {
      throw failure('REFUSED', { code: 'SINK_CLAIMED' });
    };
    expect(await failureOf(fleet.run(runInput(runId)))).toMatchObject({ type: 'SINK_CLAIMED' });
  });

  test('a preparation without its input waits and goes on', async () => {
    await fleet.addHost('one');
    let attempts = 0;
    work.onPrepare = () => {
      attempts += 1;
      if (attempts < 3) throw failure('INPUT_UNAVAILABLE');
    };
    expect(await fleet.run(runInput(runId))).toMatchObject({ phase: 'finished' });
  });

  test('cancel stops the chunks in flight and seals what is done', async () => {
    await fleet.addHost('one');
    work.executeMs = 200;
    const handle = await fleet.start(runInput(runId));
    while (work.executed().length < 6) await new Promise((resolve) => setTimeout(resolve, 20));
    const began = performance.now();
    await handle.cancel();
    await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
    expect(performance.now() - began).toBeLessThan(4_000);
    const status = await handle.query<RunStatus>(STATUS_QUERY);
    expect(status).toMatchObject({ phase: 'cancelled', openShards: [] });
    const sealed = [...work.segments.values()].flatMap(({ parts }) => parts);
    expect(sealed.length).toBeGreaterThan(0);
    expect(sealed.reduce((sum, part) => sum + part.endTile - part.firstTile, 0)).toBe(
      status.closed.tilesDone,
    );
  });
});

describe('a disk that stays full', () => {
  test('does not keep a cancelled run from ending', async () => {
    await fleet.addHost('one');
    work.executeMs = 150;
    work.onSeal = () => {
      throw failure('DISK_FULL');
    };
    const handle = await fleet.start(runInput(runId, { tuning: { sealPartsMax: 2 } }));
    while (work.executed().length < 8) await new Promise((resolve) => setTimeout(resolve, 20));
    const began = performance.now();
    await handle.cancel();
    await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
    expect(performance.now() - began).toBeLessThan(12_000);
  });
});

/** What a lane of the first open shard waits for. */
async function shardWaiting(
  workflowId: string,
  accept: (sentence: string) => boolean,
): Promise<string> {
  const shard = fleet.client.workflow.getHandle(`${workflowId}/shard-0`);
  for (let attempt = 0; attempt < 400; attempt += 1) {
    const status = await shard
      .query<{ lanes: { waiting: string | null }[] }>('shardStatus')
      .catch(() => null);
    const sentence = status?.lanes.map(({ waiting }) => waiting).find((text) => text !== null);
    if (sentence !== undefined && sentence !== null && accept(sentence)) return sentence;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('no lane waits');
}
