// Owns how pins are set: which older ones they replace, and what they are called.
//
// I1 a run has at most one pin per aspect and scope; "the next n chunks" is one scope, whatever n
// I2 a pin that was there already, word for word and without a limit, stays the pin it was
import type { Pin, PinScope } from '../planner/index.ts';
import type { OperatorRequest, PinWish } from './types.ts';

/** Whether a run can have only one of the two: the same aspect over the same scope. */
export function samePlace(
  one: Pick<Pin, 'aspect' | 'scope'>,
  other: Pick<Pin, 'aspect' | 'scope'>,
): boolean {
  return one.aspect === other.aspect && sameScope(one.scope, other.scope);
}

function sameScope(one: PinScope, other: PinScope): boolean {
  switch (one.kind) {
    case 'run':
    case 'chunks':
      return other.kind === one.kind;
    case 'operation':
      return other.kind === one.kind && other.operation === one.operation;
    case 'tiles':
      return (
        other.kind === one.kind &&
        other.firstTile === one.firstTile &&
        other.lastTile === one.lastTile
      );
  }
}

/** Pins after a request, and the ids that stand for its wishes, in their order. */
export interface SetPins {
  readonly pins: readonly Pin[];
  readonly ids: readonly string[];
}

/**
 * Sets pins beside those that are there, in the places of those they replace or behind all.
 *
 * @param epoch epoch of the state that results; names the new pins
 */
export function setPins(
  current: readonly Pin[],
  wishes: readonly PinWish[],
  { by, reason }: Pick<OperatorRequest, 'by' | 'reason'>,
  epoch: number,
  nowMs: number,
): SetPins {
  let pins = current;
  const ids: string[] = [];
  for (const [index, wish] of wishes.entries()) {
    const id = wishes.length === 1 ? `pin-${epoch}` : `pin-${epoch}-${index + 1}`;
    const pin: Pin = {
      id,
      aspect: wish.aspect,
      value: wish.value,
      scope: wish.scope,
      reason,
      author: by,
      epoch,
      expiresAt: wish.ttlMs === null ? null : nowMs + wish.ttlMs,
      chunksLeft: chunksOf(wish),
      ifImpossible: wish.ifImpossible,
    };
    const older = pins.find((other) => samePlace(other, pin));
    if (older === undefined) pins = [...pins, pin];
    else if (!isSamePin(older, pin)) pins = pins.map((other) => (other === older ? pin : other));
    ids.push(older !== undefined && isSamePin(older, pin) ? older.id : id);
  }
  return { pins, ids };
}

/** Chunks of each shard that may start under it: the smaller of what limit and scope say. */
function chunksOf({ ttlChunks, scope }: PinWish): number | null {
  if (scope.kind !== 'chunks') return ttlChunks;
  return ttlChunks === null ? scope.count : Math.min(ttlChunks, scope.count);
}

/** A pin with a limit is never the same: asking again begins its time or its chunks anew. */
function isSamePin(older: Pin, pin: Pin): boolean {
  return (
    older.value === pin.value &&
    older.ifImpossible === pin.ifImpossible &&
    older.author === pin.author &&
    older.reason === pin.reason &&
    [older.expiresAt, pin.expiresAt, older.chunksLeft, pin.chunksLeft].every((end) => end === null)
  );
}
