// Owns the types of the native room's facade: what other rooms see of the C ABI.
import type { BoundaryRule, OverlapRule } from '../registry/index.ts';

export interface IndexInfo {
  readonly path: string;
  readonly bytes: number;
  /** `edges`: no grid could be proven exact; every point takes the exact path over all edges. */
  readonly kind: 'grid' | 'edges';
  /** Cells in x and y; 0 when kind is `edges`. */
  readonly columns: number;
  readonly rows: number;
  /** Cells that a border touches. */
  readonly records: number;
  readonly edges: number;
  /** XXH3-128 of the index, 32 hex digits: equal geometry and options give equal digests. */
  readonly digest: string;
}

export interface BuildIndexOptions {
  readonly geometryPath: string;
  readonly indexPath: string;
  readonly boundary: BoundaryRule;
  readonly overlap: OverlapRule;
  /** Target for the index and the builder's peak together; the grid gets coarser to keep it. */
  readonly maxBytes?: number;
  /** False: not synced; a crash may leave a file that openLayer refuses. True by default. */
  readonly durable?: boolean;
}

export interface OpenLayerOptions {
  readonly geometryPath: string;
  /** Null: only variants that need no index can use the layer. */
  readonly indexPath: string | null;
}

/** An open layer. Chunks keep what they use alive, so closing early is safe. */
export interface Layer {
  readonly geometrySha256: string;
  readonly features: number;
  readonly parts: number;
  readonly rings: number;
  readonly vertices: number;
  /** Memory held: the index's copy and the boxes of the parts. */
  readonly residentBytes: number;
  /** Size of the mapped geometry file. */
  readonly mappedBytes: number;
  /** Null without an index. */
  readonly index: Omit<IndexInfo, 'path'> | null;
  close(): void;
}

export interface OpenChunkOptions {
  readonly layer: Layer;
  /** An assign symbol: of this library, or of `assignLibrary` when that is given. */
  readonly symbol: string;
  /** Path of an external library that exports `symbol`. */
  readonly assignLibrary?: string | null;
  readonly boundary: BoundaryRule;
  readonly overlap: OverlapRule;
  readonly wrap: boolean;
  /** Measured columns per tile, at most 64. */
  readonly measures: number;
  readonly aggregate: boolean;
  readonly rows: boolean;
}

export interface ColumnInput {
  /** For messages only. */
  readonly name: string;
  readonly type: 'float64' | 'int64';
  /** Absolute offset in the file of rows × 8 bytes. */
  readonly dataOffset: number;
  /** Absolute offset of ⌈rows / 8⌉ validity bytes, null when every row is valid. */
  readonly validityOffset: number | null;
  /** Expected XXH3-128 of validity bytes, then value bytes, as 32 hex digits; or null. */
  readonly xxh3: string | null;
}

export interface TileInput {
  readonly path: string;
  readonly tile: number;
  readonly rows: number;
  readonly x: ColumnInput;
  readonly y: ColumnInput;
  readonly measures: readonly ColumnInput[];
}

export interface TileOutput {
  readonly tile: number;
  readonly rows: number;
  readonly hits: number;
  readonly outside: number;
  readonly invalid: number;
  /** XXH3-128 of the tile's canonical output bytes (docs/formats.md), 32 hex digits. */
  readonly digest: string;
  /** The per-row result (docs/formats.md) when the chunk returns rows, else null. */
  readonly output: Int32Array | null;
}

export interface BatchOutput {
  readonly tiles: readonly TileOutput[];
  readonly readSeconds: number;
  readonly kernelSeconds: number;
  readonly writeSeconds: number;
  /** Copies to and from a device; 0 on a CPU. */
  readonly uploadSeconds: number;
  readonly downloadSeconds: number;
  /** Rows that the host decided after the device could not; 0 on a CPU. */
  readonly repairedRows: number;
}

export interface Chunk {
  /**
   * Reads, verifies, assigns, aggregates and digests tiles in one native call off the main thread.
   * Several batches of one chunk may be in flight.
   *
   * @throws {NativeError} with `tile`, `column` and `row` in details; the chunk has then failed
   */
  runBatch(tiles: readonly TileInput[]): Promise<BatchOutput>;
  /** Tiles finished so far. */
  progress(): number;
  /** Running batches end with CANCELLED before their next tile. */
  cancel(): void;
  /** The chunk's merged TLP1 bytes; no batch may be in flight. */
  finish(): Uint8Array;
  /** Frees the chunk, after the batches in flight if there are any. */
  close(): void;
  /** Highest number of bytes that buffers and accumulators held together so far. */
  readonly peakBytes: number;
  /**
   * Bytes that one more batch in flight may need at most.
   *
   * @param batchRows rows of all its tiles
   * @param tileRows rows of its largest tile, 65,536 by default
   */
  estimateBytes(batchRows: number, tileRows?: number): number;
}

/** Every containing feature of each point: overlap `all`. */
export interface AllPairs {
  /** Per point: how many features contain it, −2 if invalid. */
  readonly counts: Int32Array;
  /** The features point by point, ascending. */
  readonly features: Int32Array;
}

export interface AssignOptions {
  readonly layer: Layer;
  readonly symbol: string;
  readonly assignLibrary?: string | null;
  readonly boundary: BoundaryRule;
  readonly overlap: OverlapRule;
  readonly wrap: boolean;
}

export interface ExactSum {
  readonly count: number;
  readonly nulls: number;
  readonly nans: number;
  readonly plusInf: number;
  readonly minusInf: number;
  /** Rounded once; null when count is 0. */
  readonly sum: number | null;
  readonly mean: number | null;
  readonly min: number | null;
  readonly max: number | null;
}

export interface LockHandle {
  release(): void;
}

export interface KernelLibrary {
  readonly path: string;
  /** SHA-256 of the library file, 64 hex digits. */
  readonly image: string;
  /** Instruction sets of this host that variants may need, as in /proc/cpuinfo. */
  readonly isa: readonly string[];
  /** XXH3-128, seed 0, canonical form, 32 hex digits. */
  hash128(bytes: Uint8Array): string;
  buildIndex(options: BuildIndexOptions): Promise<IndexInfo>;
  openLayer(options: OpenLayerOptions): Layer;
  openChunk(options: OpenChunkOptions): Chunk;
  /**
   * Feature per point: −1 outside, −2 invalid. For overlap `all` use `assignAllPairs`.
   *
   * @param out filled and returned when given; as long as x
   */
  assignPoints(
    options: AssignOptions,
    x: Float64Array,
    y: Float64Array,
    out?: Int32Array,
  ): Promise<Int32Array>;
  assignAllPairs(options: AssignOptions, x: Float64Array, y: Float64Array): Promise<AllPairs>;
  /** Exact sign of (b − a) × (p − a), coordinates finite. */
  orientationSign(a: readonly number[], b: readonly number[], p: readonly number[]): -1 | 0 | 1;
  /**
   * @param values nulls as null
   * @param splits summed as that many tiles and merged; the result does not depend on it
   */
  exactSum(values: readonly (number | null)[], splits?: number): ExactSum;
  /** This process is killed when its parent dies. */
  dieWithParent(): void;
  /** @throws {NativeError} `LOCK_TIMEOUT` when another process holds it for longer than `waitMs` */
  lockFile(path: string, waitMs: number): Promise<LockHandle>;
}

/** One GPU as the driver knows it, not opened. */
export interface GpuEntry {
  /** Number in the driver's order, after CUDA_VISIBLE_DEVICES. */
  readonly ordinal: number;
  /** Stable identity: `GPU-` and a UUID; of the PCI address where the driver tells no UUID. */
  readonly uuid: string;
  readonly pciBusId: string;
  readonly name: string;
  /** 90 is compute capability 9.0; 0: the device does not answer. */
  readonly capability: number;
  readonly multiprocessors: number | null;
  readonly memTotalBytes: number | null;
  /** fp64 : fp32 throughput; null when the driver does not tell. */
  readonly fp64Ratio: number | null;
}

export interface GpuListing {
  readonly gpus: readonly GpuEntry[];
  /** Newest CUDA version that the driver serves, such as `13.0`. */
  readonly driverVersion: string;
}

export interface OpenDeviceOptions {
  readonly ordinal: number;
  /** Batches in flight at most; 3 by default. */
  readonly slots?: number;
  /** Device memory that arenas and indexes may take; 7/8 of what is free by default. */
  readonly memoryBytesMax?: number;
  /** One arena, and its pinned mirror on the host; 256 MiB by default, less if memory is scarce. */
  readonly slotBytes?: number;
  /** Folder of images compiled on this host; null: none are kept. */
  readonly cacheDir?: string | null;
  /** Another image file than TILELOOM_CUDA_IMAGE, or the one beside the library. */
  readonly imagePath?: string;
}

export type ImageOrigin = 'ahead-of-time' | 'compiled' | 'cached';

export interface DeviceInfo {
  readonly name: string;
  readonly uuid: string;
  readonly pciBusId: string;
  readonly capability: number;
  readonly driverVersion: string;
  readonly memTotalBytes: number;
  /** The budget in force for arenas and indexes. */
  readonly memoryBytesMax: number;
  readonly slots: number;
  readonly slotBytes: number;
  readonly image: ImageOrigin;
  /** XXH3-128 of the image in use, 32 hex digits. */
  readonly imageDigest: string;
  /** As {@link DeviceLibrary.sourcesDigest}. */
  readonly sourcesDigest: string;
  /** Why the image built ahead of time was not used, in a few words; null when it was. */
  readonly imageNote: string | null;
}

/** What happened on the open device since it was opened. Seconds are sums over all batches. */
export interface DeviceStatistics {
  readonly heldBytes: number;
  readonly peakBytes: number;
  readonly residentBytes: number;
  readonly residentIndexes: number;
  readonly uploads: number;
  readonly evictions: number;
  readonly launches: number;
  readonly rows: number;
  readonly repairedRows: number;
  /** Tiles whose sums the host made because the device had no room for them. */
  readonly hostTiles: number;
  readonly readSeconds: number;
  readonly uploadSeconds: number;
  readonly kernelSeconds: number;
  readonly downloadSeconds: number;
  readonly writeSeconds: number;
}

export interface OpenDevice {
  readonly info: DeviceInfo;
  statistics(): DeviceStatistics;
  /** @throws {NativeError} `BAD_STATE` while a chunk holds the device */
  close(): void;
}

/**
 * The kernels with a device behind them. Variants whose symbol ends in `__cuda` run on the open
 * device, others as in the CPU library. Paths of driver, NVRTC and image file: TILELOOM_CUDA_DRIVER,
 * TILELOOM_NVRTC and TILELOOM_CUDA_IMAGE, for hosts that keep them in unusual places.
 */
export interface DeviceLibrary extends KernelLibrary {
  /**
   * XXH3-128 of the kernel sources and compile options that the library embeds, 32 hex digits. The
   * registry's DEVICE_SOURCES_DIGEST is the same.
   */
  readonly sourcesDigest: string;
  /** @throws {NativeError} `DEVICE_MISSING` with what is missing */
  listDevices(): GpuListing;
  /**
   * Opens the one device of this process.
   *
   * @throws {NativeError} `DEVICE_MISSING`, `IMAGE_UNUSABLE`, `OUT_OF_MEMORY`, `DEVICE_FAILED`,
   *   `DEVICE_LOST`; `BAD_STATE` while one is open
   */
  openDevice(options: OpenDeviceOptions): OpenDevice;
}
