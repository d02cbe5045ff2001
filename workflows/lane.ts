// Owns a lane: claim a host, reserve a range, plan it, execute a prefix of it, give the rest back,
// again until the shard has no work or stops. A lane keeps its lease for a number of chunks.
//
// I1 a lane holds a reservation only between `reserve` and the end of that chunk
// I2 right before execute the plan's epoch is compared with the operator's: an older plan is
//    superseded, and nothing starts while the run is paused
// I3 each failure goes through reactions.ts; nothing is retried here
import { CancellationScope, condition, isCancellation, patched } from '@temporalio/workflow';
import { pauseSentence } from '../operator/index.ts';
import type { Pin, Plan } from '../planner/index.ts';
import type { HostLease, PlanAnswer } from './activity-contract.ts';
import { HOST_TIMEOUT_MS, claimHost, executeOn, planOn, type CallNames } from './calls.ts';
import { executeSummary, pinWords, tilesOf } from './describe.ts';
import { classifyFailure } from './failures.ts';
import { claimLimitMs, lookForGpu, mustLook } from './gpu-hosts.ts';
import type { LaneStatus } from './messages.ts';
import {
  claimPlace,
  coverMore,
  firstExpiry,
  pinsHere,
  returnUses,
  takeUses,
  type ClaimPlace,
} from './pins-here.ts';
import {
  chunksPerPlan,
  deviceClassOf,
  executeOrder,
  isRefusal,
  learn,
  learnFailure,
  planCall,
  rowsOf,
} from './planning.ts';
import { react, reactToRefusal, reactToSilence, type Attempt, type Reaction } from './reactions.ts';
import {
  abandon,
  commit,
  count,
  hasWork,
  othersWork,
  reserve,
  shrink,
  type Lane,
  type Reservation,
  type ShardState,
} from './shard-state.ts';

/** What a lane needs of its shard beside the state. */
export interface LanePort {
  /** Called at each chunk boundary: seals, rotates, refreshes the details. */
  readonly boundary: () => void;
  readonly fail: (failure: NonNullable<Reaction['failure']>) => void;
  /** A tile was parked. */
  readonly parked: () => void;
  readonly release: (lease: HostLease) => void;
  /** Registers a scope that a stop cancels; returns how to forget it. */
  readonly interruptible: (scope: CancellationScope) => () => void;
  /** Registers the scope of an execute, which a pause `now` cancels; returns how to forget it. */
  readonly executing: (scope: CancellationScope) => () => void;
}

export function createLane(index: number): Lane {
  return {
    index,
    lease: null,
    claimedOn: '',
    leaseChunks: 0,
    reservation: null,
    planLease: null,
    place: null,
    uses: [],
    previous: null,
    front: null,
    hostLosses: 0,
    inputWaits: 0,
    holds: 0,
    surprises: 0,
    refused: null,
    status: statusOf(index, 'idle', null),
  };
}

function statusOf(lane: number, state: LaneStatus['state'], waiting: string | null): LaneStatus {
  const none = { host: null, deviceId: null, variant: null, firstTile: null, endTile: null };
  return { lane, state, ...none, since: Date.now(), waiting };
}

function show(lane: Lane, state: LaneStatus['state'], facts: Partial<LaneStatus> = {}): void {
  const base = statusOf(lane.index, state, null);
  lane.status = { ...base, host: lane.lease?.host ?? null, ...facts };
}

/** Runs a lane until the shard stops or nothing is left to do; never throws but for a bug. */
export async function runLane(shard: ShardState, lane: Lane, port: LanePort): Promise<void> {
  try {
    while (shard.stop === null && lane.index < shard.operator.limits.lanes) {
      if (!hasWork(shard) && !othersWork(shard)) break;
      if (shard.operator.pause !== null || !hasWork(shard)) await rest(shard, lane, port);
      else if (lane.lease === null) await claim(shard, lane, port);
      else await workOneChunk(shard, lane, lane.lease, port);
      port.boundary();
    }
  } catch (error) {
    if (!isCancellation(error)) throw error;
    abandon(shard, lane);
  } finally {
    returnUses(shard, lane);
    dropLease(lane, port);
    lane.front = null;
    show(lane, 'idle');
  }
}

/** Waits for work of other lanes to come back, or for the operator, without holding a lease. */
async function rest(shard: ShardState, lane: Lane, port: LanePort): Promise<void> {
  dropLease(lane, port);
  const { epoch, pause } = shard.operator;
  if (pause !== null) show(lane, 'holding', { waiting: pauseSentence(pause) });
  else show(lane, 'idle');
  await condition(
    () =>
      shard.stop !== null ||
      shard.operator.epoch !== epoch ||
      (pause === null && (hasWork(shard) || !othersWork(shard))),
  );
}

function dropLease(lane: Lane, port: LanePort): void {
  if (lane.lease !== null) port.release(lane.lease);
  lane.lease = null;
  lane.planLease = null;
}

async function claim(shard: ShardState, lane: Lane, port: LanePort): Promise<void> {
  const { input } = shard;
  const place = lane.place ?? claimPlace(shard, null, Date.now());
  const id = `claim/${shard.nextClaim}`;
  shard.nextClaim += 1;
  show(lane, 'claiming', { waiting: claimSentence(place) });
  const { epoch } = shard.operator;
  const request = { runId: input.runId, shard: input.progress.shard, lane: lane.index };
  const scope = new CancellationScope();
  const forget = port.interruptible(scope);
  try {
    const limitMs = claimLimitMs(shard, lane, place);
    lane.lease = await scope.run(() => claimHost(place.queue, id, request, limitMs));
    lane.claimedOn = place.queue;
    lane.leaseChunks = 0;
  } catch (error) {
    if (scope.consideredCancelled || shard.stop !== null || shard.operator.epoch !== epoch) return;
    const failure = classifyFailure(error, scope.consideredCancelled);
    const silence = reactToSilence(shard, lane, failure);
    if (silence !== null) await follow(shard, lane, port, silence);
    else if (!mustLook(shard, place, failure))
      await follow(shard, lane, port, react(shard, lane, failure, null));
    else await follow(shard, lane, port, await lookForGpu(shard, place, id));
  } finally {
    lane.place = null;
    forget();
  }
}

/** Histories of runs that failed at the first refusal replay as they were. */
const mayAskAnother = (): boolean => patched('ask-another-host-after-a-refusal');

function claimSentence({ queue, pin }: ClaimPlace): string {
  const because = pin === null ? '' : `, where ${pinWords(pin)} sends it`;
  return `no host with a free slot has answered on ${queue} yet${because}`;
}

async function workOneChunk(
  shard: ShardState,
  lane: Lane,
  lease: HostLease,
  port: LanePort,
): Promise<void> {
  const reservation = reserve(shard, lane);
  if (reservation === null) return;
  const place = claimPlace(shard, reservation, Date.now());
  if (place.queue !== lane.claimedOn) {
    abandon(shard, lane);
    dropLease(lane, port);
    lane.place = place;
    return;
  }
  const planned = await planReservation(shard, lane, lease, reservation, port);
  if (planned !== null) await execute(shard, lane, lease, planned, port);
  returnUses(shard, lane);
  if (lane.lease !== null && lane.leaseChunks >= lease.chunksMax) dropLease(lane, port);
}

interface Planned {
  readonly plan: Plan;
  readonly deviceClass: string;
  readonly names: CallNames;
  /** Of the operator state under which the plan was made, or given out again. */
  readonly epoch: number;
}

/** Plans the lane's reservation until a plan of the present epoch is there; null: given back. */
async function planReservation(
  shard: ShardState,
  lane: Lane,
  lease: HostLease,
  reservation: Reservation,
  port: LanePort,
): Promise<Planned | null> {
  const hostTimeoutMs = shard.input.tuning.hostTimeoutMs ?? HOST_TIMEOUT_MS;
  const leased = takeLeasedPlan(shard, lane, reservation);
  for (let round = 0; ; round += 1) {
    const tag = `${reservation.chunk}.${round}`;
    const names = { id: `execute/${tag}`, summary: '', hostTimeoutMs };
    if (leased !== null) return { ...leased, names };
    const pins = pinsHere(shard, reservation, Date.now());
    takeUses(shard, lane, pins, reservation.firstTile);
    const call = planCall(shard, lane, lease, reservation, pins);
    const { epoch } = call.request.where;
    show(lane, 'planning', tiles(reservation));
    let answer: PlanAnswer;
    try {
      const summary = `plan ${tilesOf(reservation)}`;
      answer = await planOn(lease, call, { id: `plan/${tag}`, summary, hostTimeoutMs });
      count(shard, 'plans');
    } catch (error) {
      const failure = classifyFailure(error, CancellationScope.current().consideredCancelled);
      await follow(shard, lane, port, react(shard, lane, failure, null));
      return null;
    }
    if (shard.stop !== null || shard.operator.pause !== null) {
      abandon(shard, lane);
      return null;
    }
    if (shard.operator.epoch !== epoch || firstExpiry(pins) <= Date.now()) {
      returnUses(shard, lane);
      count(shard, 'superseded');
      if (claimPlace(shard, reservation, Date.now()).queue === lane.claimedOn) continue;
      abandon(shard, lane);
      return null;
    }
    if (isRefusal(answer.decision)) {
      const reaction = reactToRefusal(shard, lane, answer.decision, mayAskAnother);
      await follow(shard, lane, port, reaction);
      return null;
    }
    const plan = answer.decision;
    const deviceClass = deviceClassOf(answer, plan.deviceId);
    startPlanLease(shard, lane, plan, deviceClass, pins);
    return { plan, deviceClass, names, epoch };
  }
}

/** The plan that still covers this chunk, if there is one; suspects are always planned anew. */
function takeLeasedPlan(
  shard: ShardState,
  lane: Lane,
  reservation: Reservation,
): Omit<Planned, 'names'> | null {
  const lease = lane.planLease;
  if (lease === null || lease.left <= 0 || reservation.suspect !== null) return null;
  if (lease.epoch !== shard.operator.epoch || lease.until <= Date.now()) return null;
  if (!coverMore(pinsHere(shard, reservation, Date.now()))) return null;
  lease.left -= 1;
  return { plan: lease.plan, deviceClass: lease.deviceClass, epoch: lease.epoch };
}

function startPlanLease(
  shard: ShardState,
  lane: Lane,
  plan: Plan,
  deviceClass: string,
  pins: readonly Pin[],
): void {
  const isProbe = shard.counts.chunks === 0;
  const left = isProbe || !coverMore(pins) ? 0 : chunksPerPlan(shard, plan) - 1;
  const { epoch } = shard.operator;
  const until = firstExpiry(pins);
  lane.planLease = left > 0 ? { plan, deviceClass, epoch, until, left } : null;
}

async function execute(
  shard: ShardState,
  lane: Lane,
  lease: HostLease,
  { plan, deviceClass, names, epoch }: Planned,
  port: LanePort,
): Promise<void> {
  if (shard.stop !== null || shard.operator.pause !== null || shard.operator.epoch !== epoch) {
    abandon(shard, lane);
    return;
  }
  const queue = lease.deviceQueues[plan.deviceId];
  if (queue === undefined) {
    abandon(shard, lane);
    dropLease(lane, port);
    return;
  }
  const range = shrink(shard, lane, plan.chunkTiles);
  const summary = executeSummary(range, plan.variant, rowsOf(shard, range));
  show(lane, 'executing', {
    ...tiles(range),
    variant: plan.variant,
    deviceId: plan.deviceId,
  });
  lane.leaseChunks += 1;
  lane.uses = [];
  const scope = new CancellationScope();
  const forget = port.executing(scope);
  try {
    const order = executeOrder(shard, lease, range, plan);
    const answer = await scope.run(() => executeOn(queue, order, { ...names, summary }));
    commit(shard, lane, answer);
    learn(shard, lane, plan, answer);
    Object.assign(lane, { hostLosses: 0, inputWaits: 0, holds: 0, surprises: 0, refused: null });
  } catch (error) {
    const failure = classifyFailure(error, scope.consideredCancelled);
    const attempt: Attempt = {
      planId: plan.planId,
      variant: plan.variant,
      deviceId: plan.deviceId,
      host: lease.host,
    };
    if (['kernel-fault', 'out-of-memory', 'tile-data'].includes(failure.kind)) {
      learnFailure(shard, plan, deviceClass);
    }
    await follow(shard, lane, port, react(shard, lane, failure, attempt));
  } finally {
    forget();
  }
}

function tiles(range: Reservation): Pick<LaneStatus, 'firstTile' | 'endTile'> {
  return { firstTile: range.firstTile, endTile: range.endTile };
}

/** Does what a reaction says: drops the lease, fails the run, or waits. */
async function follow(
  shard: ShardState,
  lane: Lane,
  port: LanePort,
  reaction: Reaction,
): Promise<void> {
  if (shard.parkedUnsealed.length > 0) port.parked();
  if (reaction.failure !== null) port.fail(reaction.failure);
  if (reaction.lease === 'release') dropLease(lane, port);
  if (reaction.backOffMs <= 0 || shard.stop !== null) return;
  const state = lane.holds > 0 ? 'holding' : 'backing-off';
  const { epoch } = shard.operator;
  const until = new Date(Date.now() + reaction.backOffMs).toISOString();
  show(lane, state, { waiting: `${reaction.waiting ?? 'backing off'}; next try at ${until}` });
  await condition(() => shard.stop !== null || shard.operator.epoch !== epoch, reaction.backOffMs);
}
