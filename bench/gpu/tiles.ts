// Owns the data files of self-check and benchmarks: Arrow IPC files of the product's own writer, and
// the byte ranges of their columns as the product's own reader finds them.
import { Field, Float64, Schema } from 'apache-arrow';
import { ArrowFile } from '../../datasets/arrow-file.ts';
import { ArrowFileWriter } from '../../datasets/arrow-writer.ts';
import type { ColumnInput, KernelLibrary, TileInput } from '../../native/index.ts';
import type { Points } from '../kernels/points.ts';

export const TILE_ROWS = 65_536;
const COLUMNS = ['lon', 'lat', 'value'] as const;

/** Writes points and values, `tileRows` to a record batch; the last may be shorter. */
export async function writeArrowTiles(
  library: KernelLibrary,
  path: string,
  points: Points,
  values: Float64Array,
  tileRows: number,
): Promise<readonly TileInput[]> {
  const fields = COLUMNS.map((name) => new Field(name, new Float64(), false));
  const writer = await ArrowFileWriter.create(path, new Schema(fields), { digest: false });
  const checksums: string[][] = [];
  const none = new Uint8Array(0);
  for (let from = 0; from < values.length; from += tileRows) {
    const rows = Math.min(tileRows, values.length - from);
    const columns = [points.x, points.y, values].map(
      (column) => new Uint8Array(column.buffer, column.byteOffset + from * 8, rows * 8),
    );
    checksums.push(columns.map((bytes) => library.hash128(bytes)));
    const arrays = columns.map((bytes) => ({ length: rows, nulls: 0, buffers: [none, bytes] }));
    await writer.append(rows, arrays);
  }
  await writer.finish();
  return readTiles(path, checksums);
}

function readTiles(path: string, checksums: readonly (readonly string[])[]): readonly TileInput[] {
  const file = ArrowFile.open(path);
  try {
    return checksums.map((sums, tile): TileInput => {
      const { rows, buffers } = file.layout(tile);
      // Depth first, validity before values.
      const column = (index: number): ColumnInput => ({
        name: COLUMNS[index] ?? '',
        type: 'float64',
        dataOffset: buffers[2 * index + 1]?.offset ?? 0,
        validityOffset: null,
        xxh3: sums[index] ?? null,
      });
      return { path, tile, rows, x: column(0), y: column(1), measures: [column(2)] };
    });
  } finally {
    file.close();
  }
}

export function rowsOf(tiles: readonly TileInput[]): number {
  return tiles.reduce((sum, tile) => sum + tile.rows, 0);
}
