// Owns the jobs of one executor process and the translation of what goes wrong into typed failures.
import { isEngineError } from '../core/index.ts';
import type { KernelLibrary, OpenDevice } from '../native/index.ts';
import { findVariant, type VariantSpec } from '../registry/index.ts';
import { ContextCache } from './context-cache.ts';
import { DeviceWork } from './device.ts';
import { ExecutorError } from './errors.ts';
import type { ExternalRegistry } from './external.ts';
import { JobRun } from './job.ts';
import type {
  ChunkFailure,
  ChunkJob,
  ChunkProgress,
  ExecutorOptions,
  FromExecutor,
} from './protocol.ts';
import { Slots } from './slots.ts';

export interface ExecutorParts {
  readonly options: ExecutorOptions;
  readonly kernels: KernelLibrary;
  readonly registry: ExternalRegistry;
  /** The open GPU; null in the executor of the CPU. */
  readonly device: OpenDevice | null;
  readonly send: (message: FromExecutor) => void;
}

/** Runs chunks of one device, as many at once as lanes send; native calls share the device's slots. */
export class Executor {
  readonly #parts: ExecutorParts;
  readonly #contexts: ContextCache;
  readonly #slots: Slots;
  readonly #device: DeviceWork | null;
  readonly #runs = new Map<string, JobRun | null>();
  readonly #reported = new Map<string, string>();
  #arrivals = 0;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    this.#contexts = new ContextCache(parts.kernels, parts.options.cacheDir);
    const { device, options, send } = parts;
    this.#slots = new Slots(device?.info.slots ?? options.threads);
    const jobs = (): Iterable<JobRun> => [...this.#runs.values()].filter((run) => run !== null);
    this.#device = device === null ? null : new DeviceWork({ device, send, jobs });
  }

  /** Digest of the machine code that runs here: of the device's image, or of the library. */
  get image(): string {
    return this.#device?.info.imageDigest ?? this.#parts.kernels.image;
  }

  /** Runs one chunk and sends its result or failure; never throws. */
  async run(job: ChunkJob): Promise<void> {
    const { send } = this.#parts;
    this.#runs.set(job.jobId, null);
    try {
      this.#progress(job, {
        stage: 'loading',
        tilesDone: 0,
        tilesTotal: job.endTile - job.firstTile,
      });
      const loaded = await this.#contexts.load(job.contextPath, job.contextDigest);
      if (!this.#runs.has(job.jobId)) throw cancelled();
      const run = this.#createRun(job, loaded);
      this.#runs.set(job.jobId, run);
      send({ kind: 'done', jobId: job.jobId, result: await run.run() });
    } catch (error) {
      send({ kind: 'failed', jobId: job.jobId, failure: failureOf(error) });
    } finally {
      this.#runs.delete(job.jobId);
      this.#reported.delete(job.jobId);
    }
  }

  cancel(jobId: string): void {
    const run = this.#runs.get(jobId);
    if (run === null) this.#runs.delete(jobId);
    else run?.cancel();
  }

  /** Sends the progress of every running job that has moved. */
  report(): void {
    for (const run of this.#runs.values()) run?.report();
  }

  #createRun(job: ChunkJob, loaded: Awaited<ReturnType<ContextCache['load']>>): JobRun {
    const { kernels, registry } = this.#parts;
    const variant = this.#variant(job.variant);
    const assignLibrary = registry.libraryOf(variant.id);
    const { context } = loaded;
    return new JobRun({
      job,
      variant,
      assignLibrary,
      loaded,
      image: this.image,
      slots: this.#slots,
      device: this.#device,
      rank: (this.#arrivals += 1),
      onProgress: (progress) => this.#progress(job, progress),
      openChunk: (layer) =>
        kernels.openChunk({
          layer,
          symbol: variant.symbol,
          assignLibrary,
          boundary: context.boundary,
          overlap: context.overlap,
          wrap: context.wrap,
          measures: context.columns.measures.length,
          aggregate: context.aggregate,
          rows: context.rows,
        }),
    });
  }

  #variant(id: string): VariantSpec {
    const { options, registry } = this.#parts;
    const runtime = this.#device === null ? 'cpu' : 'gpu';
    try {
      const variant = findVariant(registry.registry, id);
      if (variant.runtime === runtime) return variant;
    } catch (cause) {
      throw new ExecutorError(
        'KERNEL_FAULT',
        'VARIANT_UNKNOWN',
        `variant ${id} is not in this executor's registry; start all hosts with the same version of tileloom`,
        { cause },
      );
    }
    throw new ExecutorError(
      'KERNEL_FAULT',
      'VARIANT_ELSEWHERE',
      `variant ${id} does not run on device ${options.deviceId}: expected one for the ${runtime}; plan it elsewhere`,
    );
  }

  #progress(job: ChunkJob, progress: ChunkProgress): void {
    const state = `${progress.stage} ${progress.tilesDone}`;
    if (this.#reported.get(job.jobId) === state) return;
    this.#reported.set(job.jobId, state);
    this.#parts.send({ kind: 'progress', jobId: job.jobId, progress });
  }
}

function cancelled(): ExecutorError {
  return new ExecutorError('CANCELLED', 'CHUNK_CANCELLED', 'the chunk was cancelled');
}

/** What each code of the lower rooms means for the lane; the rest of EngineErrors refuse the run. */
const TYPES: Readonly<Record<string, ChunkFailure['type']>> = {
  OUT_OF_MEMORY: 'OUT_OF_MEMORY',
  CHECKSUM_MISMATCH: 'TILE_DATA_ERROR',
  SHORT_READ: 'TILE_DATA_ERROR',
  OVERLAP_FOUND: 'TILE_DATA_ERROR',
  TILE_CORRUPT: 'TILE_DATA_ERROR',
  ARROW_TRUNCATED: 'TILE_DATA_ERROR',
  ARROW_CORRUPT: 'TILE_DATA_ERROR',
  DATASET_FILE_MISSING: 'INPUT_UNAVAILABLE',
  DATASET_NOT_FOUND: 'INPUT_UNAVAILABLE',
  IO_ERROR: 'INPUT_UNAVAILABLE',
  IO_FAILED: 'INPUT_UNAVAILABLE',
  CANCELLED: 'CANCELLED',
  DISK_FULL: 'DISK_FULL',
  ISA_MISSING: 'KERNEL_FAULT',
  KERNEL_FAILED: 'KERNEL_FAULT',
  NO_SUCH_SYMBOL: 'KERNEL_FAULT',
  BAD_INDEX: 'KERNEL_FAULT',
  BAD_ARGUMENT: 'KERNEL_FAULT',
  BAD_STATE: 'KERNEL_FAULT',
  DEVICE_FAILED: 'KERNEL_FAULT',
  DEVICE_LOST: 'KERNEL_FAULT',
  DEVICE_MISSING: 'KERNEL_FAULT',
  IMAGE_UNUSABLE: 'KERNEL_FAULT',
  BUFFER_TOO_SMALL: 'KERNEL_FAULT',
  INTERNAL: 'KERNEL_FAULT',
};

function failureOf(error: unknown): ChunkFailure {
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  const number = (value: unknown): number | null => (typeof value === 'number' ? value : null);
  if (error instanceof ExecutorError) {
    const { type, code, message, tile, input } = error;
    return { type, code, message, tile, input };
  }
  if (isEngineError(error)) {
    const { code, message, details } = error;
    const tile = number(details['tile']);
    const input = text(details['file']) ?? text(details['path']);
    return { type: TYPES[code] ?? 'REFUSED', code, message, tile, input };
  }
  const { code, message, path } = error as NodeJS.ErrnoException;
  const type =
    code === 'ENOSPC' ? 'DISK_FULL' : code === undefined ? 'KERNEL_FAULT' : 'INPUT_UNAVAILABLE';
  return {
    type,
    code: code ?? 'EXECUTOR_FAILED',
    message: message ?? String(error),
    tile: null,
    input: path ?? null,
  };
}
