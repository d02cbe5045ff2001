// Owns the fused cases: tiles read from a file with checksums, assigned and aggregated in one call.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ColumnInput, KernelLibrary, Layer, TileInput } from '../../native/index.ts';
import { measure, type Rate } from './measure.ts';
import { randomOf, randomPoints, tileOrdered, type Box, type Points } from './points.ts';

const TILE_ROWS = 65_536;
const BATCH_TILES = 16;
const SYMBOL = 'tl_assign__grid__fp64__avx2';

/** Writes the columns of all tiles one after the other, as Arrow IPC bodies lie in a file. */
function writeTiles(
  library: KernelLibrary,
  path: string,
  points: Points,
  values: Float64Array,
): TileInput[] {
  const rows = points.x.length - (points.x.length % TILE_ROWS);
  const bytes = new Uint8Array(rows * 24);
  const tiles: TileInput[] = [];
  let at = 0;
  const put = (name: string, column: Float64Array, from: number): ColumnInput => {
    const part = new Uint8Array(column.buffer, column.byteOffset + from * 8, TILE_ROWS * 8);
    bytes.set(part, at);
    at += part.byteLength;
    return {
      ...{ name, type: 'float64', dataOffset: at - part.byteLength, validityOffset: null },
      xxh3: library.hash128(part),
    };
  };
  for (let from = 0; from < rows; from += TILE_ROWS) {
    tiles.push({
      ...{ path, tile: tiles.length, rows: TILE_ROWS },
      x: put('lon', points.x, from),
      y: put('lat', points.y, from),
      measures: [put('value', values, from)],
    });
  }
  writeFileSync(path, bytes);
  return tiles;
}

async function runAll(
  library: KernelLibrary,
  layer: Layer,
  tiles: readonly TileInput[],
  stages: { read: number; kernel: number; write: number },
): Promise<string> {
  const chunk = library.openChunk({
    ...{ layer, symbol: SYMBOL, boundary: 'half-open', overlap: 'first', wrap: false },
    ...{ measures: 1, aggregate: true, rows: false },
  });
  try {
    for (let from = 0; from < tiles.length; from += BATCH_TILES) {
      const batch = await chunk.runBatch(tiles.slice(from, from + BATCH_TILES));
      stages.read += batch.readSeconds;
      stages.kernel += batch.kernelSeconds;
      stages.write += batch.writeSeconds;
    }
    return library.hash128(chunk.finish());
  } finally {
    chunk.close();
  }
}

/** Fused read + verify + assign + aggregate (count, sum, min, max of one f64) on one thread. */
export async function measureBatches(
  library: KernelLibrary,
  layer: Layer,
  box: Box,
  folder: string,
  runs: number,
  rowsWanted: number,
): Promise<Rate[]> {
  const random = randomPoints(rowsWanted, box, 2);
  const generator = randomOf(3);
  const values = Float64Array.from({ length: rowsWanted }, () => generator() * 1000);
  const rates: Rate[] = [];
  for (const [order, points] of [
    ['random', random],
    ['tile order', tileOrdered(random, box)],
  ] as const) {
    const tiles = writeTiles(library, join(folder, 'tiles.bin'), points, values);
    const rows = tiles.length * TILE_ROWS;
    const stages = { read: 0, kernel: 0, write: 0 };
    const expected = await runAll(library, layer, tiles, { ...stages });
    const reversed = await runAll(library, layer, tiles.toReversed(), { ...stages });
    if (expected !== reversed) {
      throw new Error('the aggregate depends on the order of tiles');
    }
    rates.push(
      await measure(`fused batch, grid-avx2, counties, ${order}`, rows, runs, async () => {
        await runAll(library, layer, tiles, stages);
      }),
    );
    const total = stages.read + stages.kernel + stages.write;
    const share = (seconds: number): string => `${((seconds / total) * 100).toFixed(0)} %`;
    process.stdout.write(
      `  read ${share(stages.read)}, kernel ${share(stages.kernel)}, write ${share(stages.write)}\n`,
    );
  }
  return rates;
}
