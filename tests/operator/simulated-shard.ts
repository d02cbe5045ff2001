// One shard of a simulated run: the real state, reservations, bisection, pins and orders; what lane.ts
// does over activities is done here by hand, one step at a time.
import type { OperatorState } from '../../operator/index.ts';
import { resolvePins } from '../../planner/index.ts';
import type { Failure } from '../../workflows/failures.ts';
import { countTiles } from '../../workflows/intervals.ts';
import { createLane } from '../../workflows/lane.ts';
import { followOrder, nextOrder } from '../../workflows/orders.ts';
import { keptUses, pinsHere, returnUses, takeUses } from '../../workflows/pins-here.ts';
import { react, reactToRefusal } from '../../workflows/reactions.ts';
import { pendingShard } from '../../workflows/run-state.ts';
import {
  abandon,
  commit,
  hasWork,
  openShard,
  progressOf,
  reserve,
  shrink,
  type Lane,
  type ShardState,
} from '../../workflows/shard-state.ts';
import type { ShardInput } from '../../workflows/messages.ts';
import { simulatedRefusal } from '../e2e/harness/simulated-values.ts';
import { LEASE, shardInput } from '../workflows/shard-values.ts';
import { must } from './audit-chain.ts';

export type Outcome = 'done' | 'data' | 'fault' | 'lost' | 'memory';

export const VARIANTS = ['assign/a@1', 'assign/b@1'] as const;

/** What was planned for a lane's reservation, and under what. */
interface Planned {
  readonly epoch: number;
  readonly at: number;
  readonly variant: string | null;
  readonly tilesMax: number;
  readonly orderPin: string | null;
  /** Uses of pins before this plan took its own. */
  readonly usesBefore: ShardState['pinUses'];
  executing: boolean;
}

/** A chunk that started, for the oracle. */
export interface Start {
  readonly shard: number;
  /** Epoch of the plan, which must be the shard's. */
  readonly epoch: number;
  readonly shardEpoch: number;
  readonly plannedAt: number;
  readonly firstTile: number;
  readonly endTile: number;
  readonly variant: string;
  /** Variant that a retry order pins for these tiles. */
  readonly orderPin: string | null;
  /** Uses of pins when it was planned, and the pins that it uses itself. */
  readonly usesBefore: ShardState['pinUses'];
  readonly uses: readonly string[];
}

const OPERATION = 'assign';

const INPUT = ofSize(4, shardInput(1));

/** Reservations of several tiles, so that plans shrink them and failures halve them. */
function ofSize(probeTiles: number, input: ShardInput): ShardInput {
  const { prepared, tuning } = input;
  const work = { ...prepared.work, operation: OPERATION };
  return { ...input, prepared: { ...prepared, work }, tuning: { ...tuning, probeTiles } };
}

export class SimulatedShard {
  state: ShardState;
  /** Operator states on their way, oldest first. */
  readonly signals: OperatorState[] = [];
  /** Tiles that segments name as parked, and tiles that they name as done. */
  readonly #parked = new Set<number>();
  readonly #done = new Set<number>();
  readonly #planned = new Map<Lane, Planned>();
  readonly #shard: number;

  constructor(shard: number, firstTile: number, endTile: number, operator: OperatorState) {
    const progress = pendingShard(shard, { firstTile, endTile });
    this.#shard = shard;
    this.state = openShard({ ...INPUT, operator, progress });
  }

  /** Takes the next operator state; a pause that cancels gives the chunks in flight back. */
  deliver(): void {
    const next = this.signals.shift();
    if (next === undefined) return;
    must(next.epoch > this.state.operator.epoch, 'a shard never goes back to an older epoch');
    this.state.operator = next;
    this.state.pinUses = keptUses(this.state.pinUses, next);
    if (next.pause?.mode !== 'now') return;
    for (const [lane, planned] of this.#planned) {
      if (!planned.executing) continue;
      abandon(this.state, lane);
      this.#planned.delete(lane);
    }
  }

  /** Moves one lane on. */
  step(index: number, outcome: Outcome, nowMs: number): Start | null {
    const { state } = this;
    const lane = state.lanes.get(index) ?? { ...createLane(index), lease: LEASE };
    state.lanes.set(index, lane);
    const planned = this.#planned.get(lane);
    if (planned?.executing === true) this.#finish(lane, planned, outcome);
    else if (planned !== undefined) return this.#start(lane, planned);
    else this.#plan(lane, nowMs);
    return null;
  }

  #mayWork(): boolean {
    const { pause, cancel } = this.state.operator;
    return pause === null && cancel === null && hasWork(this.state);
  }

  #plan(lane: Lane, at: number): void {
    const { state } = this;
    if (lane.index >= state.operator.limits.lanes || !this.#mayWork()) return;
    const reservation = reserve(state, lane);
    if (reservation === null) return;
    const { firstTile, endTile, suspect } = reservation;
    const usesBefore = state.pinUses;
    const pins = pinsHere(state, reservation, at);
    takeUses(state, lane, pins, firstTile);
    const where = { firstTile, reservedTiles: endTile - firstTile };
    const { winners, tilesUntilChange } = resolvePins(pins, where, { operation: OPERATION }, at);
    const pin = winners.find(({ aspect }) => aspect === 'variant');
    const failed = new Set([
      ...(suspect?.faults.map(({ variant }) => variant) ?? []),
      ...(suspect?.onlyOwn === true ? [] : state.excluded.map(({ variant }) => variant)),
    ]);
    const choices = VARIANTS.filter((name) => pin === undefined || pin.value === name);
    const orderPin = suspect?.pin?.aspect === 'variant' ? String(suspect.pin.value) : null;
    this.#planned.set(lane, {
      epoch: state.operator.epoch,
      at,
      variant: choices.find((name) => !failed.has(name)) ?? null,
      tilesMax: Math.min(3, tilesUntilChange ?? Infinity),
      orderPin,
      usesBefore,
      executing: false,
    });
  }

  #start(lane: Lane, planned: Planned): Start | null {
    const { state } = this;
    const { pause, cancel, epoch } = state.operator;
    if (pause !== null || cancel !== null || epoch !== planned.epoch) {
      this.#giveUp(lane);
      abandon(state, lane);
      return null;
    }
    if (planned.variant === null) {
      this.#giveUp(lane);
      const { failure } = reactToRefusal(
        state,
        lane,
        simulatedRefusal(VARIANTS, 'hold'),
        () => true,
      );
      must(failure === null, 'a refusal that says hold fails nothing');
      return null;
    }
    const { uses } = lane;
    lane.uses = [];
    planned.executing = true;
    const { firstTile, endTile } = shrink(state, lane, planned.tilesMax);
    return {
      shard: this.#shard,
      epoch: planned.epoch,
      shardEpoch: epoch,
      plannedAt: planned.at,
      firstTile,
      endTile,
      variant: planned.variant,
      orderPin: planned.orderPin,
      usesBefore: planned.usesBefore,
      uses,
    };
  }

  #giveUp(lane: Lane): void {
    returnUses(this.state, lane);
    this.#planned.delete(lane);
  }

  #finish(lane: Lane, { variant }: Planned, outcome: Outcome): void {
    const { state } = this;
    const range = lane.reservation;
    must(range !== null && variant !== null, 'what is executed is reserved and has a variant');
    this.#planned.delete(lane);
    if (outcome !== 'done') {
      const attempt = { planId: 'p', variant, deviceId: 'cpu', host: LEASE.host };
      react(state, lane, failureOf(outcome, range.firstTile), attempt);
      return;
    }
    const { firstTile, endTile } = range;
    const rows = (endTile - firstTile) * 1000;
    commit(state, lane, {
      part: { file: 'x', sha256: 'a', bytes: 1, rows, firstTile, endTile },
      ...{ hits: rows, outside: 0, invalid: 0, deviceClass: 'cpu', image: 'i', peakBytes: 1 },
      seconds: { queued: 0, work: 1, read: 0, kernel: 1, write: 0 },
    });
  }

  /** Seals parts and parked tiles. */
  seal(): void {
    const { state } = this;
    for (const { tile } of state.parkedUnsealed) this.#parked.add(tile);
    for (const { answer } of state.unsealed) {
      for (let tile = answer.part.firstTile; tile < answer.part.endTile; tile += 1) {
        must(!this.#done.has(tile), `tile ${tile} commits once`);
        this.#done.add(tile);
        this.#parked.delete(tile);
      }
    }
    state.unsealed = [];
    state.parkedUnsealed = [];
  }

  /** Follows the next order about parked tiles. */
  follow(): void {
    const { state } = this;
    const order = nextOrder(state.operator.parkedOrders, state);
    if (order === null) return;
    this.seal();
    const held = [...state.lanes.values()].flatMap(({ reservation }) => reservation ?? []);
    const selected = [...this.#parked]
      .toSorted((one, other) => one - other)
      .filter(
        (tile) =>
          order.select.tiles === null ||
          order.select.tiles.some((one) => one.firstTile <= tile && tile < one.endTile),
      )
      .map((tile) => ({ firstTile: tile, endTile: tile + 1 }));
    const next = followOrder(state, order, selected, [...state.free, ...held]);
    Object.assign(state, next);
  }

  /** Continues as new: possible between chunks, once everything is sealed. */
  rotate(): void {
    if (this.#planned.size > 0) return;
    this.seal();
    const { input, operator } = this.state;
    const carried = JSON.parse(JSON.stringify(progressOf(this.state, 'open'))) as never;
    const next: ShardInput = { ...input, operator, progress: carried };
    this.state = openShard(next);
  }

  /** Whether a plan is out that may still give its uses of pins back. */
  isPlanning(): boolean {
    return [...this.#planned.values()].some(({ executing }) => !executing);
  }

  isBusy(): boolean {
    return this.#planned.size > 0 || this.#mayWork();
  }

  /** I1 of shard-state.ts, and the counts that people see. */
  checkTiles(): void {
    const { state } = this;
    const { range } = state.input.progress;
    const seen = new Map<number, string>();
    const put = (first: number, end: number, place: string): void => {
      for (let tile = first; tile < end; tile += 1) {
        const other = seen.get(tile);
        must(other === undefined, `tile ${tile} is in ${place} and in ${other ?? ''}`);
        seen.set(tile, place);
      }
    };
    for (const one of state.free) put(one.firstTile, one.endTile, 'free');
    for (const one of state.suspects) put(one.firstTile, one.endTile, 'suspects');
    for (const { reservation } of state.lanes.values()) {
      if (reservation !== null) put(reservation.firstTile, reservation.endTile, 'a reservation');
    }
    for (const { answer } of state.unsealed)
      put(answer.part.firstTile, answer.part.endTile, 'parts');
    for (const tile of this.#done) put(tile, tile + 1, 'segments');
    for (const one of state.skipped) put(one.firstTile, one.endTile, 'skipped');
    const named = new Set([...this.#parked, ...state.parkedUnsealed.map(({ tile }) => tile)]);
    let parked = 0;
    for (let tile = range.firstTile; tile < range.endTile; tile += 1) {
      if (seen.has(tile)) continue;
      must(named.has(tile), `tile ${tile} is lost`);
      parked += 1;
    }
    must(parked === state.parked.count, `${parked} tiles are parked, not ${state.parked.count}`);
    const sum = seen.size + parked;
    must(sum === range.endTile - range.firstTile, `${sum} tiles in all`);
    const unsealed = countTiles(state.unsealed.map(({ answer }) => answer.part));
    must(state.counts.tilesDone === this.#done.size + unsealed, 'tiles done are counted');
  }
}

const KINDS = {
  data: 'tile-data',
  fault: 'kernel-fault',
  lost: 'host-lost',
  memory: 'out-of-memory',
} as const;

function failureOf(outcome: Exclude<Outcome, 'done'>, tile: number): Failure {
  return {
    kind: KINDS[outcome],
    code: outcome.toUpperCase(),
    message: outcome,
    tile: outcome === 'data' && tile % 2 === 0 ? tile : null,
    input: null,
    fingerprint: null,
  };
}
