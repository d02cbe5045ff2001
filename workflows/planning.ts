// Owns what a lane tells the planner, and what it reads from a plan. It decides nothing itself:
// rows of a range are counted, pins and exclusions are passed on, the plan's numbers are taken.
import type { Pin, Plan, PlanDecision, PlanRefusal, PlanSummary } from '../planner/index.ts';
import { foldOutcome, shapeBucket } from '../telemetry/index.ts';
import {
  requestedOf,
  type ExecuteAnswer,
  type ExecuteOrder,
  type HostLease,
  type PlanAnswer,
  type PlanCall,
  type TileInterval,
} from './activity-contract.ts';
import { addExclusions } from './exclusions.ts';
import { pinsHere, requestPin } from './pins-here.ts';
import type { Lane, Reservation, ShardState } from './shard-state.ts';

/**
 * Rows of a range. Exact when each tile but the dataset's last is full, as converted datasets are;
 * else in proportion to the tiles.
 */
export function rowsOf(shard: ShardState, range: TileInterval): number {
  const { tiles, tileRows, rows } = shard.input.prepared;
  if (Math.ceil(rows / tileRows) !== tiles) {
    return Math.round((rows / Math.max(1, tiles)) * (range.endTile - range.firstTile));
  }
  const first = Math.min(rows, range.firstTile * tileRows);
  return Math.max(0, Math.min(rows, range.endTile * tileRows) - first);
}

/**
 * Bytes of a plan call; the digest of the history gives way first, then the plan before, then why variants are
 * excluded, which no plan depends on.
 */
const CALL_BYTES_MAX = 2_048;

/**
 * The plan call of a reservation; a suspect excludes what failed on it from every device here.
 *
 * @param pins those that can be in force in the reservation
 */
export function planCall(
  shard: ShardState,
  lane: Lane,
  lease: HostLease,
  reservation: Reservation,
  pins: readonly Pin[] = pinsHere(shard, reservation, Date.now()),
): PlanCall {
  const call = wholeCall(shard, lane, lease, reservation, pins);
  let { entries } = shard.history;
  let bounded = call;
  while (entries.length > 0 && JSON.stringify(bounded).length > CALL_BYTES_MAX) {
    entries = entries.slice(0, -1);
    const history = { ...shard.history, entries };
    bounded = { ...call, request: { ...call.request, history } };
  }
  if (JSON.stringify(bounded).length <= CALL_BYTES_MAX) return bounded;
  bounded = { ...bounded, request: { ...bounded.request, previous: null } };
  if (JSON.stringify(bounded).length <= CALL_BYTES_MAX) return bounded;
  const excluded = bounded.request.excluded.map((exclusion) => ({ ...exclusion, failure: '' }));
  return { ...bounded, request: { ...bounded.request, excluded } };
}

function wholeCall(
  shard: ShardState,
  lane: Lane,
  lease: HostLease,
  reservation: Reservation,
  pins: readonly Pin[],
): PlanCall {
  const { input, operator } = shard;
  const { spec, prepared, progress } = input;
  const { firstTile, endTile, chunk, suspect } = reservation;
  const rows = rowsOf(shard, reservation);
  return {
    leaseId: lease.leaseId,
    registryDigest: null,
    request: {
      schema: 'tileloom.plan-input/1',
      where: {
        runId: input.runId,
        shard: progress.shard,
        chunk,
        firstTile,
        reservedTiles: endTile - firstTile,
        attempt: suspect?.attempt ?? 1,
        epoch: operator.epoch,
      },
      work: {
        ...prepared.work,
        rows,
        remainingRows: Math.max(rows, remainingRows(shard)),
        chunkIndex: shard.counts.chunks,
      },
      requested: requestedOf(spec),
      pins: pins.map(requestPin),
      limits: {
        memoryBytesMax: operator.limits.memoryBytesMax,
        chunkSecondsTarget: operator.limits.chunkSecondsTarget,
        chunkRowsMax: shard.chunkRowsMax,
      },
      excluded: exclusionsHere(shard, lease, reservation),
      previous: lane.previous ?? shard.previous,
      history: shard.history,
      policyId: spec.policy,
    },
  };
}

/**
 * What is excluded on the leased host; a suspect's own failures count for each of its devices on which the
 * variant could run.
 */
function exclusionsHere(
  shard: ShardState,
  { host, deviceQueues }: HostLease,
  { suspect }: Reservation,
): PlanCall['request']['excluded'] {
  const own = (suspect?.faults ?? []).flatMap((fault) =>
    Object.keys(deviceQueues)
      .filter((deviceId) => isCpu(deviceId) === isCpu(fault.deviceId))
      .map((deviceId) => ({ variant: fault.variant, deviceId, host, failure: fault.code })),
  );
  const shared = suspect?.onlyOwn === true ? [] : shard.excluded;
  const here = shared.filter((exclusion) => exclusion.host === host);
  return addExclusions(here, own).map(({ variant, deviceId, failure }) => ({
    variant,
    deviceId,
    failure,
  }));
}

function isCpu(deviceId: string): boolean {
  return deviceId === 'cpu';
}

function remainingRows(shard: ShardState): number {
  const held = [...shard.lanes.values()].flatMap(({ reservation }) => reservation ?? []);
  return [...shard.free, ...shard.suspects, ...held].reduce(
    (rows, range) => rows + rowsOf(shard, range),
    0,
  );
}

export function isRefusal(decision: PlanDecision): decision is PlanRefusal {
  return decision.schema === 'tileloom.plan-refusal/1';
}

/** The order of a planned range. */
export function executeOrder(
  shard: ShardState,
  lease: HostLease,
  range: Reservation,
  plan: Plan,
): ExecuteOrder {
  const { input } = shard;
  return {
    runId: input.runId,
    contextPath: input.prepared.contextPath,
    contextDigest: input.prepared.contextDigest,
    leaseId: lease.leaseId,
    shard: input.progress.shard,
    chunk: range.chunk,
    attempt: range.suspect?.attempt ?? 1,
    firstTile: range.firstTile,
    endTile: range.endTile,
    variant: plan.variant,
    precision: plan.precision.compute,
    deviceId: plan.deviceId,
    planId: plan.planId,
  };
}

/** How many chunks a plan covers: the policy's lease, or the operator's cadence. */
export function chunksPerPlan(shard: ShardState, plan: Plan): number {
  const { cadence } = shard.operator.limits;
  return Math.max(1, cadence === 'every-chunk' ? plan.leaseChunks : cadence);
}

/** Remembers a success: the history digest, and the plan whose hint sizes the next reservation. */
export function learn(shard: ShardState, lane: Lane, plan: Plan, answer: ExecuteAnswer): void {
  shard.history = foldOutcome(shard.history, {
    variant: plan.variant,
    deviceClass: answer.deviceClass,
    shape: shapeBucket(shard.input.prepared.work),
    rows: answer.part.rows,
    seconds: answer.seconds.work,
    predictedSeconds: plan.predicted.seconds,
    failed: false,
  });
  const summary: PlanSummary = {
    planId: plan.planId,
    variant: plan.variant,
    runtime: plan.runtime,
    deviceId: plan.deviceId,
    chunkTiles: plan.chunkTiles,
    chunkRowsHint: plan.chunkRowsHint,
    predictedSeconds: plan.predicted.seconds,
    actualSeconds: answer.seconds.work,
  };
  lane.previous = summary;
  shard.previous = summary;
}

/** Remembers a failure of a variant on its device. */
export function learnFailure(shard: ShardState, plan: Plan, deviceClass: string): void {
  shard.history = foldOutcome(shard.history, {
    variant: plan.variant,
    deviceClass,
    shape: shapeBucket(shard.input.prepared.work),
    rows: 0,
    seconds: 0,
    predictedSeconds: plan.predicted.seconds,
    failed: true,
  });
}

/** The class of the device that a plan chose, as its snapshot names it. */
export function deviceClassOf(answer: PlanAnswer, deviceId: string): string {
  const device = answer.snapshot.devices.find((other) => other.deviceId === deviceId);
  return device?.deviceClass ?? 'unknown';
}
