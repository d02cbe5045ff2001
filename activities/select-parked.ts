// Owns the selectParked activity: which parked tiles of sealed chains an operator's order means.
import { parkedOf, readSegmentChain, type SegmentParkedTile } from '../datasets/index.ts';
import type { ParkedSelection } from '../operator/index.ts';
import type {
  SelectParkedAnswer,
  SelectParkedRequest,
  TileInterval,
} from '../workflows/activity-contract.ts';
import { loadContext } from './context.ts';

/** Ranges in one answer; it rides in history and in the state of the run. */
const RANGES_MAX = 1_000;

/**
 * Selects parked tiles, each shard's ascending; those that were retried since and are done are not
 * parked. The first ranges are answered when there are too many: the others stay parked, and another
 * order finds them.
 */
export async function selectParked(request: SelectParkedRequest): Promise<SelectParkedAnswer> {
  const { sinkPath } = await loadContext(request.contextPath, request.contextDigest);
  const shards: { readonly shard: number; readonly tiles: readonly TileInterval[] }[] = [];
  let room = RANGES_MAX;
  for (const { shard, head } of request.shards) {
    const parked = parkedOf(await readSegmentChain(sinkPath, head));
    const meant = parked.filter((tile) => isMeant(tile, request.select)).map(({ tile }) => tile);
    const tiles = rangesOf(meant).slice(0, room);
    room -= tiles.length;
    shards.push({ shard, tiles });
  }
  return { shards };
}

function isMeant(
  { tile, fingerprint }: SegmentParkedTile,
  { tiles, fingerprint: wanted }: ParkedSelection,
): boolean {
  const within =
    tiles === null || tiles.some(({ firstTile, endTile }) => firstTile <= tile && tile < endTile);
  return within && (wanted === null || wanted === fingerprint);
}

/** Ascending tiles as half-open ranges. */
function rangesOf(tiles: readonly number[]): TileInterval[] {
  const ranges: { firstTile: number; endTile: number }[] = [];
  for (const tile of tiles) {
    const last = ranges.at(-1);
    if (last?.endTile === tile) last.endTile = tile + 1;
    else ranges.push({ firstTile: tile, endTile: tile + 1 });
  }
  return ranges;
}
