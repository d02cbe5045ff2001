// Owns what golden histories show: for each behaviour a short run over simulated work in which it
// happens. Few tiles, so that files stay small; every timer and order that can matter, so that code
// which would replay otherwise is found out.
import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import type { OperatorAnswer, OperatorCommand } from '../../../operator/index.ts';
import type { runWorkflow } from '../../../workflows/run.ts';
import type { ExecuteOrder } from '../../../workflows/activity-contract.ts';
import { OPERATE_SIGNAL, STATUS_QUERY, type RunStatus } from '../../../workflows/messages.ts';
import { operate, requestOf, wish } from '../../e2e/harness/operators.ts';
import type { Fleet } from '../../e2e/harness/simulated-fleet.ts';
import { failure, runInput } from '../../e2e/harness/simulated-values.ts';
import type { SimulatedWork } from '../../e2e/harness/simulated-work.ts';

type Run = WorkflowHandleWithFirstExecutionRunId<typeof runWorkflow>;

export interface Scene {
  readonly fleet: Fleet;
  readonly work: SimulatedWork;
  readonly runId: string;
}

export interface Scenario {
  readonly behaviour: string;
  readonly tiles: number;
  /** Plays the run to its end. */
  readonly play: (scene: Scene) => Promise<Run>;
}

const ended = async (run: Run): Promise<Run> => {
  await run.result().catch(() => undefined);
  return run;
};

/** Starts the run of a scene. */
const begin = async (
  { fleet, runId }: Scene,
  more: Parameters<typeof runInput>[1] = {},
): Promise<Run> => (await fleet.start(runInput(runId, more))) as Run;

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`${what}: it did not happen`);
    await sleep(20);
  }
}

const ask = (run: Run, command: OperatorCommand): Promise<OperatorAnswer> =>
  operate(run, requestOf(command));

const everything = { tiles: null, fingerprint: null };
const holds = (order: ExecuteOrder, ...tiles: number[]): boolean =>
  tiles.some((tile) => order.firstTile <= tile && tile < order.endTile);

const happy: Scenario = {
  behaviour: 'happy',
  tiles: 24,
  play: async (scene) => {
    const { fleet, work } = scene;
    await fleet.addHost('one', { capacity: 2, chunksMax: 3 });
    work.leaseChunks = 2;
    const tuning = { shardTilesMax: 16, sealPartsMax: 2, openShardsMax: 1 };
    return ended(await begin(scene, { tuning }));
  },
};

/** Drained, told later by signal, for a while only, and at once: with chunks in flight. */
const pauses: Scenario = {
  behaviour: 'pause-resume',
  tiles: 40,
  play: async (scene) => {
    const { fleet, work } = scene;
    await fleet.addHost('one', { capacity: 2 });
    work.executeMs = 120;
    const run = await begin(scene, { tuning: { shardTilesMax: 20 } });
    const executed = (count: number) => (): boolean => work.executed().length >= count;
    await until('first chunks', executed(3));
    await ask(run, { verb: 'pause', mode: 'drain', ttlMs: null });
    await sleep(500);
    await ask(run, { verb: 'resume' });
    await until('chunks after resume', executed(6));
    await run.signal(OPERATE_SIGNAL, requestOf({ verb: 'pause', mode: 'drain', ttlMs: 700 }));
    await until('its end', async () => {
      const { operator } = await run.query<RunStatus>(STATUS_QUERY);
      return operator.epoch >= 5 && operator.pause === null;
    });
    await until('chunks after its end', executed(8));
    await ask(run, { verb: 'pause', mode: 'now', ttlMs: null });
    await sleep(400);
    await ask(run, { verb: 'resume' });
    return ended(run);
  },
};

/** A pin between plan and execute, one for some chunks, one that expires, one that is taken back. */
const pins: Scenario = {
  behaviour: 'pin',
  tiles: 64,
  play: async (scene) => {
    const { fleet, work } = scene;
    await fleet.addHost('one', { capacity: 2 });
    work.executeMs = 100;
    let told = false;
    const run = await begin(scene);
    work.onPlan = async ({ request: { where } }) => {
      if (where.chunk < 2 || told) return;
      told = true;
      const passing = wish({ aspect: 'variant', value: 'sim/plain@1', ttlChunks: 2 });
      await ask(run, { verb: 'pin', pins: [passing] });
      await sleep(200);
    };
    await until('the pin', () => told);
    await until('chunks under it', () => work.executed().length >= 5);
    const brief = wish({ aspect: 'chunkRows', value: 2_000, ttlMs: 600 });
    await ask(run, { verb: 'pin', pins: [brief] });
    const lasting = wish({ aspect: 'precision', value: 'fp64' });
    const { pins: set } = await ask(run, { verb: 'pin', pins: [lasting] });
    await sleep(900);
    await ask(run, { verb: 'unpin', ids: set });
    await ask(run, { verb: 'limits', set: { lanes: 3, chunkSecondsTarget: 2 } });
    work.executeMs = 10;
    return ended(run);
  },
};

/** Parked in an open shard and in one that is done; tried again, and left out. */
const parks: Scenario = {
  behaviour: 'park-retry',
  tiles: 60,
  play: async (scene) => {
    const { fleet, work } = scene;
    await fleet.addHost('one', { capacity: 2 });
    work.executeMs = 60;
    let bad = true;
    work.onExecute = (order) => {
      if (holds(order, 33) || (bad && holds(order, 5, 6))) {
        throw failure('TILE_DATA_ERROR', { code: 'TILE_CORRUPT' });
      }
    };
    const tuning = { shardTilesMax: 30, openShardsMax: 1, sealPartsMax: 3 };
    const run = await begin(scene, { tuning, limits: { failedTiles: 3 } });
    const closedParked = async (count: number): Promise<boolean> =>
      (await run.query<RunStatus>(STATUS_QUERY)).closed.parked >= count;
    await until('two tiles parked, their shard done', () => closedParked(2));
    bad = false;
    await ask(run, { verb: 'retry', select: everything, pin: null });
    const select = { tiles: [{ firstTile: 33, endTile: 34 }], fingerprint: null };
    await until('a tile to leave out', () =>
      ask(run, { verb: 'skip', select }).then(
        () => true,
        () => false,
      ),
    );
    return ended(run);
  },
};

/** Leases lost, a kernel that faults, too little memory, parts that vanish, and a whole host gone. */
const losses: Scenario = {
  behaviour: 'host-loss',
  tiles: 40,
  play: async (scene) => {
    const { fleet, work } = scene;
    const first = await fleet.addHost('first', { capacity: 2 });
    work.executeMs = 40;
    let stuck = false;
    let free = (): void => undefined;
    const freed = new Promise<void>((resolve) => {
      free = resolve;
    });
    const once = new Set<string>();
    const isFirst = (what: string): boolean => !once.has(what) && once.add(what) !== undefined;
    work.onExecute = async (order, host) => {
      if (order.chunk === 2 && isFirst('lease')) throw failure('LEASE_LOST');
      if (order.chunk === 3 && isFirst('kernel')) throw failure('KERNEL_FAULT');
      if (order.chunk === 5 && isFirst('memory')) throw failure('OUT_OF_MEMORY');
      if (host === 'first' && order.chunk >= 8) {
        stuck = true;
        await freed;
      }
    };
    work.onSeal = ({ parts }) => (isFirst('seal') ? parts.slice(0, 1) : []);
    const run = await begin(scene, { tuning: { sealPartsMax: 3 } });
    await until('chunks on the host that goes', () => stuck);
    await first.vanish();
    await fleet.addHost('second', { capacity: 2 });
    await ended(run);
    free();
    return run;
  },
};

const rotations: Scenario = {
  behaviour: 'continue-as-new',
  tiles: 30,
  play: async (scene) => {
    const { fleet, work } = scene;
    await fleet.addHost('one', { capacity: 4 });
    const tuning = {
      ...{ shardTilesMax: 10, openShardsMax: 2, sealPartsMax: 3 },
      ...{ shardEventsMax: 24, runEventsMax: 20 },
    };
    work.executeMs = 20;
    return ended(await begin(scene, { tuning }));
  },
};

/** Once by Temporal's own way, once by an operator's request. */
const cancelled = (behaviour: string, cancel: (run: Run) => Promise<unknown>): Scenario => ({
  behaviour,
  tiles: 40,
  play: async (scene) => {
    const { fleet, work } = scene;
    await fleet.addHost('one', { capacity: 2 });
    work.executeMs = 150;
    const run = await begin(scene, { tuning: { shardTilesMax: 20 } });
    await until('chunks to cancel', () => work.executed().length >= 5);
    await cancel(run);
    return ended(run);
  },
});

export const SCENARIOS: readonly Scenario[] = [
  happy,
  pauses,
  pins,
  parks,
  losses,
  rotations,
  cancelled('cancel', (run) => run.cancel()),
  cancelled('cancel-by-request', (run) => ask(run, { verb: 'cancel' })),
];
