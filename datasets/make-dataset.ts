// Owns `dataset make`: the synthetic stream written tile by tile, made by several threads.
// I1 tiles are written in order by one writer, so the bytes do not depend on the number of threads.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { CRS84 } from './crs.ts';
import { DatasetWriter } from './dataset-writer.ts';
import { DatasetError } from './errors.ts';
import { DEFAULT_TILE_ROWS, TILE_ROWS_MAX, type DatasetManifest } from './format.ts';
import { buildModel, type SyntheticModel } from './synthetic-model.ts';
import { SYNTHETIC_COLUMNS, SYNTHETIC_TYPES, createTileMaker } from './synthetic-tile.ts';
import type { MadeTile } from './synthetic-worker.ts';
import { tileStatistics } from './tile-values.ts';

export interface MakeOptions {
  readonly out: string;
  readonly rows: number;
  /** Unsigned 32-bit number; 1 unless given. */
  readonly seed?: number;
  readonly tileRows?: number;
  /** Rows along a Hilbert curve (default), or the same rows in random order. */
  readonly ordered?: boolean;
  /**
   * Border segments (x1, y1, x2, y2 each) to put 0.01 % of the rows on; the US counties unless
   * given.
   */
  readonly segments?: Float64Array | null;
  readonly name?: string;
  /** Replaces an earlier dataset in `out`. */
  readonly force?: boolean;
  readonly threads?: number;
  readonly tilesPerFile?: number;
  readonly signal?: AbortSignal;
}

export interface DatasetProgress {
  readonly rowsDone: number;
  /** Null when the number of rows is not known before the end. */
  readonly rowsTotal: number | null;
  readonly tilesDone: number;
}

export type OnProgress = (progress: DatasetProgress) => void;

const ROWS_MAX = 1e12;

/**
 * Makes a synthetic dataset. Equal options give equal bytes on any machine.
 *
 * @throws {DatasetError} `OPTION_INVALID`, `DATASET_EXISTS`, `DISK_FULL`, `IO_FAILED`; nothing is
 *   left
 */
export async function makeDataset(
  options: MakeOptions,
  onProgress: OnProgress = () => undefined,
): Promise<DatasetManifest> {
  const { rows, seed = 1, tileRows = DEFAULT_TILE_ROWS, ordered = true, segments = null } = options;
  requireInteger('rows', rows, 0, ROWS_MAX);
  requireInteger('seed', seed, 0, 2 ** 32 - 1);
  requireInteger('tileRows', tileRows, 1, TILE_ROWS_MAX);
  const writer = await DatasetWriter.create(options.out, {
    name: options.name ?? 'synthetic',
    crs: CRS84,
    ordered,
    tileRows,
    columns: SYNTHETIC_COLUMNS,
    coordinates: { x: 'lon', y: 'lat' },
    provenance: {
      tool: 'tileloom',
      converter: '1',
      source: `synthetic cities, seed ${seed}`,
      options: { rows, seed, tileRows, ordered, segments: segmentsName(segments) },
    },
    force: options.force ?? false,
    ...(options.tilesPerFile === undefined ? {} : { tilesPerFile: options.tilesPerFile }),
  });
  try {
    options.signal?.throwIfAborted();
    const tiles = Math.ceil(rows / tileRows);
    if (tiles === 0) return await writer.finish();
    const model = buildModel({ rows, seed, tileRows, ordered, segments });
    let rowsDone = 0;
    for await (const made of makeTiles(model, tiles, threadsOf(options.threads, tiles))) {
      options.signal?.throwIfAborted();
      await writer.append(made.tile, made.statistics);
      rowsDone += made.tile.rows;
      onProgress({ rowsDone, rowsTotal: rows, tilesDone: made.number + 1 });
    }
    return await writer.finish();
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

/** Compiled code finds its worker beside it; sources use the compiled one, where there is one. */
const WORKER_FILE = fileURLToPath(
  import.meta.url.endsWith('.ts')
    ? new URL('../dist/datasets/synthetic-worker.js', import.meta.url)
    : new URL('./synthetic-worker.js', import.meta.url),
);

function threadsOf(asked: number | undefined, tiles: number): number {
  const fallback = import.meta.url.endsWith('.ts') ? 1 : os.availableParallelism();
  const threads = Math.max(1, Math.min(asked ?? fallback, tiles, 64));
  return existsSync(WORKER_FILE) ? threads : 1;
}

async function* makeTiles(
  model: SyntheticModel,
  tiles: number,
  threads: number,
): AsyncGenerator<MadeTile> {
  if (threads > 1) {
    yield* makeTilesInThreads(model, tiles, threads);
    return;
  }
  const make = createTileMaker(model);
  for (let number = 0; number < tiles; number += 1) {
    const tile = make(number);
    yield { number, tile, statistics: tileStatistics(tile, SYNTHETIC_TYPES, [0, 1]) };
  }
}

/** Yields tiles in order; at most three per thread are in flight, so memory stays bounded. */
async function* makeTilesInThreads(
  model: SyntheticModel,
  tiles: number,
  threads: number,
): AsyncGenerator<MadeTile> {
  const workers = Array.from(
    { length: threads },
    () => new Worker(WORKER_FILE, { workerData: model }),
  );
  const waiting = new Map<number, PromiseWithResolvers<MadeTile>>();
  const failAll = (error: Error): void => {
    for (const { reject } of waiting.values()) reject(error);
  };
  for (const worker of workers) {
    worker.on('message', (made: MadeTile) => waiting.get(made.number)?.resolve(made));
    worker.on('error', failAll);
  }
  const ask = (number: number): void => {
    if (number >= tiles) return;
    const entry = promiseWithResolvers<MadeTile>();
    entry.promise.catch(() => undefined);
    waiting.set(number, entry);
    workers[number % threads]?.postMessage(number);
  };
  try {
    for (let number = 0; number < 3 * threads; number += 1) ask(number);
    for (let number = 0; number < tiles; number += 1) {
      const made = await waiting.get(number)?.promise;
      if (made === undefined) throw new Error('each tile is asked for before it is awaited');
      waiting.delete(number);
      ask(number + 3 * threads);
      yield made;
    }
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

function promiseWithResolvers<T>(): PromiseWithResolvers<T> {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

function segmentsName(segments: Float64Array | null): string {
  if (segments === null) return 'us-atlas counties';
  const bytes = new Uint8Array(segments.buffer, segments.byteOffset, segments.byteLength);
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** @throws {DatasetError} `OPTION_INVALID` */
export function requireInteger(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new DatasetError(
    'OPTION_INVALID',
    `the option ${name} is not valid: expected a whole number from ${least} to ${most}, got ` +
      `${value}`,
    { details: { option: name, got: String(value) } },
  );
}
