// Owns one chunk inside the executor: load, cut into batches, run them through the device's slots,
// write the part.
//
// I1  Batches enter the part in tile order, whatever order they finish in.
// I2  At most `window` batches are issued and not yet written, so memory is bounded by
//     layer + window × batch. On a GPU the pinned mirrors of its slots are not counted: they belong to
//     the process, however many chunks share them, and --gpu-memory bounds them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { partFileName, writePart } from '../datasets/index.ts';
import type { BatchOutput, Chunk, Layer, TileInput, TileOutput } from '../native/index.ts';
import type { VariantSpec } from '../registry/index.ts';
import { isEngineError } from '../core/index.ts';
import { cutBatches, wantedBatchRows } from './batches.ts';
import type { LoadedContext } from './context-cache.ts';
import type { DeviceJob, DeviceWork } from './device.ts';
import { ExecutorError } from './errors.ts';
import { layerKeyOf, type ChunkJob, type ChunkProgress, type ChunkResult } from './protocol.ts';
import type { Slots } from './slots.ts';
import type { WorkShare } from './work-clock.ts';

export interface JobParts {
  readonly job: ChunkJob;
  readonly variant: VariantSpec;
  /** Path of the external library that exports the variant's symbol, or null. */
  readonly assignLibrary: string | null;
  readonly loaded: LoadedContext;
  readonly openChunk: (layer: Layer) => Chunk;
  readonly image: string;
  readonly slots: Slots;
  /** The GPU that runs the chunk; null: the CPU does. */
  readonly device: DeviceWork | null;
  /** Place in the order of arrival at the device. */
  readonly rank: number;
  readonly onProgress: (progress: ChunkProgress) => void;
}

/** Batches per slot that may be issued and not yet written. */
const WINDOW_PER_SLOT = 2;

interface Totals {
  rows: number;
  hits: number;
  outside: number;
  invalid: number;
  read: number;
  kernel: number;
  write: number;
  upload: number;
  download: number;
  repaired: number;
}

/** One chunk being executed; `cancel` stops it before its next tile. */
export class JobRun implements DeviceJob {
  readonly #parts: JobParts;
  readonly #cancelled = new AbortController();
  #chunk: Chunk | null = null;
  /** Native calls in flight; without any the chunk waits for the device. */
  #running = 0;
  #opening = false;
  #writing = false;
  readonly #share: WorkShare = { calls: 0, seconds: 0 };

  constructor(parts: JobParts) {
    this.#parts = parts;
  }

  get jobId(): string {
    return this.#parts.job.jobId;
  }

  get isOnDevice(): boolean {
    return this.#running > 0 || this.#opening;
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
    const { job, loaded, variant, image, device } = this.#parts;
    const layer = await loaded.layer(variant.needsIndex);
    this.#cancelled.signal.throwIfAborted();
    const chunk =
      device === null ? this.#parts.openChunk(layer) : await this.#openOn(device, layer);
    this.#chunk = chunk;
    const hasGrid = layer.index !== null && layer.index.kind !== 'edges';
    const closed = device?.chunkOpened(hasGrid ? layerKeyOf(loaded.context) : null);
    const file = partFileName(job.shard, job.firstTile, job.endTile, job.token);
    const totals = noTotals();
    try {
      const { sha256, bytes } = await writePart(join(loaded.context.sinkPath, 'parts', file), {
        tiles: this.#outputs(chunk, layer, totals),
        partials: () => {
          this.#writing = true;
          return chunk.finish();
        },
      });
      this.#cancelled.signal.throwIfAborted();
      const { rows, hits, outside, invalid } = totals;
      const peakBytes = peakResidentBytes();
      const seconds = this.#seconds(totals, (performance.now() - started) / 1000);
      const result = {
        file,
        sha256,
        bytes,
        rows,
        hits,
        outside,
        invalid,
        image,
        peakBytes,
        seconds,
      };
      if (device === null) return result;
      return {
        ...result,
        device: { peakBytes: device.peakBytes, repairedRows: totals.repaired },
      };
    } finally {
      this.#chunk = null;
      chunk.close();
      closed?.();
    }
  }

  /**
   * Opens the chunk on a GPU, which uploads the layer's index unless it is there.
   *
   * @throws {ExecutorError} `INDEX_EXCEEDS_DEVICE` where a smaller chunk would not help
   */
  async #openOn(device: DeviceWork, layer: Layer): Promise<Chunk> {
    const { job, onProgress } = this.#parts;
    const tilesTotal = job.endTile - job.firstTile;
    // From here on the driver may hang, and the upload keeps this thread: tell it first.
    onProgress({ stage: 'running', tilesDone: 0, tilesTotal });
    await new Promise((resolve) => setImmediate(resolve));
    this.#cancelled.signal.throwIfAborted();
    this.#opening = true;
    const end = device.clock.begin(this.#share);
    try {
      return this.#parts.openChunk(layer);
    } catch (error) {
      device.notice(error);
      if (!isEngineError(error) || error.code !== 'OUT_OF_MEMORY') throw error;
      const isShared = device.chunks > 0;
      throw new ExecutorError(
        isShared ? 'RESIDENCY_LOST' : 'KERNEL_FAULT',
        'INDEX_EXCEEDS_DEVICE',
        `index of the layer of chunk ${job.firstTile}-${job.endTile - 1} has no room on the device${isShared ? ' beside those in use' : ''}: ${error.message}`,
        { cause: error, retryable: isShared },
      );
    } finally {
      end();
      this.#opening = false;
    }
  }

  #seconds(totals: Totals, passed: number): ChunkResult['seconds'] {
    const { device, slots } = this.#parts;
    const { read, kernel, write, upload, download } = totals;
    const work = device === null ? (read + kernel + write) / slots.capacity : this.#share.seconds;
    const stages = { queued: Math.max(0, passed - work), work, read, kernel, write };
    return device === null ? stages : { ...stages, upload, download };
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
    const { device } = this.#parts;
    const end = device?.clock.begin(this.#share);
    this.#running += 1;
    try {
      return await chunk.runBatch(inputs);
    } catch (error) {
      device?.notice(error);
      throw error;
    } finally {
      this.#running -= 1;
      end?.();
    }
  }

  /** Rows of a batch so that layer and all batches in flight stay within the run's memory limit. */
  #batchRows(chunk: Chunk, layer: Layer): number {
    const { slots, loaded, job, device } = this.#parts;
    const { context } = loaded;
    let largest = 1;
    let total = 0;
    for (let tile = job.firstTile; tile < job.endTile; tile += 1) {
      const rows = loaded.rowsOf(tile);
      largest = Math.max(largest, rows);
      total += rows;
    }
    const pinned = device === null ? 0 : device.info.slotBytes;
    const columns = 2 + context.columns.measures.length;
    const wanted = wantedBatchRows({
      rows: total,
      tileRowsMax: largest,
      slots: slots.capacity,
      hasOutput: context.rows,
      arena: device === null ? null : { bytes: device.info.slotBytes, columns },
    });
    const budget = context.memoryBytesMax - layer.residentBytes;
    for (let rows = wanted; ; rows = Math.max(largest, rows >> 1)) {
      const each = Math.max(0, chunk.estimateBytes(rows, largest) - pinned);
      const needed = slots.capacity * WINDOW_PER_SLOT * each;
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

function noTotals(): Totals {
  const counts = { rows: 0, hits: 0, outside: 0, invalid: 0, repaired: 0 };
  return { ...counts, read: 0, kernel: 0, write: 0, upload: 0, download: 0 };
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
  totals.upload += output.uploadSeconds;
  totals.download += output.downloadSeconds;
  totals.repaired += output.repairedRows;
  return output.tiles;
}

/** Highest resident set of this process so far, in bytes (VmHWM). */
function peakResidentBytes(): number {
  const match = /^VmHWM:\s+(\d+) kB$/mu.exec(readFileSync('/proc/self/status', 'utf8'));
  return match === null ? 0 : Number(match[1]) * 1024;
}
