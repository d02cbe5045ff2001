// Owns a shard's state and every change of it. Lanes, seals and reactions go through here.
//
// I1 each tile of the range is in exactly one place: free, a suspect, a lane's reservation, an
//    unsealed part, a sealed segment, or parked
// I2 a part counts from the moment its answer is in history; a lost one gives its tiles back
import type { OperatorState } from '../operator/index.ts';
import type { Exclusion, Plan, PlanSummary } from '../planner/index.ts';
import type { HistoryDigest } from '../telemetry/index.ts';
import type {
  ExecuteAnswer,
  HostLease,
  ParkedTile,
  SegmentRef,
  TileInterval,
} from './activity-contract.ts';
import type { Suspect, Verdict } from './bisection.ts';
import { addExclusions, exclusionOf, liftExclusions } from './exclusions.ts';
import { reserveAtFront } from './fronts.ts';
import { giveBackTiles } from './intervals.ts';
import type { ClaimPlace } from './pins-here.ts';
import type {
  LaneStatus,
  ParkedSummary,
  RunFailure,
  ShardCounts,
  ShardInput,
  ShardProgress,
} from './messages.ts';

export type StopReason = 'rotate' | 'yield' | 'cancel' | 'fail';

/** A range that a lane works on; its number names the activities, whatever the plan says. */
export interface Reservation extends TileInterval {
  readonly chunk: number;
  readonly suspect: Suspect | null;
}

export interface UnsealedPart {
  readonly answer: ExecuteAnswer;
}

/** A plan that covers further chunks, and how many are left. */
export interface PlanLease {
  readonly plan: Plan;
  readonly deviceClass: string;
  readonly epoch: number;
  /** Milliseconds since the Unix epoch at which a pin of the plan ends; Infinity: none does. */
  readonly until: number;
  left: number;
}

export interface Lane {
  readonly index: number;
  lease: HostLease | null;
  /** Queue on which the lease was claimed, and chunks done under it. */
  claimedOn: string;
  leaseChunks: number;
  reservation: Reservation | null;
  planLease: PlanLease | null;
  /** Where the next claim must go for the range that the lane gave back; null: the usual queue. */
  place: ClaimPlace | null;
  /** Pins with a number of chunks of which the lane holds a use. */
  uses: readonly string[];
  previous: PlanSummary | null;
  /** First tile behind the lane's last chunk: its next one begins there. */
  front: number | null;
  /** Failures in a row by their own bound; reset by a commit. */
  hostLosses: number;
  inputWaits: number;
  holds: number;
  surprises: number;
  /** Why hosts with a GPU, one after the other, had no plan for the lane's work; reset by a commit. */
  refused: RefusedLane | null;
  status: LaneStatus;
}

export interface RefusedLane {
  readonly failure: RunFailure;
  readonly hosts: number;
}

export interface ShardState {
  readonly input: ShardInput;
  operator: OperatorState;
  free: readonly TileInterval[];
  suspects: readonly Suspect[];
  nextChunk: number;
  nextClaim: number;
  history: HistoryDigest;
  excluded: readonly Exclusion[];
  /** All tiles parked so far, and those that no segment names yet. */
  parked: ParkedSummary;
  parkedUnsealed: readonly ParkedTile[];
  skipped: readonly TileInterval[];
  ordersThrough: number;
  pinUses: Readonly<Record<string, number>>;
  chunkRowsMax: number | null;
  previous: PlanSummary | null;
  counts: ShardCounts;
  head: SegmentRef | null;
  segments: number;
  unsealed: readonly UnsealedPart[];
  plansUnsealed: number;
  /** First event of this execution whose plan record is not exported yet. */
  exportFrom: number;
  readonly lanes: Map<number, Lane>;
  stop: StopReason | null;
  failure: RunFailure | null;
}

/** Opens the state from what the last execution, or the run, handed on. */
export function openShard(input: ShardInput): ShardState {
  const { progress } = input;
  return {
    input,
    operator: input.operator,
    free: progress.free,
    suspects: progress.suspects,
    nextChunk: progress.nextChunk,
    nextClaim: 0,
    history: progress.history,
    excluded: progress.excluded,
    parked: progress.parked,
    parkedUnsealed: [],
    skipped: progress.skipped,
    ordersThrough: progress.ordersThrough,
    pinUses: progress.pinUses,
    chunkRowsMax: progress.chunkRowsMax,
    previous: progress.previous,
    counts: progress.counts,
    head: progress.head,
    segments: progress.segments,
    unsealed: [],
    plansUnsealed: 0,
    exportFrom: 1,
    lanes: new Map(),
    stop: null,
    failure: null,
  };
}

/** What is handed on; only right once lanes are drained and everything is sealed. */
export function progressOf(shard: ShardState, state: ShardProgress['state']): ShardProgress {
  return {
    shard: shard.input.progress.shard,
    range: shard.input.progress.range,
    free: shard.free,
    suspects: shard.suspects,
    previous: shard.previous,
    head: shard.head,
    segments: shard.segments,
    nextChunk: shard.nextChunk,
    history: shard.history,
    excluded: shard.excluded,
    parked: shard.parked,
    skipped: shard.skipped,
    ordersThrough: shard.ordersThrough,
    pinUses: shard.pinUses,
    chunkRowsMax: shard.chunkRowsMax,
    counts: shard.counts,
    state,
  };
}

export function hasWork(shard: ShardState): boolean {
  return shard.free.length > 0 || shard.suspects.length > 0;
}

/** Whether a lane works on a range now. */
export function othersWork(shard: ShardState): boolean {
  return [...shard.lanes.values()].some(({ reservation }) => reservation !== null);
}

/** Reserves the next range: suspects first, else free tiles sized by the last plan's hint. */
export function reserve(shard: ShardState, lane: Lane): Reservation | null {
  const [suspect, ...others] = shard.suspects;
  if (suspect !== undefined) {
    shard.suspects = others;
    return takeChunk(shard, lane, suspect, suspect);
  }
  const { prepared, tuning } = shard.input;
  const hint = (lane.previous ?? shard.previous)?.chunkRowsHint ?? null;
  const rowsMax = Math.min(hint ?? Infinity, shard.chunkRowsMax ?? Infinity);
  const tiles = hint === null ? tuning.probeTiles : Math.floor(rowsMax / prepared.tileRows);
  const fronts = [...shard.lanes.values()].flatMap((other) =>
    other === lane || other.front === null ? [] : [other.front],
  );
  const taken = reserveAtFront(shard.free, tiles, lane.front, new Set(fronts));
  if (taken === null) return null;
  shard.free = taken.rest;
  return takeChunk(shard, lane, taken.taken, null);
}

function takeChunk(
  shard: ShardState,
  lane: Lane,
  range: TileInterval,
  suspect: Suspect | null,
): Reservation {
  const chunk = shard.nextChunk;
  shard.nextChunk += 1;
  if (suspect === null) lane.front = range.endTile;
  lane.reservation = { firstTile: range.firstTile, endTile: range.endTile, chunk, suspect };
  return lane.reservation;
}

/** Gives a part of the lane's reservation back, and what it knew about the range with it. */
export function giveBack(shard: ShardState, lane: Lane, range: TileInterval): void {
  const { suspect } = lane.reservation ?? { suspect: null };
  if (range.firstTile >= range.endTile) return;
  if (suspect === null) shard.free = giveBackTiles(shard.free, range);
  else {
    const { firstTile, endTile } = range;
    shard.suspects = [{ ...suspect, firstTile, endTile }, ...shard.suspects];
  }
}

/** Gives the whole reservation back: nothing of it was computed. */
export function abandon(shard: ShardState, lane: Lane): void {
  if (lane.reservation === null) return;
  giveBack(shard, lane, lane.reservation);
  if (lane.reservation.suspect === null) lane.front = lane.reservation.firstTile;
  lane.reservation = null;
}

/** Keeps a prefix of the reservation for the plan and gives the rest back. */
export function shrink(shard: ShardState, lane: Lane, tiles: number): Reservation {
  const reservation = lane.reservation as Reservation;
  const wanted = Math.max(1, Math.floor(tiles));
  const endTile = Math.min(reservation.endTile, reservation.firstTile + wanted);
  giveBack(shard, lane, { firstTile: endTile, endTile: reservation.endTile });
  if (reservation.suspect === null) lane.front = endTile;
  lane.reservation = { ...reservation, endTile };
  return lane.reservation;
}

/** Applies the judgement of a failed range; the lane's reservation ends. */
export function applyVerdict(shard: ShardState, lane: Lane, verdict: Verdict): void {
  lane.reservation = null;
  for (const range of verdict.free) shard.free = giveBackTiles(shard.free, range);
  shard.suspects = [...verdict.suspects, ...shard.suspects];
  if (verdict.parked !== null) park(shard, verdict.parked);
  shard.excluded = liftExclusions(shard.excluded, verdict.lifted);
  if (verdict.excluded !== null) {
    shard.excluded = addExclusions(shard.excluded, [exclusionOf(verdict.excluded)]);
  }
}

function park(shard: ShardState, tile: ParkedTile): void {
  const { count: before, first } = shard.parked;
  shard.parked = { count: before + 1, first: first ?? tile };
  shard.parkedUnsealed = [...shard.parkedUnsealed, tile];
}

/** Counts an answered chunk; from here on its part is the truth about its tiles. */
export function commit(shard: ShardState, lane: Lane, answer: ExecuteAnswer): void {
  lane.reservation = null;
  shard.unsealed = [...shard.unsealed, { answer }];
  shard.counts = addChunk(shard.counts, answer, 1);
}

/** Takes back what a lost part had counted, and frees its tiles. */
export function loseParts(
  shard: ShardState,
  sealed: readonly UnsealedPart[],
  lost: readonly TileInterval[],
): void {
  for (const { answer } of sealed) {
    const { firstTile, endTile } = answer.part;
    const gone = lost.some((range) => range.firstTile <= firstTile && endTile <= range.endTile);
    if (gone) shard.counts = addChunk(shard.counts, answer, -1);
  }
  for (const range of lost) shard.free = giveBackTiles(shard.free, range);
}

function addChunk(counts: ShardCounts, answer: ExecuteAnswer, sign: 1 | -1): ShardCounts {
  return {
    ...counts,
    chunks: counts.chunks + sign,
    tilesDone: counts.tilesDone + sign * (answer.part.endTile - answer.part.firstTile),
    rowsDone: counts.rowsDone + sign * answer.part.rows,
    hits: counts.hits + sign * answer.hits,
    outside: counts.outside + sign * answer.outside,
    invalid: counts.invalid + sign * answer.invalid,
    kernelSeconds: counts.kernelSeconds + sign * answer.seconds.kernel,
    workSeconds: counts.workSeconds + sign * answer.seconds.work,
  };
}

/** Counts something that happened beside commits. */
export function count(shard: ShardState, what: 'plans' | 'superseded' | 'failures'): void {
  shard.counts = { ...shard.counts, [what]: shard.counts[what] + 1 };
  if (what === 'plans') shard.plansUnsealed += 1;
}
