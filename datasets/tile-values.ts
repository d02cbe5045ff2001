// Owns the values of one tile in memory and the facts about them that the tile table and
// dataset.json keep: bounds, counts of null, NaN and unusable rows, ranges, checksums.
import { columnChecksum } from './checksum.ts';
import type { ColumnType } from './format.ts';

/**
 * Values of one column of one tile. Slots of nulls hold zero, so that equal tiles have equal bytes.
 */
export interface ColumnValues {
  /** rows × 8 bytes: doubles, or int64 (also for timestamps). */
  readonly values: Float64Array | BigInt64Array;
  /** ⌈rows / 8⌉ bytes, bit set = valid; null when nothing is null. */
  readonly validity: Uint8Array | null;
}

export interface ColumnStatistics {
  readonly nulls: number;
  readonly nans: number;
  /** Over values that are neither null nor NaN; +∞/−∞ where there are none. */
  readonly min: number;
  readonly max: number;
}

export interface TileStatistics {
  readonly rows: number;
  /** Of rows whose coordinates are both finite; +∞, +∞, −∞, −∞ where there are none. */
  readonly bounds: readonly [number, number, number, number];
  /** Rows with a coordinate that is null, NaN or infinite. */
  readonly invalid: number;
  readonly columns: readonly ColumnStatistics[];
  /** XXH3-128 per column, 32 hex digits. */
  readonly checksums: readonly string[];
}

export interface Tile {
  readonly rows: number;
  readonly columns: readonly ColumnValues[];
}

export const NO_VALUES: ColumnStatistics = {
  nulls: 0,
  nans: 0,
  min: Number.POSITIVE_INFINITY,
  max: Number.NEGATIVE_INFINITY,
};

/**
 * Looks at each value of a tile once.
 *
 * @param coordinates indices of the x and y columns, both float64
 */
export function tileStatistics(
  tile: Tile,
  types: readonly ColumnType[],
  coordinates: readonly [number, number],
): TileStatistics {
  const columns = tile.columns.map((column, index) =>
    types[index] === 'float64' ? floatStatistics(column) : intStatistics(column),
  );
  const checksums = tile.columns.map(({ values, validity }) => {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    return columnChecksum(validity, bytes);
  });
  const [x, y] = [tile.columns[coordinates[0]], tile.columns[coordinates[1]]];
  if (x === undefined || y === undefined) throw new Error('coordinate columns are always present');
  return { rows: tile.rows, ...pointStatistics(tile.rows, x, y), columns, checksums };
}

export function mergeStatistics(a: ColumnStatistics, b: ColumnStatistics): ColumnStatistics {
  return {
    nulls: a.nulls + b.nulls,
    nans: a.nans + b.nans,
    min: Math.min(a.min, b.min),
    max: Math.max(a.max, b.max),
  };
}

export function isValid(validity: Uint8Array | null, row: number): boolean {
  return validity === null || (((validity[row >> 3] ?? 0) >> (row & 7)) & 1) === 1;
}

/** Doubles of a float64 column. */
function doubles(column: ColumnValues): Float64Array {
  const { values } = column;
  if (values instanceof Float64Array) return values;
  throw new Error('a float64 column holds a Float64Array');
}

function pointStatistics(
  rows: number,
  xColumn: ColumnValues,
  yColumn: ColumnValues,
): Pick<TileStatistics, 'bounds' | 'invalid'> {
  const [x, y] = [doubles(xColumn), doubles(yColumn)];
  let [minX, minY] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  let [maxX, maxY] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  let invalid = 0;
  for (let row = 0; row < rows; row += 1) {
    // Adding zero turns −0 into +0, so that bounds do not depend on the order of equal values.
    const px = (x[row] as number) + 0;
    const py = (y[row] as number) + 0;
    const finite = px - px === 0 && py - py === 0;
    if (!finite || !isValid(xColumn.validity, row) || !isValid(yColumn.validity, row)) {
      invalid += 1;
      continue;
    }
    if (px < minX) minX = px;
    if (px > maxX) maxX = px;
    if (py < minY) minY = py;
    if (py > maxY) maxY = py;
  }
  return { bounds: [minX, minY, maxX, maxY], invalid };
}

function floatStatistics(column: ColumnValues): ColumnStatistics {
  const values = doubles(column);
  const { validity } = column;
  let [nulls, nans] = [0, 0];
  let { min, max } = NO_VALUES;
  for (let row = 0; row < values.length; row += 1) {
    const value = (values[row] as number) + 0;
    if (validity !== null && !isValid(validity, row)) nulls += 1;
    else if (value !== value) nans += 1;
    else {
      if (value < min) min = value;
      if (value > max) max = value;
    }
  }
  return { nulls, nans, min, max };
}

/** Reads int64 as two halves: a BigInt per value would cost more than everything else. */
function intStatistics(column: ColumnValues): ColumnStatistics {
  const { values, validity } = column;
  const rows = values.length;
  const high = new Int32Array(values.buffer, values.byteOffset, 2 * rows);
  const low = new Uint32Array(values.buffer, values.byteOffset, 2 * rows);
  let nulls = 0;
  let { min, max } = NO_VALUES;
  for (let row = 0; row < rows; row += 1) {
    if (validity !== null && !isValid(validity, row)) {
      nulls += 1;
      continue;
    }
    const value = (high[2 * row + 1] as number) * 4294967296 + (low[2 * row] as number);
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return { nulls, nans: 0, min, max };
}
