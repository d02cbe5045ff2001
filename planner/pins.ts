// Owns which pins are in force at a place: at most one per aspect.
//
// I1. The narrowest scope wins (chunks, then tiles, operation, run; among tile ranges the shorter),
//     then the newest epoch, then the id, so the answer never depends on the order of the list.
// I2. An expired pin is neither winner nor loser.
// I3. A chunk never crosses the border of a tile-scoped pin: `tilesUntilChange` says where it ends.
import type { Pin, PinAspect, PinsInForce, WhereInput, WorkloadProfile } from './types.ts';

/** Every aspect a pin may fix, in the order plans cite them. */
export const PIN_ASPECTS: readonly PinAspect[] = Object.freeze([
  'runtime',
  'variant',
  'precision',
  'chunkRows',
  'device',
  'host',
]);

/**
 * Resolves every live pin of a run to those in force for one reservation.
 *
 * @param nowMs milliseconds since the Unix epoch, for pins that expire by time
 */
export function resolvePins(
  pins: readonly Pin[],
  where: Pick<WhereInput, 'firstTile' | 'reservedTiles'>,
  work: Pick<WorkloadProfile, 'operation'>,
  nowMs: number,
): PinsInForce {
  const live = pins.filter((pin) => isLive(pin, nowMs) && concerns(pin, work.operation));
  const inForce = live.filter((pin) => coversTile(pin, where.firstTile));
  const winners: Pin[] = [];
  const losers: string[] = [];
  for (const aspect of PIN_ASPECTS) {
    const [winner, ...others] = inForce
      .filter((pin) => pin.aspect === aspect)
      .toSorted(comparePins);
    if (winner !== undefined) {
      winners.push(winner);
      losers.push(...others.map((pin) => pin.id));
    }
  }
  const tilesUntilChange = nextBorder(live, where.firstTile) - where.firstTile;
  return tilesUntilChange < where.reservedTiles
    ? { winners, losers, tilesUntilChange }
    : { winners, losers };
}

function isLive(pin: Pin, nowMs: number): boolean {
  const chunksLeft = pin.chunksLeft ?? (pin.scope.kind === 'chunks' ? pin.scope.count : null);
  return (
    (pin.expiresAt === null || pin.expiresAt > nowMs) && (chunksLeft === null || chunksLeft > 0)
  );
}

/** A variant pin speaks only of the operation its variant belongs to. */
function concerns(pin: Pin, operation: string): boolean {
  if (pin.scope.kind === 'operation' && pin.scope.operation !== operation) {
    return false;
  }
  const value = String(pin.value);
  return (
    pin.aspect !== 'variant' ||
    !value.includes('/') ||
    value.slice(0, value.indexOf('/')) === operation
  );
}

function coversTile(pin: Pin, tile: number): boolean {
  return pin.scope.kind !== 'tiles' || (pin.scope.firstTile <= tile && tile <= pin.scope.lastTile);
}

function comparePins(a: Pin, b: Pin): number {
  return (
    scopeRank(b) - scopeRank(a) ||
    scopeTiles(a) - scopeTiles(b) ||
    b.epoch - a.epoch ||
    (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
  );
}

function scopeRank(pin: Pin): number {
  switch (pin.scope.kind) {
    case 'chunks':
      return 3;
    case 'tiles':
      return 2;
    case 'operation':
      return 1;
    case 'run':
      return 0;
  }
}

function scopeTiles(pin: Pin): number {
  return pin.scope.kind === 'tiles' ? pin.scope.lastTile - pin.scope.firstTile : 0;
}

/** First tile after `tile` at which a tile-scoped pin begins or has ended; Infinity if none does. */
function nextBorder(pins: readonly Pin[], tile: number): number {
  let border = Infinity;
  for (const { scope } of pins) {
    if (scope.kind === 'tiles') {
      for (const edge of [scope.firstTile, scope.lastTile + 1]) {
        if (edge > tile && edge < border) {
          border = edge;
        }
      }
    }
  }
  return border;
}
