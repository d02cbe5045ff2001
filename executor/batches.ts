// Owns how a chunk's tiles are cut into batches: whole tiles, in order, one native call each.
import type { TileInput } from '../native/index.ts';

/**
 * Groups consecutive tiles so that a batch has at most `rowsMax` rows, or is a single tile.
 *
 * @returns batches in tile order, never empty ones
 */
export function cutBatches(
  tiles: readonly TileInput[],
  rowsMax: number,
): readonly (readonly TileInput[])[] {
  const batches: TileInput[][] = [];
  let rows = 0;
  for (const tile of tiles) {
    const last = batches.at(-1);
    if (last === undefined || rows + tile.rows > rowsMax) {
      batches.push([tile]);
      rows = tile.rows;
    } else {
      last.push(tile);
      rows += tile.rows;
    }
  }
  return batches;
}
