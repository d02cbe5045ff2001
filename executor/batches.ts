// Owns how a chunk's tiles are cut into batches: whole tiles, in order, one native call each.
//
// On a CPU a call streams its tiles, so its rows cost memory only where they are put out. On a GPU a call
// fills a slot's arena once; a longer one would fill it again and again while other slots stand idle.

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

/**
 * Without row output a call's memory does not grow with its rows, and calls of some 50 ms make little of the
 * 1 to 2 ms that the hop to the next one costs on busy cores. With it they hold their rows' results.
 */
const BATCH_ROWS_MAX = 1 << 22;
const BATCH_ROWS_MAX_WITH_OUTPUT = 1 << 18;
/** Calls per slot that even a small chunk is cut into, so that all slots end together. */
const BATCHES_PER_SLOT_MIN = 4;
/** Per row and column: the value, its validity bit and as much again for sums; per row: id and list entry. */
const ARENA_BYTES_PER_COLUMN = 16.25;
const ARENA_BYTES_PER_ROW = 8;
/** What the tables of a batch and alignment take of an arena. */
const ARENA_SHARE = 15 / 16;

export interface BatchSize {
  /** Rows of all tiles, and of the largest one. */
  readonly rows: number;
  readonly tileRowsMax: number;
  /** Calls in flight at once. */
  readonly slots: number;
  readonly hasOutput: boolean;
  /** Bytes of a device's arena, and columns that go into it; null: no device. */
  readonly arena: { readonly bytes: number; readonly columns: number } | null;
}

/** Rows that a batch should have, memory of the host left aside; at least those of the largest tile. */
export function wantedBatchRows(size: BatchSize): number {
  const even = Math.ceil(size.rows / (size.slots * BATCHES_PER_SLOT_MIN));
  const most =
    size.arena === null
      ? size.hasOutput
        ? BATCH_ROWS_MAX_WITH_OUTPUT
        : BATCH_ROWS_MAX
      : Math.min(BATCH_ROWS_MAX, arenaRows(size.arena));
  return Math.max(size.tileRowsMax, 1, Math.min(most, even));
}

function arenaRows({ bytes, columns }: NonNullable<BatchSize['arena']>): number {
  const bytesPerRow = columns * ARENA_BYTES_PER_COLUMN + ARENA_BYTES_PER_ROW;
  return Math.floor((bytes * ARENA_SHARE) / bytesPerRow);
}
