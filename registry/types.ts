// Owns the vocabulary of operations and variants: what a planner may choose from, as typed data.

export type Runtime = 'cpu' | 'gpu';
export type KernelClass = 'coarse' | 'metric' | 'predicate' | 'constructive';
export type ComputePrecision = 'fp32' | 'fp64';
export type Residency = 'host' | 'device';
export type GeometryFamily =
  'point' | 'linestring' | 'polygon' | 'multipoint' | 'multilinestring' | 'multipolygon';
export type BoundaryRule = 'half-open' | 'covers' | 'contains';
export type OverlapRule = 'first' | 'all' | 'error';

/** `exact` variants may be mixed freely within a run; any other class is fixed once per run. */
export type NumericClass = 'exact' | 'compensated' | 'transcendental';

/** `operation/variant@version`, for example `assign/grid-avx2@1`. */
export type VariantId = string;

/** Declared speed, from a bench record or named an estimate; a run's own history replaces it. */
export interface DeclaredThroughput {
  /** Rows per second of one core (or one device), rows in random order. */
  readonly rowsPerSecondRandom: number;
  /** The same with rows in tile order (neighbours in space are neighbours in the file). */
  readonly rowsPerSecondOrdered: number;
  /** Fixed seconds per chunk: launches, JIT, first touch. */
  readonly fixedSeconds: number;
  /**
   * Set where time per row grows with the layer (brute force): the rates hold up to this many
   * vertices and fall in proportion above it. Absent: the rates do not depend on the layer's size.
   */
  readonly verticesAtRate?: number;
  /** GPU variants: bytes per second from pinned host memory to the device; absent: copies are free. */
  readonly uploadBytesPerSecond?: number;
}

/** What one variant needs in memory: its peak is fixed + perRow × batch rows + indexFactor × index bytes. */
export interface DeclaredMemory {
  readonly fixedBytes: number;
  readonly bytesPerRow: number;
  readonly indexFactor: number;
}

export interface VariantSpec {
  readonly id: VariantId;
  readonly operation: string;
  readonly name: string;
  readonly version: number;
  /** One sentence for `variant show`. */
  readonly summary: string;
  readonly runtime: Runtime;
  readonly kernelClass: KernelClass;
  readonly numericClass: NumericClass;
  readonly precisionModes: readonly ComputePrecision[];
  readonly geometryFamilies: readonly GeometryFamily[];
  readonly supportsMixed: boolean;
  readonly preferredResidency: Residency | null;
  readonly boundaries: readonly BoundaryRule[];
  readonly overlaps: readonly OverlapRule[];
  /** Instruction sets the host must have: lower-case names as in /proc/cpuinfo flags (`avx2`, `fma`). */
  readonly isa: readonly string[];
  /** Whether the variant reads the prepared grid index (false: it works on the raw edges). */
  readonly needsIndex: boolean;
  /** Inclusive bounds on rows of a chunk; null means none. */
  readonly minRows: number | null;
  readonly maxRows: number | null;
  readonly tags: readonly string[];
  readonly throughput: DeclaredThroughput;
  readonly memory: DeclaredMemory;
  /** Symbol in the C ABI, and the library that must export it. */
  readonly symbol: string;
  readonly library: 'cpu' | 'cuda' | 'external';
  /** SHA-256 over the sources of the variant (source identity, not the compiled image's). */
  readonly sourceDigest: string;
}

/** Rows at which a class of kernels pays off on a GPU. */
export interface CrossoverSpec {
  readonly pairwiseMinRows: number;
  readonly broadcastMinRows: number;
}

export interface OperationSpec {
  readonly name: string;
  readonly summary: string;
  readonly kernelClass: KernelClass;
  /** Overrides of the policy's class defaults, or null. */
  readonly crossover: CrossoverSpec | null;
  readonly variants: readonly VariantSpec[];
}

/** The whole registry as one frozen value; `digest` is SHA-256 of its canonical JSON without `digest`. */
export interface Registry {
  readonly schema: 'tileloom.registry/1';
  readonly version: number;
  readonly operations: readonly OperationSpec[];
  readonly digest: string;
}
