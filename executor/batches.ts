// Owns how a chunk's tiles are cut into batches: whole tiles, in order, one native call each.

/** Half-open range of tiles. */
export interface Batch {
  readonly firstTile: number;
  readonly endTile: number;
}

/**
 * Cuts a range of tiles so that a batch has at most `rowsMax` rows, or is a single tile.
 *
 * @param rowsOf rows of a tile
 * @returns batches in tile order, never empty ones
 */
export function cutBatches(
  { firstTile, endTile }: Batch,
  rowsOf: (tile: number) => number,
  rowsMax: number,
): readonly Batch[] {
  const batches: Batch[] = [];
  let first = firstTile;
  let rows = 0;
  for (let tile = firstTile; tile < endTile; tile += 1) {
    if (tile > first && rows + rowsOf(tile) > rowsMax) {
      batches.push({ firstTile: first, endTile: tile });
      first = tile;
      rows = 0;
    }
    rows += rowsOf(tile);
  }
  if (first < endTile) batches.push({ firstTile: first, endTile });
  return batches;
}
