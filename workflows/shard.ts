// Owns the shard workflow: lanes over a contiguous range of tiles, its seal chain, and its own
// continue-as-new. It always drains and seals before it hands anything on.
import {
  CancellationScope,
  allHandlersFinished,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  getExternalWorkflowHandle,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { OperatorState } from '../operator/index.ts';
import type { HostLease } from './activity-contract.ts';
import { releaseLease } from './calls.ts';
import { shardDetails } from './describe.ts';
import { countTiles } from './intervals.ts';
import { createLane, runLane, type LanePort } from './lane.ts';
import {
  OPERATOR_SIGNAL,
  PARKED_SIGNAL,
  SHARD_STATUS_QUERY,
  YIELD_SIGNAL,
  type ParkedNotice,
  type RunFailure,
  type ShardInput,
  type ShardResult,
  type ShardStatus,
} from './messages.ts';
import { claimPlace, keptUses } from './pins-here.ts';
import { createSealer, type Sealer } from './sealing.ts';
import { createFollower, type Follower } from './shard-orders.ts';
import { hasWork, openShard, progressOf, type ShardState, type StopReason } from './shard-state.ts';

const operatorSignal = defineSignal<[OperatorState]>(OPERATOR_SIGNAL);
const yieldSignal = defineSignal(YIELD_SIGNAL);
const statusQuery = defineQuery<ShardStatus>(SHARD_STATUS_QUERY);
const parkedSignal = defineSignal<[ParkedNotice]>(PARKED_SIGNAL);

interface Control {
  readonly stop: (reason: StopReason) => void;
  readonly fail: (failure: RunFailure) => void;
  readonly port: LanePort;
  readonly sealer: Sealer;
  readonly orders: Follower;
  /** Releases that are still under way; a shard ends with none. */
  readonly releases: Set<Promise<void>>;
}

/**
 * Computes the free tiles of its range; returns what it did when done, asked to yield, or stopped.
 */
export async function shardWorkflow(input: ShardInput): Promise<ShardResult> {
  const shard = openShard(input);
  const control = createControl(shard);
  setHandler(statusQuery, () => shardStatus(shard));
  if (CancellationScope.current().consideredCancelled) control.stop('cancel');
  CancellationScope.current().cancelRequested.catch(() => control.stop('cancel'));
  for (;;) {
    await runLanes(shard, control);
    await CancellationScope.nonCancellable(async () => {
      await control.orders.follow();
      await control.sealer.sealAll();
      await Promise.all(control.releases);
    });
    if (shard.failure !== null)
      return { progress: progressOf(shard, 'failed'), failure: shard.failure };
    if (shard.stop === null && control.orders.isBehind()) continue;
    const isDone = !hasWork(shard) && shard.unsealed.length === 0;
    if (isDone) return { progress: progressOf(shard, 'done'), failure: null };
    if (shard.stop === 'cancel') return { progress: progressOf(shard, 'cancelled'), failure: null };
    if (shard.stop === 'yield') return { progress: progressOf(shard, 'yielded'), failure: null };
    if (shard.stop === 'rotate') await rotate(shard);
  }
}

/** Continues as new with everything drained; a yield or cancel that comes meanwhile is honoured. */
async function rotate(shard: ShardState): Promise<void> {
  await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
  if (shard.stop !== 'rotate') return;
  const progress = progressOf(shard, 'open');
  await continueAsNew<typeof shardWorkflow>({
    ...shard.input,
    operator: shard.operator,
    progress,
  });
}

/** Runs as many lanes as the operator allows until all have ended. */
async function runLanes(shard: ShardState, { port }: Control): Promise<void> {
  const running = new Map<number, Promise<void>>();
  const { lanes } = shard;
  let broken: unknown = null;
  const startMissing = (): void => {
    for (let index = 0; index < shard.operator.limits.lanes; index += 1) {
      if (running.has(index) || shard.stop !== null || !hasWork(shard)) continue;
      const lane = createLane(index);
      lanes.set(index, lane);
      const ended = runLane(shard, lane, port)
        .catch((error: unknown) => {
          broken = error;
        })
        .finally(() => {
          running.delete(index);
        });
      running.set(index, ended);
    }
  };
  startMissing();
  while (running.size > 0) {
    const { epoch } = shard.operator;
    await CancellationScope.nonCancellable(() =>
      condition(() => running.size === 0 || shard.operator.epoch !== epoch),
    );
    startMissing();
  }
  if (broken !== null) throw broken;
}

function createControl(shard: ShardState): Control {
  const scopes = new Set<CancellationScope>();
  const executes = new Set<CancellationScope>();
  const releases = new Set<Promise<void>>();
  const interrupt = (): void => scopes.forEach((scope) => scope.cancel());
  const stop = (reason: StopReason): void => {
    if (shard.stop === null || rank(reason) > rank(shard.stop)) shard.stop = reason;
    interrupt();
  };
  const fail = (failure: RunFailure): void => {
    shard.failure ??= failure;
    stop('fail');
  };
  const waiting = (text: string | null): void => showWaiting(shard, text);
  const sealer = createSealer(shard, { fail, waiting });
  const orders = createFollower(shard, { fail, waiting, sealer, parked: () => tellParked(shard) });
  const port: LanePort = {
    boundary: () => {
      boundary(shard, sealer, stop);
      // A lane that still claims would wait for a host although there is nothing left to do there.
      if (!hasWork(shard) && !isReserved(shard)) interrupt();
    },
    fail,
    parked: () => tellParked(shard),
    release: (lease) => release(lease, releases),
    interruptible: (scope) => register(scopes, scope),
    executing: (scope) => register(executes, scope),
  };
  setHandler(yieldSignal, () => stop('yield'));
  setHandler(operatorSignal, (operator) => {
    if (operator.epoch <= shard.operator.epoch) return;
    if (obey(shard, operator)) interrupt();
    if (operator.pause?.mode === 'now') executes.forEach((scope) => scope.cancel());
    void orders.follow();
    setCurrentDetails(shardDetails(shard));
  });
  void orders.follow();
  return { stop, fail, port, sealer, orders, releases };
}

/** Takes a newer operator state over; tells whether what lanes claim now is no longer wanted. */
function obey(shard: ShardState, operator: OperatorState): boolean {
  const placeBefore = claimPlace(shard, null, Date.now()).queue;
  shard.operator = operator;
  shard.pinUses = keptUses(shard.pinUses, operator);
  const lanes = [...shard.lanes.values()];
  const special = lanes.some(({ place }) => place !== null);
  for (const lane of lanes) lane.place = null;
  const isElsewhere = claimPlace(shard, null, Date.now()).queue !== placeBefore;
  return operator.pause !== null || special || isElsewhere;
}

function register(scopes: Set<CancellationScope>, scope: CancellationScope): () => void {
  scopes.add(scope);
  return () => scopes.delete(scope);
}

function release(lease: HostLease, releases: Set<Promise<void>>): void {
  const released = CancellationScope.nonCancellable(() => releaseLease(lease))
    .catch(() => undefined)
    .finally(() => releases.delete(released));
  releases.add(released);
}

function isReserved(shard: ShardState): boolean {
  return [...shard.lanes.values()].some(({ reservation }) => reservation !== null);
}

function rank(reason: StopReason): number {
  return ['rotate', 'yield', 'cancel', 'fail'].indexOf(reason);
}

function boundary(shard: ShardState, sealer: Sealer, stop: (reason: StopReason) => void): void {
  sealer.sealWhenDue();
  const { continueAsNewSuggested, historyLength } = workflowInfo();
  if (continueAsNewSuggested || historyLength > shard.input.tuning.shardEventsMax) stop('rotate');
  setCurrentDetails(shardDetails(shard));
}

function showWaiting(shard: ShardState, sentence: string | null): void {
  const waiting = sentence === null ? '' : `\n\nwaiting: ${sentence}`;
  setCurrentDetails(shardDetails(shard) + waiting);
}

/** Tells the run how many tiles are parked; a run that is gone does not need to know. */
function tellParked(shard: ShardState): void {
  const { parent } = workflowInfo();
  if (parent === undefined) return;
  const { shard: index } = shard.input.progress;
  const notice = { shard: index, parked: shard.parked, skipped: countTiles(shard.skipped) };
  void getExternalWorkflowHandle(parent.workflowId)
    .signal(parkedSignal, notice)
    .catch(() => undefined);
}

function shardStatus(shard: ShardState): ShardStatus {
  const { progress } = shard.input;
  const held = [...shard.lanes.values()].flatMap(({ reservation }) => reservation ?? []);
  return {
    schema: 'tileloom.shard-status/1',
    shard: progress.shard,
    range: progress.range,
    epoch: shard.operator.epoch,
    counts: shard.counts,
    tilesRunning: countTiles(held),
    parked: shard.parked.count,
    skipped: countTiles(shard.skipped),
    pinUses: shard.pinUses,
    lanes: [...shard.lanes.values()].map(({ status }) => status),
    head: shard.head,
  };
}
