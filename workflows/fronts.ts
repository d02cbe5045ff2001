// Owns where a lane takes its next tiles. Each lane works at a front of its own: what its plan leaves
// of a reservation lies right before the free tiles behind it and joins them again. Lanes that took
// turns on one front would leave such a rest between two reservations, as a chunk too small to be
// worth a plan.
//
// I1 only free tiles are taken, as a prefix of an interval or of its second half
// I2 with chunks of one size, lanes leave at most one smaller chunk per front
import type { TileInterval } from './activity-contract.ts';
import { giveBackTiles, reserveTiles, type Taken } from './intervals.ts';

/**
 * Takes tiles at the lane's own front; without one at a front that no other lane works at; else the
 * second half of the largest interval, cut at a multiple of the wanted size from its owner's front.
 *
 * @param own first free tile behind the lane's last chunk; null when it has none
 * @param others fronts of the other lanes
 * @returns null when nothing is free
 */
export function reserveAtFront(
  free: readonly TileInterval[],
  tilesMax: number,
  own: number | null,
  others: ReadonlySet<number>,
): Taken | null {
  const wanted = Math.max(1, Math.floor(tilesMax));
  const chosen =
    free.find(({ firstTile }) => firstTile === own) ??
    free.find(({ firstTile }) => !others.has(firstTile));
  if (chosen !== undefined) return takeFrom(free, chosen, chosen.firstTile, wanted);
  const largest = largestOf(free);
  if (largest === null) return null;
  const chunks = Math.floor((largest.endTile - largest.firstTile) / wanted);
  const kept = chunks < 2 ? 0 : Math.ceil(chunks / 2) * wanted;
  return takeFrom(free, largest, largest.firstTile + kept, wanted);
}

function largestOf(free: readonly TileInterval[]): TileInterval | null {
  let largest: TileInterval | null = null;
  for (const one of free) {
    const size = one.endTile - one.firstTile;
    if (largest === null || size > largest.endTile - largest.firstTile) largest = one;
  }
  return largest;
}

function takeFrom(
  free: readonly TileInterval[],
  chosen: TileInterval,
  firstTile: number,
  tiles: number,
): Taken | null {
  const taken = reserveTiles([{ firstTile, endTile: chosen.endTile }], tiles);
  if (taken === null) return null;
  const others = free.filter((one) => one !== chosen);
  const before = { firstTile: chosen.firstTile, endTile: firstTile };
  return { taken: taken.taken, rest: [before, ...taken.rest].reduce(giveBackTiles, others) };
}
