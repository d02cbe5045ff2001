// Owns the messages between the worker process and an executor child process (one per device).
// Messages are JSON over the child's IPC channel: references only, never data.

/** The run's immutable facts, written once by prepare to `<sink>/records/context-<digest>.json`. */
export interface RunContext {
  readonly schema: 'tileloom.run-context/1';
  readonly runId: string;
  readonly datasetPath: string;
  /** SHA-256 of dataset.json; a changed dataset is refused. */
  readonly datasetDigest: string;
  readonly columns: {
    readonly x: string;
    readonly y: string;
    readonly measures: readonly string[];
  };
  readonly geometry: { readonly path: string; readonly sha256: string };
  readonly boundary: 'half-open' | 'covers' | 'contains';
  readonly overlap: 'first' | 'all' | 'error';
  readonly wrap: boolean;
  readonly aggregate: boolean;
  readonly rows: boolean;
  readonly sinkPath: string;
  readonly memoryBytesMax: number;
}

export interface ExecutorOptions {
  readonly deviceId: string;
  /** Native calls in flight at once: the cores the device may use. */
  readonly threads: number;
  readonly cacheDir: string;
  readonly lockPath: string;
  /** Milliseconds to wait for another holder of the lock; 15 s when absent. */
  readonly lockWaitMs?: number;
  /** JSON file with variants of external libraries, or null. */
  readonly externalRegistry: string | null;
  /** The GPU this executor drives; null: the CPU. */
  readonly gpu: GpuOptions | null;
}

export interface GpuOptions {
  /** Number in the driver's order, after CUDA_VISIBLE_DEVICES. */
  readonly ordinal: number;
  /** Expected identity; a device with another one is refused. */
  readonly uuid: string;
  /** Device memory for arenas and indexes; null: 7/8 of what is free. */
  readonly memoryBytesMax: number | null;
  /** Folder of images compiled on this host. */
  readonly imagesDir: string;
}

/** Names the index of a run's layer: `WorkloadProfile.layer` and `GpuMetrics.resident`. */
export function layerKeyOf(
  context: Pick<RunContext, 'boundary' | 'overlap'> & {
    readonly geometry: Pick<RunContext['geometry'], 'sha256'>;
  },
): string {
  return `${context.geometry.sha256.slice(0, 16)}-${context.boundary}-${context.overlap}`;
}

export interface ChunkJob {
  readonly jobId: string;
  readonly contextPath: string;
  readonly contextDigest: string;
  readonly variant: string;
  readonly precision: 'fp32' | 'fp64';
  readonly firstTile: number;
  readonly endTile: number;
  readonly shard: number;
  /** Unique part of the part's file name. */
  readonly token: string;
}

export interface ChunkProgress {
  readonly stage: 'queued' | 'loading' | 'running' | 'writing';
  readonly tilesDone: number;
  readonly tilesTotal: number;
}

export interface ChunkResult {
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly rows: number;
  readonly hits: number;
  readonly outside: number;
  readonly invalid: number;
  /** Digest of the machine code that ran: of the library, or of the device's image. */
  readonly image: string;
  readonly peakBytes: number;
  /** On a GPU: highest device memory so far, and rows that the host decided after the device could not. */
  readonly device?: { readonly peakBytes: number; readonly repairedRows: number };
  /**
   * `work` is what the chunk took of the whole device, `queued` the rest of the time from arrival to the
   * part's rename. The stages are sums over calls in flight, so they may be more than `work`: on a CPU
   * `work` is their sum over the device's threads, on a GPU the chunk's share of the time in which the
   * device had calls in flight (work-clock.ts).
   */
  readonly seconds: {
    readonly queued: number;
    readonly work: number;
    readonly read: number;
    readonly kernel: number;
    readonly write: number;
    /** Copies to and from a GPU; absent on a CPU. */
    readonly upload?: number;
    readonly download?: number;
  };
}

export interface ChunkFailure {
  readonly type:
    | 'OUT_OF_MEMORY'
    | 'KERNEL_FAULT'
    | 'INPUT_UNAVAILABLE'
    | 'TILE_DATA_ERROR'
    | 'DISK_FULL'
    | 'CANCELLED'
    | 'RESIDENCY_LOST'
    | 'REFUSED';
  readonly code: string;
  readonly message: string;
  readonly tile: number | null;
  readonly input: string | null;
}

export type ToExecutor =
  | { readonly kind: 'run'; readonly job: ChunkJob }
  | { readonly kind: 'cancel'; readonly jobId: string }
  | { readonly kind: 'stop' };

export type FromExecutor =
  | { readonly kind: 'ready'; readonly isa: readonly string[]; readonly image: string }
  /** The device cannot serve; the child ends after it. `code` is of NativeError or ExecutorError. */
  | { readonly kind: 'unusable'; readonly code: string; readonly message: string }
  /**
   * The device is lost to this process (a sticky error), which waits to be killed. `jobId` names the job
   * that had calls on the device when it happened; null: several had.
   */
  | {
      readonly kind: 'lost';
      readonly jobId: string | null;
      readonly code: string;
      readonly message: string;
    }
  /** Layers whose index lies on the device from now on. */
  | { readonly kind: 'resident'; readonly layers: readonly string[] }
  | { readonly kind: 'progress'; readonly jobId: string; readonly progress: ChunkProgress }
  | { readonly kind: 'done'; readonly jobId: string; readonly result: ChunkResult }
  | { readonly kind: 'failed'; readonly jobId: string; readonly failure: ChunkFailure };
