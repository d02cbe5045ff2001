// Pins and limits on the real server, over SIMULATED activities: which plans they reach, and when.
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import type { PinWish } from '../../operator/index.ts';
import type { RunStatus } from '../../workflows/messages.ts';
import { STATUS_QUERY } from '../../workflows/messages.ts';
import {
  acknowledged,
  eventually,
  openShards,
  operate,
  refusalCode,
  requestOf,
  wish,
} from '../e2e/harness/operators.ts';
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

const pin = (...pins: PinWish[]) => requestOf({ verb: 'pin', pins });
const plain = (more: Partial<PinWish> = {}): PinWish =>
  wish({ aspect: 'variant', value: 'sim/plain@1', ...more });
const variantsOf = (): readonly string[] => work.executed().map(({ variant }) => variant);

describe('a pin', () => {
  test('that lands between plan and execute supersedes that plan', async () => {
    await fleet.addHost('one');
    const handle = await fleet.start(runInput(runId, { limits: { lanes: 1 } }));
    let set = false;
    work.onPlan = async ({ request }) => {
      if (request.where.chunk !== 2 || set) return;
      set = true;
      const { epoch } = await operate(handle, pin(plain()));
      await acknowledged(fleet.client, handle, epoch);
    };
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
    const variants = work.executed().map(({ chunk, variant }) => [chunk, variant]);
    expect(variants.filter(([, variant]) => variant === 'sim/quick@1')).toHaveLength(2);
    const second = work.planned().filter(({ request }) => request.where.chunk === 2);
    expect(second.map(({ request }) => request.pins.length)).toEqual([0, 1]);
    expect(second[1]?.request.pins[0]).toEqual({
      ...{ id: 'pin-2', aspect: 'variant', value: 'sim/plain@1', epoch: 2 },
    });
  });

  test('that expires between plan and execute supersedes that plan, too', async () => {
    await fleet.addHost('one');
    work.executeMs = 100;
    const handle = await fleet.start(runInput(runId, { limits: { lanes: 1 } }));
    await eventually(() => work.executed().length > 0);
    const { epoch } = await operate(handle, pin(plain({ ttlMs: 900 })));
    let met = -1;
    work.onPlan = async ({ request }) => {
      if (request.pins.length === 0 || met >= 0) return;
      met = request.where.chunk;
      await new Promise((resolve) => setTimeout(resolve, 1_100));
    };
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
    const status = await handle.query<RunStatus>(STATUS_QUERY);
    expect(status).toMatchObject({ epoch: epoch + 1, operator: { pins: [] } });
    expect(met).toBeGreaterThan(0);
    const plans = work.planned().filter(({ request }) => request.where.chunk === met);
    expect(plans.slice(-2).map(({ request }) => request.pins.length)).toEqual([1, 0]);
    expect(new Set(variantsOf())).toEqual(new Set(['sim/quick@1']));
  });

  test('for a number of chunks reaches exactly so many of each shard, whatever the lanes', async () => {
    await fleet.addHost('one', { capacity: 6 });
    work.leaseChunks = 4;
    const input = runInput(runId, { tuning: { shardTilesMax: 20 }, limits: { lanes: 3 } });
    const held = { mode: 'drain', by: 'bob', reason: '', epoch: 1, since: 0, until: null } as const;
    const handle = await fleet.start({ ...input, operator: { ...input.operator, pause: held } });
    const tiles = { kind: 'tiles', firstTile: 0, lastTile: 0 } as const;
    const few = plain({ ttlChunks: 3 });
    await operate(handle, pin(few, plain({ value: 'sim/quick@1', scope: tiles })));
    await operate(handle, requestOf({ verb: 'resume' }));
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
    for (const shard of [0, 1]) {
      const own = work.executed().filter((order) => order.shard === shard);
      expect(own.filter(({ variant }) => variant === 'sim/plain@1')).toHaveLength(3);
    }
    // The narrower pin of tile 0 wins there and takes no use of the other.
    expect(work.executed().find(({ firstTile }) => firstTile === 0)?.variant).toBe('sim/quick@1');
  });

  test('to a host moves all lanes there, or those tiles alone', async () => {
    await fleet.addHost('one', { chunksMax: 1 });
    await fleet.addHost('two', { chunksMax: 1 });
    work.executeMs = 30;
    const handle = await fleet.start(runInput(runId, { limits: { lanes: 1 } }));
    const tiles = { kind: 'tiles', firstTile: 17, lastTile: 24 } as const;
    await operate(handle, pin(wish({ aspect: 'host', value: 'two', scope: tiles })));
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
    const there = work.calls.flatMap((call) => {
      if (call.kind !== 'execute') return [];
      const { firstTile } = call.order;
      return firstTile >= 17 && firstTile <= 24 ? [call.host] : [];
    });
    expect(new Set(there)).toEqual(new Set(['two']));
  });

  test('that nobody can honour holds, says what would release it, and is released', async () => {
    await fleet.addHost('one');
    work.executeMs = 50;
    const handle = await fleet.start(runInput(runId, { limits: { lanes: 1 } }));
    const { pins } = await operate(handle, pin(plain({ value: 'sim/none@1' })));
    expect(pins).toEqual(['pin-2']);
    const sentence = await eventually(async () => {
      const [shard] = await openShards(fleet.client, handle);
      return shard?.lanes[0]?.state === 'holding' && shard.lanes[0].waiting;
    });
    expect(sentence).toContain(
      'clearing pin-2 (variant = sim/none@1 by ann: a test) would release it',
    );
    await operate(handle, requestOf({ verb: 'unpin', ids: ['pin-2'] }));
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
  });

  test('is refused when registry and hosts say so, or when something came between', async () => {
    await fleet.addHost('one');
    work.executeMs = 100;
    const handle = await fleet.start(runInput(runId, { limits: { lanes: 1 } }));
    work.onCheckPins = () => ['variant sim/x@1 is unknown: did you mean sim/plain@1?'];
    expect(await refusalCode(operate(handle, pin(plain())))).toBe('OPERATOR_PIN_IMPOSSIBLE');
    work.onCheckPins = async () => {
      await operate(handle, requestOf({ verb: 'limits', set: { lanes: 2 } }));
      return [];
    };
    const asked = { ...pin(plain()), expectedEpoch: 1 };
    expect(await refusalCode(operate(handle, asked))).toBe('OPERATOR_CONFLICT');
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
    expect(new Set(variantsOf())).toEqual(new Set(['sim/quick@1']));
  });
});

describe('limits', () => {
  test('take effect at the next boundary: lanes, seconds, memory, cadence', async () => {
    work = Object.assign(work, { dataset: { tiles: 90, tileRows: 1000, chunkTiles: 2 } });
    await fleet.addHost('one', { capacity: 4 });
    work.executeMs = 1;
    const running = new Set<number>();
    let most = 0;
    work.onExecute = async ({ chunk }) => {
      running.add(chunk);
      most = Math.max(most, running.size);
      await new Promise((resolve) => setTimeout(resolve, 60));
      running.delete(chunk);
    };
    const handle = await fleet.start(runInput(runId, { limits: { lanes: 1 } }));
    await eventually(() => work.executed().length >= 3);
    expect(most).toBe(1);
    const set = { lanes: 4, chunkSecondsTarget: 7, memoryBytesMax: 2 ** 30, cadence: 3 };
    const { epoch } = await operate(handle, requestOf({ verb: 'limits', set }));
    await eventually(() => most === 4);
    const told = work.planned().filter(({ request }) => request.where.epoch === epoch);
    expect(told[0]?.request.limits).toMatchObject({
      chunkSecondsTarget: 7,
      memoryBytesMax: 2 ** 30,
    });
    const down = await operate(handle, requestOf({ verb: 'limits', set: { lanes: 1 } }));
    await acknowledged(fleet.client, handle, down.epoch);
    await eventually(() => running.size <= 1);
    most = 0;
    expect(await handle.result()).toMatchObject({ phase: 'finished' });
    expect(most).toBeLessThanOrEqual(1);
    const plans = work.planned().filter(({ request }) => request.where.epoch === down.epoch);
    const done = work.executed().length;
    expect(plans.length).toBeLessThan(done);
  });
});
