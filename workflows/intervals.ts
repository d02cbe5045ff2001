// Owns the set of free tiles of a shard: ascending, disjoint, non-empty half-open intervals in
// which no two touch. Pure functions; callers replace the value.
import type { TileInterval } from './activity-contract.ts';

export interface Taken {
  readonly taken: TileInterval;
  readonly rest: readonly TileInterval[];
}

/** Number of tiles in a set of disjoint intervals. */
export function countTiles(intervals: readonly TileInterval[]): number {
  return intervals.reduce((sum, interval) => sum + (interval.endTile - interval.firstTile), 0);
}

/**
 * Takes a prefix of the first free interval.
 *
 * @param tilesMax at least 1; the interval may hold fewer
 * @returns null when nothing is free
 */
export function reserveTiles(free: readonly TileInterval[], tilesMax: number): Taken | null {
  const [first, ...others] = free;
  if (first === undefined) return null;
  const endTile = Math.min(first.endTile, first.firstTile + Math.max(1, Math.floor(tilesMax)));
  const taken = { firstTile: first.firstTile, endTile };
  const left = endTile < first.endTile ? [{ firstTile: endTile, endTile: first.endTile }] : [];
  return { taken, rest: [...left, ...others] };
}

/**
 * Gives an interval back; empty ones are ignored and neighbours grow together.
 *
 * @throws {RangeError} if a tile of it is free already: the same tile would be computed twice
 */
export function giveBackTiles(
  free: readonly TileInterval[],
  interval: TileInterval,
): readonly TileInterval[] {
  if (interval.firstTile >= interval.endTile) return free;
  const before = free.filter((other) => other.endTile <= interval.firstTile);
  const after = free.filter((other) => other.firstTile >= interval.endTile);
  if (before.length + after.length !== free.length) {
    throw new RangeError(
      `tiles ${interval.firstTile}-${interval.endTile - 1} are given back twice: expected none of them free`,
    );
  }
  const last = before.at(-1);
  const next = after[0];
  const joinsLast = last !== undefined && last.endTile === interval.firstTile;
  const joinsNext = next !== undefined && next.firstTile === interval.endTile;
  return [
    ...(joinsLast ? before.slice(0, -1) : before),
    {
      firstTile: joinsLast ? last.firstTile : interval.firstTile,
      endTile: joinsNext ? next.endTile : interval.endTile,
    },
    ...(joinsNext ? after.slice(1) : after),
  ];
}

/** Tiles of one set that are not in another; both ascending and disjoint, as is the answer. */
export function subtractTiles(
  from: readonly TileInterval[],
  removed: readonly TileInterval[],
): readonly TileInterval[] {
  return from.flatMap((interval) => {
    const left: TileInterval[] = [];
    let { firstTile } = interval;
    for (const gone of removed) {
      if (gone.endTile <= firstTile || gone.firstTile >= interval.endTile) continue;
      if (gone.firstTile > firstTile) left.push({ firstTile, endTile: gone.firstTile });
      firstTile = Math.max(firstTile, gone.endTile);
    }
    if (firstTile < interval.endTile) left.push({ firstTile, endTile: interval.endTile });
    return left;
  });
}

/** Tiles of any of these intervals, which may overlap and come in any order. */
export function uniteTiles(intervals: readonly TileInterval[]): readonly TileInterval[] {
  const united: TileInterval[] = [];
  const ascending = intervals.toSorted((one, other) => one.firstTile - other.firstTile);
  for (const { firstTile, endTile } of ascending) {
    const last = united.at(-1);
    if (firstTile >= endTile) continue;
    if (last === undefined || last.endTile < firstTile) united.push({ firstTile, endTile });
    else if (last.endTile < endTile) {
      united[united.length - 1] = { firstTile: last.firstTile, endTile };
    }
  }
  return united;
}
