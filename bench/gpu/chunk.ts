// Owns one chunk as an executor runs it: batches of the executor's size, as many in flight as the
// device has slots, or the host cores.
import { performance } from 'node:perf_hooks';
import { cutBatches, wantedBatchRows } from '../../executor/batches.ts';
import type {
  BatchOutput,
  KernelLibrary,
  Layer,
  OpenChunkOptions,
  TileInput,
} from '../../native/index.ts';

export interface ChunkSetup {
  readonly library: KernelLibrary;
  readonly layer: Layer;
  readonly symbol: string;
  readonly boundary: OpenChunkOptions['boundary'];
  readonly overlap: OpenChunkOptions['overlap'];
  readonly measures: number;
  readonly aggregate: boolean;
  readonly rows: boolean;
  readonly inFlight: number;
  /** Bytes of a device's arena; null: the CPU. */
  readonly arenaBytes: number | null;
}

export interface ChunkRun {
  /** From opening the chunk to its merged partials, by the wall clock. */
  readonly seconds: number;
  /** Of the merged partials and of every tile, in tile order. */
  readonly digest: string;
  readonly rows: number;
  readonly hits: number;
  readonly outside: number;
  readonly invalid: number;
  readonly repairedRows: number;
  readonly stages: Stages;
}

/** Sums over all batches, of thread seconds. */
export interface Stages {
  read: number;
  upload: number;
  kernel: number;
  download: number;
  write: number;
}

export async function runChunk(setup: ChunkSetup, tiles: readonly TileInput[]): Promise<ChunkRun> {
  const { library, layer, symbol, boundary, overlap, measures, aggregate, rows } = setup;
  const options = { layer, symbol, boundary, overlap, wrap: false, measures, aggregate, rows };
  const batches = cut(setup, tiles);
  const outputs: (BatchOutput | undefined)[] = batches.map(() => undefined);
  const started = performance.now();
  const chunk = library.openChunk(options);
  try {
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let index = next++; index < batches.length; index = next++) {
        outputs[index] = withoutRows(await chunk.runBatch(batches[index] ?? []));
      }
    };
    await Promise.all(Array.from({ length: setup.inFlight }, worker));
    const partials = chunk.finish();
    const seconds = (performance.now() - started) / 1000;
    const digests = outputs.flatMap((one) => one?.tiles.map((tile) => tile.digest) ?? []);
    const digest = library.hash128(
      Buffer.concat([partials, Buffer.from(digests.join('\n'), 'ascii')]),
    );
    return { seconds, digest, ...sumOf(outputs) };
  } finally {
    chunk.close();
  }
}

/** Digests stand for the rows, which need not wait in memory for the end of the chunk. */
function withoutRows(output: BatchOutput): BatchOutput {
  return { ...output, tiles: output.tiles.map((tile) => ({ ...tile, output: null })) };
}

function cut(setup: ChunkSetup, tiles: readonly TileInput[]): readonly (readonly TileInput[])[] {
  const rowsMax = wantedBatchRows({
    rows: tiles.reduce((sum, tile) => sum + tile.rows, 0),
    tileRowsMax: tiles.reduce((most, tile) => Math.max(most, tile.rows), 0),
    slots: setup.inFlight,
    hasOutput: setup.rows,
    arena:
      setup.arenaBytes === null ? null : { bytes: setup.arenaBytes, columns: 2 + setup.measures },
  });
  const range = { firstTile: 0, endTile: tiles.length };
  return cutBatches(range, (tile) => tiles[tile]?.rows ?? 0, rowsMax).map(
    ({ firstTile, endTile }) => tiles.slice(firstTile, endTile),
  );
}

function sumOf(
  outputs: readonly (BatchOutput | undefined)[],
): Omit<ChunkRun, 'seconds' | 'digest'> {
  const stages: Stages = { read: 0, upload: 0, kernel: 0, download: 0, write: 0 };
  const counts = { rows: 0, hits: 0, outside: 0, invalid: 0, repairedRows: 0 };
  for (const output of outputs) {
    if (output === undefined) continue;
    stages.read += output.readSeconds;
    stages.upload += output.uploadSeconds;
    stages.kernel += output.kernelSeconds;
    stages.download += output.downloadSeconds;
    stages.write += output.writeSeconds;
    counts.repairedRows += output.repairedRows;
    for (const tile of output.tiles) {
      counts.rows += tile.rows;
      counts.hits += tile.hits;
      counts.outside += tile.outside;
      counts.invalid += tile.invalid;
    }
  }
  return { ...counts, stages };
}
