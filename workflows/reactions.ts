// Owns the reactions of a lane to failures: what becomes of the range, of the lease, of the run;
// and how long the lane backs off. Each kind of failure has its own bound; only data errors and
// kernel faults can lead to a parked tile.
import type { OperatorState } from '../operator/index.ts';
import type { PlanRefusal, Reason } from '../planner/index.ts';
import { judgeDataError, judgeKernelFault, judgeRefusal, type Suspect } from './bisection.ts';
import { pinWords } from './describe.ts';
import { backOffMs, type Failure } from './failures.ts';
import { QUEUES } from './activity-contract.ts';
import type { ParkedSummary, RunFailure, RunFailureCode } from './messages.ts';
import { rowsOf } from './planning.ts';
import {
  abandon,
  applyVerdict,
  count,
  othersWork,
  type Lane,
  type Reservation,
  type ShardState,
} from './shard-state.ts';

/** In a row and per lane, before the run gives up. */
const HOST_LOSSES_MAX = 200;
const INPUT_WAITS_MAX = 60;
const SURPRISES_MAX = 5;
const CROWDED_OUT_AFTER = 5;
/** Hosts of the GPU pool that may refuse one after the other. */
const REFUSALS_MAX = 5;

/** What the lane does next. */
export interface Reaction {
  readonly backOffMs: number;
  readonly waiting: string | null;
  /** Whether the lease goes on; a host that is gone cannot be told, which costs nobody any time. */
  readonly lease: 'keep' | 'release';
  readonly failure: RunFailure | null;
}

export interface Attempt {
  readonly planId: string;
  readonly variant: string;
  readonly deviceId: string;
  readonly host: string;
}

export const GO_ON: Reaction = { backOffMs: 0, waiting: null, lease: 'keep', failure: null };

/**
 * Reacts to a failed plan or execute: updates the shard's state and says what the lane does next.
 *
 * @param attempt what was executed; null when planning failed
 */
export function react(
  shard: ShardState,
  lane: Lane,
  failure: Failure,
  attempt: Attempt | null,
): Reaction {
  lane.planLease = null;
  if (failure.kind !== 'cancelled') count(shard, 'failures');
  switch (failure.kind) {
    case 'cancelled':
      abandon(shard, lane);
      return GO_ON;
    case 'host-lost':
    case 'moved-on':
      if (isCrowdedOut(lane, failure)) return kernelFault(shard, lane, failure, attempt);
      abandon(shard, lane);
      return hostLost(lane, failure);
    case 'input-unavailable':
      abandon(shard, lane);
      return inputUnavailable(lane, failure);
    case 'disk-full':
      abandon(shard, lane);
      return waitFor(lane, `disk full: ${failure.message}`);
    case 'out-of-memory':
      return outOfMemory(shard, lane, failure, attempt);
    case 'kernel-fault':
      return kernelFault(shard, lane, failure, attempt);
    case 'tile-data':
      return tileData(shard, lane, failure, attempt);
    case 'refused':
      abandon(shard, lane);
      return fail(failure.code, failure.message);
    case 'unexpected':
      abandon(shard, lane);
      return surprise(lane, failure);
  }
}

/**
 * Whether a layer has found no room on a device beside those of other runs often enough in a row: nobody
 * knows when they end, and the variant is left out there for this run.
 */
function isCrowdedOut({ hostLosses }: Lane, { code: failureCode }: Failure): boolean {
  return failureCode === 'INDEX_EXCEEDS_DEVICE' && hostLosses >= CROWDED_OUT_AFTER;
}

function hostLost(lane: Lane, failure: Failure): Reaction {
  lane.hostLosses += 1;
  if (lane.hostLosses >= HOST_LOSSES_MAX) {
    const message = `lane ${lane.index} lost its host ${lane.hostLosses} times in a row: ${failure.message}; start a worker, or look at the workers' logs`;
    return fail(code('RUN_HOST_LOST_TOO_OFTEN'), message);
  }
  return {
    backOffMs: backOffMs(lane.hostLosses - 1, 250, 30_000),
    waiting: `claiming another host: ${failure.message}`,
    lease: 'release',
    failure: null,
  };
}

function inputUnavailable(lane: Lane, failure: Failure): Reaction {
  lane.inputWaits += 1;
  if (lane.inputWaits >= INPUT_WAITS_MAX) {
    return fail(code('RUN_INPUT_UNAVAILABLE'), failure.message);
  }
  return {
    backOffMs: backOffMs(lane.inputWaits, 1_000, 60_000),
    waiting: `input unavailable: ${failure.message}`,
    lease: 'release',
    failure: null,
  };
}

function waitFor(lane: Lane, waiting: string): Reaction {
  lane.holds += 1;
  return {
    backOffMs: backOffMs(lane.holds, 5_000, 60_000),
    waiting,
    lease: 'release',
    failure: null,
  };
}

function outOfMemory(
  shard: ShardState,
  lane: Lane,
  failure: Failure,
  attempt: Attempt | null,
): Reaction {
  const range = lane.reservation;
  if (range === null) return GO_ON;
  if (range.endTile - range.firstTile <= 1) {
    // The variant is excluded there: what others may take was never in question.
    shard.chunkRowsMax = null;
    return kernelFault(shard, lane, failure, attempt);
  }
  const half = Math.floor(rowsOf(shard, range) / 2);
  const rowsMax = Math.max(shard.input.prepared.tileRows, half);
  shard.chunkRowsMax = Math.min(shard.chunkRowsMax ?? rowsMax, rowsMax);
  abandon(shard, lane);
  return GO_ON;
}

function kernelFault(
  shard: ShardState,
  lane: Lane,
  failure: Failure,
  attempt: Attempt | null,
): Reaction {
  if (lane.reservation === null || attempt === null) {
    abandon(shard, lane);
    return surprise(lane, failure);
  }
  const fault = { ...attempt, code: failure.code };
  applyVerdict(shard, lane, judgeKernelFault(suspectOf(lane.reservation), failure, fault));
  return tooManyParked(shard);
}

function tileData(
  shard: ShardState,
  lane: Lane,
  failure: Failure,
  attempt: Attempt | null,
): Reaction {
  if (lane.reservation === null || attempt === null) {
    abandon(shard, lane);
    return surprise(lane, failure);
  }
  const range = suspectOf(lane.reservation);
  applyVerdict(shard, lane, judgeDataError(range, failure, attempt.planId));
  return tooManyParked(shard);
}

function tooManyParked(shard: ShardState): Reaction {
  const { failedTiles } = shard.operator.limits;
  if (shard.parked.count <= failedTiles) return GO_ON;
  return fail(code('RUN_TOO_MANY_FAILED_TILES'), tooManySentence(shard.parked, failedTiles));
}

/** The message of `RUN_TOO_MANY_FAILED_TILES`: it tells what the first parked tile met, and where. */
export function tooManySentence({ count: parked, first }: ParkedSummary, limit: number): string {
  const where = first === null || first.input === '' ? '' : ` of ${first.input}`;
  const example =
    first === null
      ? ''
      : `; the first is tile ${first.tile}${where} (${first.errorClass}): ${first.message}`;
  return `too many tiles cannot be computed: expected at most ${limit}, got ${parked}${example}; correct the input and start again, or raise limits.failedTiles to leave such tiles out`;
}

function surprise(lane: Lane, failure: Failure): Reaction {
  lane.surprises += 1;
  if (lane.surprises >= SURPRISES_MAX) return fail(failure.code, failure.message);
  return {
    backOffMs: backOffMs(lane.surprises, 200, 30_000),
    waiting: `trying again after an unexpected failure: ${failure.message}`,
    lease: 'release',
    failure: null,
  };
}

export function fail(failureCode: string, message: string): Reaction {
  return { ...GO_ON, failure: { code: failureCode, message } };
}

/** Keeps a code within the room's own union. */
function code(name: RunFailureCode): RunFailureCode {
  return name;
}

function suspectOf(range: Reservation): Suspect {
  const { firstTile, endTile, suspect } = range;
  return {
    firstTile,
    endTile,
    attempt: suspect?.attempt ?? 1,
    faults: suspect?.faults ?? [],
    ...(suspect?.onlyOwn === true ? { onlyOwn: true } : {}),
    ...(suspect?.retries === undefined ? {} : { retries: suspect.retries }),
    ...(suspect?.pin === undefined ? {} : { pin: suspect.pin }),
  };
}

/**
 * Reacts to a plan that was refused: narrows a suspect down, waits while exclusions are in flux or
 * the refusal says hold, asks another host where GPUs of this one are in the way, else fails the run with
 * the refusal's code.
 *
 * @param mayAskAnother asked only where it matters
 */
export function reactToRefusal(
  shard: ShardState,
  lane: Lane,
  refusal: PlanRefusal,
  mayAskAnother: () => boolean,
): Reaction {
  lane.planLease = null;
  const range = lane.reservation;
  const sentence = refusalSentence(refusal, shard.operator);
  const innocent = range !== null && range.suspect === null && othersAreSuspect(shard, lane);
  if (innocent && shard.excluded.length > 0) {
    abandon(shard, lane);
    return { backOffMs: 500, waiting: sentence, lease: 'release', failure: null };
  }
  const verdict =
    range === null ? null : judgeRefusal(suspectOf(range), othersExcluded(shard, lane, range));
  if (verdict !== null) {
    applyVerdict(shard, lane, verdict);
    return GO_ON;
  }
  abandon(shard, lane);
  if (refusal.onRefusal === 'hold') return waitFor(lane, sentence);
  const helps = lane.claimedOn === QUEUES.poolCuda && refusal.reasons.some(namesAnotherHost);
  return helps && mayAskAnother()
    ? askAnother(shard, lane, { code: refusal.code, message: sentence })
    : fail(refusal.code, sentence);
}

/** Whoever claims in the pool of GPUs gets a host with a GPU in service, maybe another one. */
function askAnother(shard: ShardState, lane: Lane, failure: RunFailure): Reaction {
  const hosts = (lane.refused?.hosts ?? 0) + 1;
  if (hosts >= REFUSALS_MAX && !othersWork(shard)) return fail(failure.code, failure.message);
  lane.refused = { failure, hosts };
  return {
    backOffMs: backOffMs(hosts, 250, 5_000),
    waiting: `asking another host: ${failure.message}`,
    lease: 'release',
    failure: null,
  };
}

/**
 * Reacts to a claim that no host picked up after one had refused: follows that refusal, unless other lanes
 * show that there is a host, whose slots are taken.
 *
 * @returns null where no host has refused: the failure is one like others
 */
export function reactToSilence(shard: ShardState, lane: Lane, failure: Failure): Reaction | null {
  if (lane.refused === null || failure.kind !== 'host-lost') return null;
  if (othersWork(shard)) return GO_ON;
  const { code: failureCode, message } = lane.refused.failure;
  return fail(failureCode, `${message}; no other host with a GPU in service has answered`);
}

const OTHER_HOST_HELPS: ReadonlySet<string> = new Set([
  'RELEASE_BY_DEVICE',
  'RELEASE_BY_OTHER_HOST',
  'RELEASE_BY_RECOVERY',
  'RELEASE_BY_GPU_MEMORY',
]);

function namesAnotherHost({ code: reasonCode }: Reason): boolean {
  return OTHER_HOST_HELPS.has(reasonCode);
}

/** Variants excluded on the lane's host that have not failed on this range. */
function othersExcluded(shard: ShardState, lane: Lane, { suspect }: Reservation): Set<string> {
  const own = new Set(suspect?.faults.map(({ variant }) => variant));
  const here = shard.excluded.filter(({ host }) => host === lane.lease?.host);
  return new Set(here.map(({ variant }) => variant).filter((variant) => !own.has(variant)));
}

function othersAreSuspect(shard: ShardState, lane: Lane): boolean {
  const others = [...shard.lanes.values()].filter((other) => other !== lane);
  return shard.suspects.length > 0 || others.some(({ reservation }) => reservation?.suspect);
}

/** Reasons that say what a host lacks, and in words of their own what that is. */
const LACKS: Readonly<Record<string, (params: Reason['params']) => string>> = {
  GPU_MISSING: (params) => String(params?.['why']),
  DEVICE_OUT_OF_SERVICE: (params) => String(params?.['why']),
  RELEASE_BY_MEMORY: (params) => `expected a limit of at least ${String(params?.['bytes'])} bytes`,
  RELEASE_BY_GPU_MEMORY: (params) =>
    `expected --gpu-memory of at least ${String(params?.['bytes'])} bytes on that host`,
};

function refusalSentence(refusal: PlanRefusal, { pins }: OperatorState): string {
  const rejects = refusal.candidates
    .slice(0, 4)
    .map(({ variant, reject }) => `${variant} ${reject ?? ''}`.trim());
  const why = rejects.length > 0 ? rejects : refusal.reasons.map((reason) => reason.code);
  const missing = refusal.reasons
    .flatMap(({ code: told, params }) => LACKS[told]?.(params) ?? [])
    .slice(0, 2)
    .map((sentence) => `; ${sentence}`);
  const named = new Set(refusal.reasons.map(({ params }) => params?.['pin']));
  const culprits = pins.filter(({ id }) => named.has(id)).map(pinWords);
  const release = culprits.length > 0 ? `; clearing ${culprits.join(' or ')} would release it` : '';
  return `no admissible plan (${refusal.code}): ${why.join(', ')}${missing.join('')}${release}`;
}
