// Owns which pins matter to a reservation, and how often a pin with a number of chunks was used.
//
// I1 no more chunks of a shard start under a pin than it has: a use is taken before the plan is asked
//    for, and given back unless an execute starts
// I2 which pin wins is the planner's rule (planner/pins.ts): narrowest scope, newest epoch, id
// I3 the pin of a retry order stands alone in its aspect
import type { OperatorState } from '../operator/index.ts';
import type { Pin, PinAspect, RequestPin } from '../planner/index.ts';
import { QUEUES, type TileInterval } from './activity-contract.ts';
import type { Suspect } from './bisection.ts';
import type { Lane, ShardState } from './shard-state.ts';

/** Pins that can be in force somewhere in a range, `chunksLeft` less what other chunks took. */
export function pinsHere(
  shard: ShardState,
  range: TileInterval & { readonly suspect: Suspect | null },
  nowMs: number,
): readonly Pin[] {
  const own = range.suspect?.pin;
  const pins = livePins(shard, nowMs).filter(
    ({ aspect, scope }) =>
      aspect !== own?.aspect &&
      (scope.kind !== 'tiles' ||
        (scope.firstTile < range.endTile && scope.lastTile >= range.firstTile)),
  );
  if (own === undefined) return pins;
  const ordered: Pin = {
    ...own,
    id: `retry-${own.epoch}`,
    scope: { kind: 'run' },
    reason: '',
    author: '',
    expiresAt: null,
    chunksLeft: null,
    ifImpossible: 'hold',
  };
  return [...pins, ordered];
}

/** Pins of the whole shard that have neither expired nor been used up. */
function livePins(shard: ShardState, nowMs: number): readonly Pin[] {
  const { operation } = shard.input.prepared.work;
  return shard.operator.pins.flatMap((pin) => {
    const { scope, expiresAt, chunksLeft } = pin;
    if (expiresAt !== null && expiresAt <= nowMs) return [];
    if (!concerns(pin, operation)) return [];
    const budget = chunksLeft ?? (scope.kind === 'chunks' ? scope.count : null);
    if (budget === null) return [pin];
    const left = budget - (shard.pinUses[pin.id] ?? 0);
    return left > 0 ? [{ ...pin, chunksLeft: left }] : [];
  });
}

/** A variant pin speaks only of the operation its variant belongs to. */
function concerns({ scope, aspect, value }: Pin, operation: string): boolean {
  if (scope.kind === 'operation' && scope.operation !== operation) return false;
  const name = String(value);
  const slash = name.indexOf('/');
  return aspect !== 'variant' || slash < 0 || name.slice(0, slash) === operation;
}

/** The pin that is in force at a tile for an aspect, of those given. */
function winner(pins: readonly Pin[], aspect: PinAspect, tile: number | null): Pin | null {
  const [first] = pins
    .filter(({ scope, aspect: other }) => {
      if (other !== aspect) return false;
      if (scope.kind !== 'tiles') return true;
      return tile !== null && scope.firstTile <= tile && tile <= scope.lastTile;
    })
    .toSorted(
      (one, other) =>
        scopeRank(other) - scopeRank(one) ||
        scopeTiles(one) - scopeTiles(other) ||
        other.epoch - one.epoch ||
        (one.id < other.id ? -1 : 1),
    );
  return first ?? null;
}

function scopeRank({ scope }: Pin): number {
  return ['run', 'operation', 'tiles', 'chunks'].indexOf(scope.kind);
}

function scopeTiles({ scope }: Pin): number {
  return scope.kind === 'tiles' ? scope.lastTile - scope.firstTile : 0;
}

/** Takes a use of each pin with a number of chunks that is in force where the lane's chunk begins. */
export function takeUses(shard: ShardState, lane: Lane, pins: readonly Pin[], tile: number): void {
  const inForce = pins.filter(
    (pin) => pin.chunksLeft !== null && winner(pins, pin.aspect, tile)?.id === pin.id,
  );
  lane.uses = inForce.map(({ id }) => id);
  addUses(shard, lane.uses, 1);
}

/** Gives back what the lane took and has not started an execute with. */
export function returnUses(shard: ShardState, lane: Lane): void {
  addUses(shard, lane.uses, -1);
  lane.uses = [];
}

function addUses(shard: ShardState, ids: readonly string[], more: 1 | -1): void {
  if (ids.length === 0) return;
  const uses = { ...shard.pinUses };
  for (const id of ids) uses[id] = Math.max(0, (uses[id] ?? 0) + more);
  shard.pinUses = uses;
}

/** Forgets the uses of pins that are gone. */
export function keptUses(
  uses: ShardState['pinUses'],
  { pins }: OperatorState,
): ShardState['pinUses'] {
  const there = new Set(pins.map(({ id }) => id));
  return Object.fromEntries(Object.entries(uses).filter(([id]) => there.has(id)));
}

/** Whether a plan made under these pins may cover chunks behind the one it was made for. */
export function coverMore(pins: readonly Pin[]): boolean {
  return pins.every(
    ({ scope, chunksLeft, id }) =>
      chunksLeft === null && ['run', 'operation'].includes(scope.kind) && !id.startsWith('retry-'),
  );
}

/** When the first of these pins ends by time; Infinity if none does. */
export function firstExpiry(pins: readonly Pin[]): number {
  return Math.min(...pins.map(({ expiresAt }) => expiresAt ?? Infinity));
}

/** Where a lane claims, and the pin that says so, if one does. */
export interface ClaimPlace {
  readonly queue: string;
  readonly pin: Pin | null;
}

/**
 * The queue on which a lane claims: a host pin names the host, GPU work the GPU pool.
 *
 * @param range what the lane is to work on; null: whatever comes, where pins of tiles say nothing
 */
export function claimPlace(
  shard: ShardState,
  range: (TileInterval & { readonly suspect: Suspect | null }) | null,
  nowMs: number,
): ClaimPlace {
  const pins = range === null ? livePins(shard, nowMs) : pinsHere(shard, range, nowMs);
  const tile = range?.firstTile ?? null;
  const host = winner(pins, 'host', tile);
  if (host !== null) return { queue: QUEUES.host(String(host.value)), pin: host };
  const runtime = winner(pins, 'runtime', tile);
  const wanted = runtime?.value ?? shard.input.spec.mode;
  return { queue: wanted === 'gpu' ? QUEUES.poolCuda : QUEUES.poolAny, pin: runtime };
}

/** A pin without its words, and without what is so for most pins. */
export function requestPin(pin: Pin): RequestPin {
  const { id, aspect, value, epoch, scope, expiresAt, chunksLeft, ifImpossible } = pin;
  return {
    ...{ id, aspect, value, epoch },
    ...(scope.kind === 'run' ? {} : { scope }),
    ...(expiresAt === null ? {} : { expiresAt }),
    ...(chunksLeft === null ? {} : { chunksLeft }),
    ...(ifImpossible === 'hold' ? {} : { ifImpossible }),
  };
}
