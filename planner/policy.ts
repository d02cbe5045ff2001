// Owns the shape of a policy: every number a decision depends on, as versioned plain data. The one
// planning function reads it; a policy stored with a run replays that run's plans anywhere.
import type { ComputePrecision, CrossoverSpec, KernelClass, Runtime } from '../registry/index.ts';
import type { CompensationMode, RefinementMode } from './types.ts';

export interface TelemetryPolicy {
  /** A device below this utilisation is under-utilised. */
  readonly underutilizedBelowPct: number;
  /** Memory in use from this share on is pressure. */
  readonly memoryPressureFromPct: number;
  /** Metrics of an older snapshot are treated as unknown; null: any age will do. */
  readonly ageMsMax: number | null;
}

export interface CrossoverPolicy {
  /** Least work units at which a GPU pays off, by kernel class. */
  readonly classes: Readonly<Record<KernelClass, CrossoverSpec>>;
  /** Pairwise thresholds of single operations; they go before the registry's and the class's. */
  readonly operations: Readonly<Record<string, number>>;
  /** Broadcast threshold of an operation with a pairwise one only: pairwise ÷ this. */
  readonly broadcastDivisor: number;
}

export interface PrecisionRow {
  readonly compute: ComputePrecision;
  readonly compensation: CompensationMode;
  readonly refinement: RefinementMode;
}

export interface PrecisionPolicy {
  /** fp64 : fp32 throughput from which a GPU computes in fp64. */
  readonly nativeFp64RatioMin: number;
  /** The ratio taken for a GPU that does not tell. */
  readonly unknownFp64Ratio: number;
  readonly fp64: Readonly<Record<KernelClass, PrecisionRow>>;
  /** Automatic choice on GPUs with slow fp64. */
  readonly consumer: Readonly<Record<KernelClass, PrecisionRow>>;
  /** What fp32 means when it is asked for. */
  readonly fp32: Readonly<Record<KernelClass, PrecisionRow>>;
  /** Coordinates are centred when max |coordinate| reaches this … */
  readonly centerFromAbs: number;
  /** … or when their span is below this share of max |coordinate|. */
  readonly centerBelowSpanRatio: number;
}

export interface ScoringPolicy {
  readonly classMatch: number;
  /** A variant that declares no families, and per family and in all for one that does. */
  readonly noFamilies: number;
  readonly perFamily: number;
  readonly allFamilies: number;
  readonly residency: number;
  readonly mixed: number;
  /** For variants tagged `cooperative` from this many vertices per feature on, and for others below. */
  readonly cooperative: number;
  readonly independent: number;
  readonly cooperativeFromVertices: number;
  /** Points per doubling of predicted rows/s above 1 M; 0 leaves speed out. */
  readonly perSpeedDoubling: number;
  /** Bonus of the variant that ran before, so that noise does not flip plans. */
  readonly previous: number;
}

/** Chunks by fixed row counts, from the reference. */
export interface RowHintChunking {
  readonly kind: 'row-hints';
  readonly pressureRows: number;
  readonly defaultRows: number;
  readonly underutilizedRows: number;
}

/** Chunks by time and bytes. */
export interface TimeAndBytesChunking {
  readonly kind: 'time-and-bytes';
  /** Rows of the first chunk of a variant that has no history. */
  readonly probeRows: number;
  /** Factor on the rows under memory pressure. */
  readonly pressureFactor: number;
  /** Near the end a chunk takes at most this fraction of the remaining rows … */
  readonly taperDivisor: number;
  /** … but not less than this share of a full chunk. */
  readonly taperFloor: number;
}

/** What a GPU's executor holds while it works, whatever the size of a chunk. */
export interface DeviceMemoryPolicy {
  /** Arenas on the device, each with a pinned mirror on the host, and the most bytes of one. */
  readonly slots: number;
  readonly slotBytes: number;
  /** Share of the device's free memory that arenas and indexes may take; arenas half of it. */
  readonly freeShare: number;
}

/** How variants of several devices compete: by the time at which they would be done. */
export interface PlacementPolicy {
  /** Rows of the first chunk of a GPU variant that has no history on that class of device. */
  readonly probeRows: number;
  /** Expected seconds of a probe on a CPU beside a GPU, if they are more rows than elsewhere. */
  readonly probeSeconds: number;
  /** Hopeless, and never probed: declared time for what remains above this multiple of the best. */
  readonly hopelessFactor: number;
  /** A probe may cost at most this share of the best one's time for what remains. */
  readonly probeShareMax: number;
  /** Seconds of a first chunk that tell nothing of later ones: pinned memory, first launches. */
  readonly warmUpSeconds: Readonly<Record<Runtime, number>>;
  /** A chunk on a GPU takes at most this many times the rows measured there so far. */
  readonly growthFactor: number;
  /** The device that ran before stays unless another is done earlier by more than this share. */
  readonly stickiness: number;
}

export interface MemoryPolicy {
  /** Batches that each core holds at once while a chunk runs on a CPU. */
  readonly batchesPerCore: number;
  /** Rows of a batch that need not be smaller; a single tile may have more. */
  readonly batchRows: number;
  /** Per batch in flight, for the sums of each feature and measure it touches. */
  readonly bytesPerFeatureMeasure: number;
  /** Buffer through which per-row output leaves. */
  readonly outputBufferBytes: number;
  /** What an executor takes before it has any work: its JavaScript runtime and libraries. */
  readonly processBytes: number;
  /** Share of a GPU's free memory that one chunk may take. */
  readonly deviceFreeShare: number;
  /** Absent: a whole chunk is on the device at once, within `deviceFreeShare`. */
  readonly device?: DeviceMemoryPolicy;
}

export interface PolicyData {
  readonly schema: 'tileloom.policy/1';
  /** `name@version`. */
  readonly id: string;
  readonly summary: string;
  readonly telemetry: TelemetryPolicy;
  readonly crossover: CrossoverPolicy;
  readonly precision: PrecisionPolicy;
  readonly scoring: ScoringPolicy;
  readonly chunking: RowHintChunking | TimeAndBytesChunking;
  readonly memory: MemoryPolicy;
  /** Absent: the crossover alone decides between CPU and GPU, and device health is not looked at. */
  readonly placement?: PlacementPolicy;
  /** What becomes of a run whose requested mode or precision cannot be had on a host. */
  readonly onRequestImpossible: 'hold' | 'fail';
  readonly leaseChunks: number;
}

/** A policy with its identity: SHA-256 of the canonical JSON of its data. */
export interface Policy {
  readonly id: string;
  readonly digest: string;
  readonly data: PolicyData;
}
