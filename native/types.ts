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
