// Parked tiles, cancellation, retries of closed runs and requests during continue-as-new on the real
// server, over SIMULATED activities. The simulated publish checks that each tile is committed once.
import { randomUUID } from 'node:crypto';
import { CancelledFailure, WorkflowFailedError } from '@temporalio/client';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { reopen, type OperatorCommand, type ParkedSelection } from '../../operator/index.ts';
import type { ExecuteOrder } from '../../workflows/activity-contract.ts';
import {
  LEDGER_QUERY,
  STATUS_QUERY,
  type RunInput,
  type RunStatus,
} from '../../workflows/messages.ts';
import {
  eventually,
  openShards,
  operate,
  refusalCode,
  requestOf,
} from '../e2e/harness/operators.ts';
import type { runWorkflow } from '../../workflows/run.ts';
import { startFleet, type Fleet } from '../e2e/harness/simulated-fleet.ts';
import { failure, runInput } from '../e2e/harness/simulated-values.ts';
import { SimulatedWork, digest } from '../e2e/harness/simulated-work.ts';

let work: SimulatedWork;
let fleet: Fleet;
let runId: string;
type Handle = Awaited<ReturnType<Fleet['start']>>;

beforeEach(async () => {
  work = new SimulatedWork();
  fleet = await startFleet(inject('temporal').address, work);
  runId = randomUUID();
});
afterEach(() => fleet.close());

const ALL: ParkedSelection = { tiles: null, fingerprint: null };
const UNDISTURBED = digest('');
const holds = ({ firstTile, endTile }: ExecuteOrder, tile: number): boolean =>
  firstTile <= tile && tile < endTile;
const statusOf = (handle: Handle): Promise<RunStatus> => handle.query<RunStatus>(STATUS_QUERY);

/** Lets these tiles fail until they are mended. */
function breakTiles(tiles: readonly number[]): Set<number> {
  const broken = new Set(tiles);
  work.onExecute = (order) => {
    for (const tile of broken) if (holds(order, tile)) throw failure('TILE_DATA_ERROR', { tile });
  };
  return broken;
}

/** Tiles that open shards and the run itself count as parked and not skipped. */
async function parkedOf(handle: Handle): Promise<number> {
  const status = await statusOf(handle);
  const shards = await openShards(fleet.client, handle);
  return status.closed.parked + shards.reduce((sum, { parked }) => sum + parked, 0);
}

/** Starts a closed run again, as `run retry` does. */
async function retry(handle: Handle, ...commands: OperatorCommand[]): Promise<Handle> {
  const ledger = await handle.query<RunInput | null>(LEDGER_QUERY);
  if (ledger === null) throw new Error('the run was not prepared');
  let operator = reopen(ledger.operator);
  for (const command of commands) {
    if (command.verb !== 'retry' && command.verb !== 'skip') continue;
    const pin = command.verb === 'retry' ? command.pin : null;
    const epoch = operator.epoch + 1;
    const order = { kind: command.verb, by: 'ann', reason: '', select: command.select, pin, epoch };
    operator = { ...operator, epoch, parkedOrders: [...operator.parkedOrders, order] };
  }
  return fleet.start({ ...ledger, operator });
}

const again: OperatorCommand = { verb: 'retry', select: ALL, pin: null };

describe('parked tiles', () => {
  test('are retried in shards that are open and that are done, under the pin of the order', async () => {
    await fleet.addHost('one', { capacity: 4 });
    const broken = breakTiles([3, 7, 8, 25]);
    const step = work.onExecute;
    let slow = true;
    work.onExecute = async (order) => {
      if (order.shard === 1 && slow && order.firstTile > 28) {
        await eventually(() => !slow);
      }
      await step(order, '');
    };
    const input = runInput(runId, { tuning: { shardTilesMax: 20 }, limits: { failedTiles: 9 } });
    const handle = await fleet.start(input);
    await eventually(async () => {
      const { openShards: open } = await statusOf(handle);
      return open.length === 1 && (await parkedOf(handle)) === 4;
    });
    broken.clear();
    const pin = { aspect: 'variant', value: 'sim/plain@1' } as const;
    await operate(handle, requestOf({ verb: 'retry', select: ALL, pin }));
    await eventually(async () => (await parkedOf(handle)) === 0);
    slow = false;
    expect(await handle.result()).toMatchObject({
      phase: 'finished',
      published: { tiles: 40, parkedTiles: 0, runDigest: UNDISTURBED },
    });
    const pinned = work.executed().filter(({ variant }) => variant === 'sim/plain@1');
    const tiles = pinned.map(({ firstTile, endTile }) => [firstTile, endTile]);
    expect(tiles.toSorted(([a = 0], [b = 0]) => a - b)).toEqual([
      [3, 4],
      [7, 9],
      [25, 26],
    ]);
  });

  test('that are skipped do not count, and do not make the result partial', async () => {
    await fleet.addHost('one');
    breakTiles([3, 30]);
    work.executeMs = 60;
    const input = runInput(runId, { limits: { failedTiles: 2, lanes: 1 } });
    const handle = await fleet.start(input);
    await eventually(async () => (await parkedOf(handle)) === 1);
    const select = { tiles: [{ firstTile: 0, endTile: 10 }], fingerprint: null };
    await operate(handle, requestOf({ verb: 'skip', select }));
    await eventually(async () => (await openShards(fleet.client, handle))[0]?.skipped === 1);
    expect(await parkedOf(handle)).toBe(0);
    expect(await handle.result()).toMatchObject({
      phase: 'partial',
      published: { parkedTiles: 2, skippedTiles: 1 },
    });
    const attributesOf = async (one: Handle): Promise<unknown> =>
      (await one.describe()).searchAttributes;
    expect(await attributesOf(handle)).toMatchObject({ TileloomParked: [1] });
    const second = await retry(handle, { verb: 'skip', select: ALL });
    expect(await second.result()).toMatchObject({
      phase: 'finished',
      published: { parkedTiles: 2, skippedTiles: 2 },
    });
    expect(await attributesOf(second)).toMatchObject({ TileloomPhase: ['finished'] });
    const third = await retry(second, again);
    breakTiles([]);
    expect(await third.result()).toMatchObject({ published: { parkedTiles: 0, skippedTiles: 0 } });
    const generations = work.calls.flatMap((call) =>
      call.kind === 'publish' ? [call.request.generation] : [],
    );
    expect(generations).toEqual([0, 1, 2]);
  });

  test('that fail once more under the pin of their order are parked once more', async () => {
    await fleet.addHost('one');
    work.onExecute = (order) => {
      if (holds(order, 13)) throw failure('KERNEL_FAULT');
    };
    const handle = await fleet.start(runInput(runId, { limits: { failedTiles: 1, lanes: 1 } }));
    expect(await handle.result()).toMatchObject({ phase: 'partial' });
    const pin = { aspect: 'variant', value: 'sim/plain@1' } as const;
    const second = await retry(handle, { verb: 'retry', select: ALL, pin });
    expect(await second.result()).toMatchObject({
      phase: 'partial',
      published: { tiles: 40, parkedTiles: 1 },
    });
  });
});

describe('a closed run', () => {
  test('that failed goes on from what it had', async () => {
    await fleet.addHost('one');
    const broken = breakTiles([22]);
    const handle = await fleet.start(runInput(runId, { tuning: { shardTilesMax: 15 } }));
    await expect(handle.result()).rejects.toThrow();
    expect(await statusOf(handle)).toMatchObject({ phase: 'failed' });
    broken.clear();
    const before = work.executed().length;
    const second = await retry(handle, again);
    expect(await second.result()).toMatchObject({
      phase: 'finished',
      published: { runDigest: UNDISTURBED, parkedTiles: 0 },
    });
    expect(await statusOf(second)).toMatchObject({ closed: { tilesDone: 40 } });
    expect(work.executed().length - before).toBeLessThan(14);
  });

  test('that was cancelled goes on from what it had', async () => {
    await fleet.addHost('one');
    work.executeMs = 60;
    const handle = await fleet.start(runInput(runId, { tuning: { shardTilesMax: 15 } }));
    await eventually(() => work.executed().length > 6);
    const { epoch } = await operate(handle, requestOf({ verb: 'cancel' }));
    const error = await handle.result().catch((caught: unknown) => caught);
    expect((error as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    const { status } = await handle.describe();
    expect(status.name).toBe('CANCELLED');
    expect(await statusOf(handle)).toMatchObject({
      phase: 'cancelled',
      operator: { cancel: { by: 'ann', reason: 'a test', epoch } },
    });
    work.executeMs = 5;
    const second = await retry(handle);
    expect(await second.result()).toMatchObject({
      phase: 'finished',
      published: { tiles: 40, runDigest: UNDISTURBED },
    });
    expect((await statusOf(second)).pausedMs).toBeGreaterThan(0);
  });
});

describe('an order to cancel', () => {
  test('stops the work at once and ends the run when the server has heard of it', async () => {
    await fleet.addHost('one');
    work.executeMs = 20_000;
    let refusals = 0;
    work.onCancel = () => {
      refusals += 1;
      if (refusals <= 6) throw new TypeError('the server is not there');
    };
    const handle = await fleet.start(runInput(runId));
    await eventually(() => work.executed().length >= 2);
    await operate(handle, requestOf({ verb: 'cancel' }));
    await eventually(async () => (await statusOf(handle)).openShards.length === 0);
    const pause = requestOf({ verb: 'pause', mode: 'drain', ttlMs: null });
    expect(await refusalCode(operate(handle, pause))).toBe('OPERATOR_RUN_ENDING');
    expect((await statusOf(handle)).phase).toBe('running');
    refusals = 7;
    await expect(handle.result()).rejects.toThrow(WorkflowFailedError);
    expect((await handle.describe()).status.name).toBe('CANCELLED');
    expect(refusals).toBeGreaterThan(6);
  });
});

describe('requests during continue-as-new', () => {
  test('of run and shards are answered once each and lose nothing', async () => {
    await fleet.addHost('one', { capacity: 4 });
    const tuning = { shardTilesMax: 10, openShardsMax: 2, shardEventsMax: 24, runEventsMax: 20 };
    const handle = await fleet.start(runInput(runId, { tuning }));
    const chain = fleet.client.workflow.getHandle<typeof runWorkflow>(handle.workflowId);
    let accepted = 0;
    let ended = false;
    const result = chain.result().finally(() => {
      ended = true;
    });
    for (let lanes = 1; !ended; lanes = 3 - lanes) {
      const request = requestOf({ verb: 'limits', set: { lanes } });
      const answer = await persistently(
        () => operate(chain, request),
        () => ended,
      );
      if (answer === null) break;
      accepted += 1;
      expect(answer.epoch).toBeGreaterThan(accepted);
      const repeated = { ...request, reason: 'once more' };
      const more = await persistently(
        () => chain.executeUpdate('operate', { args: [repeated], updateId: randomUUID() }),
        () => ended,
      );
      if (more !== null) expect(more).toMatchObject({ epoch: answer.epoch });
      await new Promise((resolve) => setTimeout(resolve, 120));
    }
    expect(await result).toMatchObject({ phase: 'finished', published: { tiles: 40 } });
    expect(accepted).toBeGreaterThan(5);
    const { epoch } = await chain.query<RunStatus>(STATUS_QUERY);
    expect(epoch).toBeGreaterThanOrEqual(accepted);
  });

  /** Asks again, as clients do, while the run goes on; null when it refused or ended. */
  async function persistently<Answer>(
    ask: () => Promise<Answer>,
    isOver: () => boolean,
  ): Promise<Answer | null> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        const type = (error as { cause?: { type?: unknown } }).cause?.type;
        if (isOver() || type === 'OPERATOR_RUN_ENDING') return null;
        if (type !== undefined && type !== 'AcceptedUpdateCompletedWorkflow') throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }
});
