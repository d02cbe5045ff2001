// Owns one chunk inside the executor: load, cut into batches, run them through the device's slots,
// write the part.
//
// I1  Batches enter the part in tile order, whatever order they finish in.
// I2  At most `window` batches are issued and not yet written, so memory is bounded by
//     layer + window × batch.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { partFileName, writePart } from '../datasets/index.ts';
import type { BatchOutput, Chunk, Layer, TileInput, TileOutput } from '../native/index.ts';
import type { VariantSpec } from '../registry/index.ts';
import { cutBatches } from './batches.ts';
import type { LoadedContext } from './context-cache.ts';
import { ExecutorError } from './errors.ts';
import type { ChunkJob, ChunkProgress, ChunkResult } from './protocol.ts';
import type { Slots } from './slots.ts';

export interface JobParts {
  readonly job: ChunkJob;
  readonly variant: VariantSpec;
  /** Path of the external library that exports the variant's symbol, or null. */
  readonly assignLibrary: string | null;
  readonly loaded: LoadedContext;
  readonly openChunk: (layer: Layer) => Chunk;
  readonly image: string;
  readonly slots: Slots;
  /** Place in the order of arrival at the device. */
  readonly rank: number;
  readonly onProgress: (progress: ChunkProgress) => void;
}

/**
 * Without row output a call's memory does not grow with its rows, and calls of some 50 ms make little of the
 * 1 to 2 ms that the hop to the next one costs on busy cores. With it they hold their rows' results.
 */
const BATCH_ROWS_MAX = 1 << 22;
const BATCH_ROWS_MAX_WITH_OUTPUT = 1 << 18;
/** Calls per thread that even a small chunk is cut into, so that all threads end together. */
const BATCHES_PER_SLOT_MIN = 4;
const WINDOW_PER_SLOT = 2;

interface Totals {
  rows: number;
  hits: number;
  outside: number;
  invalid: number;
  read: number;
  kernel: number;
  write: number;
}

/** One chunk being executed; `cancel` stops it before its next tile. */
export class JobRun {
  readonly #parts: JobParts;
  readonly #cancelled = new AbortController();
  #chunk: Chunk | null = null;
  /** Native calls in flight; without any the chunk waits for the device. */
  #running = 0;
  #writing = false;

  constructor(parts: JobParts) {
    this.#parts = parts;
  }

  cancel(): void {
    this.#cancelled.abort(
      new ExecutorError('CANCELLED', 'CHUNK_CANCELLED', 'the chunk was cancelled'),
    );
    this.#chunk?.cancel();
  }

  /**
   * Reports progress from the native counter; called by the executor's timer. A chunk that waits behind
   * another one is `queued`: its progress may stand still for as long as the other takes.
   */
  report(): void {
    if (this.#chunk === null) return;
    const { job, onProgress } = this.#parts;
    const tilesTotal = job.endTile - job.firstTile;
    const waiting = this.#writing ? 'writing' : 'queued';
    const stage = this.#running > 0 ? 'running' : waiting;
    onProgress({ stage, tilesDone: this.#chunk.progress(), tilesTotal });
  }

  /** @throws {ExecutorError} and NativeError; no part is left behind */
  async run(): Promise<ChunkResult> {
    const started = performance.now();
    const { job, loaded, variant, image } = this.#parts;
    const layer = await loaded.layer(variant.needsIndex);
    this.#cancelled.signal.throwIfAborted();
    const chunk = this.#parts.openChunk(layer);
    this.#chunk = chunk;
    const file = partFileName(job.shard, job.firstTile, job.endTile, job.token);
    const totals: Totals = {
      rows: 0,
      hits: 0,
      outside: 0,
      invalid: 0,
      read: 0,
      kernel: 0,
      write: 0,
    };
    try {
      const { sha256, bytes } = await writePart(join(loaded.context.sinkPath, 'parts', file), {
        tiles: this.#outputs(chunk, layer, totals),
        partials: () => {
          this.#writing = true;
          return chunk.finish();
        },
      });
      this.#cancelled.signal.throwIfAborted();
      const { read, kernel, write, ...counts } = totals;
      const work = (read + kernel + write) / this.#parts.slots.capacity;
      const queued = Math.max(0, (performance.now() - started) / 1000 - work);
      const seconds = { queued, work, read, kernel, write };
      return { file, sha256, bytes, ...counts, image, peakBytes: peakResidentBytes(), seconds };
    } finally {
      this.#chunk = null;
      chunk.close();
    }
  }

  /** Yields tile outputs in tile order while later batches are already running. */
  async *#outputs(chunk: Chunk, layer: Layer, totals: Totals): AsyncGenerator<TileOutput> {
    const { slots, rank, job, loaded } = this.#parts;
    const issued: Promise<BatchOutput>[] = [];
    const window = slots.capacity * WINDOW_PER_SLOT;
    try {
      const rowsMax = this.#batchRows(chunk, layer);
      for (const { firstTile, endTile } of cutBatches(job, loaded.rowsOf, rowsMax)) {
        const inputs = this.#resolve(firstTile, endTile);
        const release = await slots.acquire(rank, this.#cancelled.signal);
        const running = this.#runBatch(chunk, inputs).finally(release);
        running.catch(() => undefined);
        issued.push(running);
        if (issued.length >= window) yield* await take(issued, totals);
      }
      while (issued.length > 0) yield* await take(issued, totals);
    } finally {
      if (issued.length > 0) chunk.cancel();
      await Promise.allSettled(issued);
    }
  }

  /**
   * Resolves the tiles of one batch: only now, so that no job keeps the event loop for long, and before
   * a slot is free, so that no thread waits for it.
   */
  #resolve(firstTile: number, endTile: number): readonly TileInput[] {
    const { tiles } = this.#parts.loaded;
    const inputs: TileInput[] = [];
    for (let tile = firstTile; tile < endTile; tile += 1) inputs.push(tiles.resolve(tile));
    return inputs;
  }

  async #runBatch(chunk: Chunk, inputs: readonly TileInput[]): Promise<BatchOutput> {
    this.#running += 1;
    try {
      return await chunk.runBatch(inputs);
    } finally {
      this.#running -= 1;
    }
  }

  /** Rows of a batch so that layer and all batches in flight stay within the run's memory limit. */
  #batchRows(chunk: Chunk, layer: Layer): number {
    const { slots, loaded, job } = this.#parts;
    let largest = 1;
    let total = 0;
    for (let tile = job.firstTile; tile < job.endTile; tile += 1) {
      const rows = loaded.rowsOf(tile);
      largest = Math.max(largest, rows);
      total += rows;
    }
    const even = Math.ceil(total / (slots.capacity * BATCHES_PER_SLOT_MIN));
    const most = loaded.context.rows ? BATCH_ROWS_MAX_WITH_OUTPUT : BATCH_ROWS_MAX;
    const wanted = Math.max(largest, Math.min(most, even));
    const budget = loaded.context.memoryBytesMax - layer.residentBytes;
    for (let rows = wanted; ; rows = Math.max(largest, rows >> 1)) {
      const needed = slots.capacity * WINDOW_PER_SLOT * chunk.estimateBytes(rows, largest);
      if (needed <= budget) return rows;
      if (rows > largest) continue;
      throw new ExecutorError(
        'OUT_OF_MEMORY',
        'MEMORY_LIMIT_TOO_SMALL',
        `chunk ${job.firstTile}-${job.endTile - 1} does not fit: expected at most ${budget} bytes beside the layer, got ${needed} bytes for batches of one tile; raise limits.memory or use fewer threads`,
      );
    }
  }
}

/** Waits for the oldest batch in flight and adds it to the totals. */
async function take(
  issued: Promise<BatchOutput>[],
  totals: Totals,
): Promise<readonly TileOutput[]> {
  const output = await issued.shift();
  if (output === undefined) return [];
  for (const tile of output.tiles) {
    totals.rows += tile.rows;
    totals.hits += tile.hits;
    totals.outside += tile.outside;
    totals.invalid += tile.invalid;
  }
  totals.read += output.readSeconds;
  totals.kernel += output.kernelSeconds;
  totals.write += output.writeSeconds;
  return output.tiles;
}

/** Highest resident set of this process so far, in bytes (VmHWM). */
function peakResidentBytes(): number {
  const match = /^VmHWM:\s+(\d+) kB$/mu.exec(readFileSync('/proc/self/status', 'utf8'));
  return match === null ? 0 : Number(match[1]) * 1024;
}
