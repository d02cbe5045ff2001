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

interface Stages {
  read: number;
  kernel: number;
  write: number;
}

async function runAll(
  library: KernelLibrary,
  layer: Layer,
  tiles: readonly TileInput[],
  stages: Stages,
  aggregate: boolean,
): Promise<string> {
  const chunk = library.openChunk({
    ...{ layer, symbol: SYMBOL, boundary: 'half-open', overlap: 'first', wrap: false },
    ...{ measures: 1, aggregate, rows: false },
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
    const unused = { read: 0, kernel: 0, write: 0 };
    const expected = await runAll(library, layer, tiles, unused, true);
    if (expected !== (await runAll(library, layer, tiles.toReversed(), unused, true))) {
      throw new Error('the aggregate depends on the order of tiles');
    }
    for (const aggregate of [true, false]) {
      const stages = { read: 0, kernel: 0, write: 0 };
      const what = aggregate ? 'read, verify, assign, aggregate' : 'read, verify, assign';
      const name = `fused batch (${what}), grid-avx2, counties, ${order}`;
      const rate = await measure(name, rows, runs, async () => {
        await runAll(library, layer, tiles, stages, aggregate);
      });
      rates.push(rate, ...stageRates(name, rows * (runs + 1), stages));
    }
  }
  return rates;
}

/** Million rows per second of each stage alone, over all runs. */
function stageRates(name: string, rows: number, stages: Stages): Rate[] {
  return (['read', 'kernel', 'write'] as const)
    .filter((stage) => stages[stage] * 1e9 > rows * 0.05)
    .map((stage) => {
      const rate = Number((rows / stages[stage] / 1e6).toPrecision(4));
      process.stdout.write(`  stage ${stage}: ${rate} M rows/s\n`);
      const label = `${name}: stage ${stage}`;
      return { case: label, rows, runs: 1, median: rate, min: rate, max: rate, cpuMedian: rate };
    });
}
