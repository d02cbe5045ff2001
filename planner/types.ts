// Owns the planner contract: everything a decision depends on (PlanInput) and the decision (Plan).
// Both are plain JSON; canonical JSON of them is what digests are taken over.
import type {
  BoundaryRule,
  ComputePrecision,
  GeometryFamily,
  KernelClass,
  OverlapRule,
  Residency,
  Runtime,
  VariantId,
} from '../registry/index.ts';
import type { HistoryDigest, TelemetrySnapshot } from '../telemetry/index.ts';

export type RequestedMode = 'auto' | 'cpu' | 'gpu';
export type RequestedPrecision = 'auto' | ComputePrecision;
export type WorkloadShape = 'pairwise' | 'broadcast-right' | 'scalar-right';
export type CompensationMode = 'none' | 'centered' | 'kahan' | 'double-single';
export type RefinementMode = 'none' | 'selective-fp64' | 'exact';

export interface WhereInput {
  readonly runId: string;
  readonly shard: number;
  readonly chunk: number;
  readonly firstTile: number;
  readonly reservedTiles: number;
  readonly attempt: number;
  readonly epoch: number;
}

export interface WorkloadProfile {
  readonly operation: string;
  readonly kernelClass: KernelClass;
  readonly boundary: BoundaryRule;
  readonly overlap: OverlapRule;
  /** Rows of the reserved range. */
  readonly rows: number;
  /** Rows of the shard that are not committed yet, the reserved range included. */
  readonly remainingRows: number;
  readonly tileRows: number;
  readonly families: readonly GeometryFamily[];
  readonly mixed: boolean;
  readonly features: number;
  readonly vertices: number;
  readonly meanVertices: number;
  readonly shape: WorkloadShape;
  readonly residency: Residency;
  /** Bytes read per row of input, and written per row of output. */
  readonly bytesPerRow: number;
  readonly bytesOutPerRow: number;
  readonly indexBytes: number;
  /** Names the layer's index, as `GpuMetrics.resident` does; absent in records of old versions. */
  readonly layer?: string;
  readonly streaming: boolean;
  readonly chunkIndex: number;
  /** Whether rows lie in a curve order (neighbours in space are neighbours in the file). */
  readonly ordered: boolean;
  /** Measures aggregated per row; 0 when only assigning. */
  readonly measures: number;
  /** max |coordinate| and span of the layer, for the fp32 centring rule; null when unknown. */
  readonly maxAbsCoordinate: number | null;
  readonly coordinateSpan: number | null;
  /** Work units of the reserved range when they are not rows (candidate pairs …); null: use rows. */
  readonly workUnits: number | null;
}

export type PinAspect = 'runtime' | 'variant' | 'precision' | 'chunkRows' | 'device' | 'host';

export type PinScope =
  | { readonly kind: 'run' }
  | { readonly kind: 'operation'; readonly operation: string }
  | { readonly kind: 'tiles'; readonly firstTile: number; readonly lastTile: number }
  | { readonly kind: 'chunks'; readonly count: number };

export interface Pin {
  readonly id: string;
  readonly aspect: PinAspect;
  readonly value: string | number;
  readonly scope: PinScope;
  readonly reason: string;
  readonly author: string;
  /** Epoch at which it was accepted; newer wins among equal scopes. */
  readonly epoch: number;
  /** Milliseconds since the Unix epoch, or null; and chunks left, or null. */
  readonly expiresAt: number | null;
  readonly chunksLeft: number | null;
  readonly ifImpossible: 'hold' | 'fail';
}

/** Pins in force at this place: one winner per aspect, and the ids that lost against it. */
export interface PinsInForce {
  readonly winners: readonly Pin[];
  readonly losers: readonly string[];
  /** Tiles from firstTile on until other pins would be in force: a chunk ends there. Absent: none. */
  readonly tilesUntilChange?: number;
}

export interface PlanLimits {
  readonly memoryBytesMax: number;
  readonly chunkSecondsTarget: number;
  /** Upper bound after an out-of-memory failure; null when none happened. */
  readonly chunkRowsMax: number | null;
}

/** A variant that failed on a device and must not run there again in this run. */
export interface Exclusion {
  readonly variant: VariantId;
  readonly deviceId: string;
  readonly host: string;
  readonly failure: string;
}

export interface PlanSummary {
  readonly planId: string;
  readonly variant: VariantId;
  readonly runtime: Runtime;
  readonly deviceId: string;
  readonly chunkTiles: number;
  readonly chunkRowsHint: number;
  readonly predictedSeconds: number;
  readonly actualSeconds: number | null;
}

/** What the pipeline asks for. */
export interface Requested {
  readonly mode: RequestedMode;
  readonly precision: RequestedPrecision;
  /** What becomes of the run where it cannot be had; absent: the policy decides. */
  readonly ifImpossible?: 'hold' | 'fail';
}

export interface PlanInput {
  readonly schema: 'tileloom.plan-input/1';
  readonly where: WhereInput;
  readonly work: WorkloadProfile;
  readonly requested: Requested;
  readonly pins: PinsInForce;
  readonly limits: PlanLimits;
  readonly excluded: readonly Exclusion[];
  readonly previous: PlanSummary | null;
  readonly history: HistoryDigest;
  readonly snapshot: TelemetrySnapshot;
  readonly policy: { readonly id: string; readonly digest: string };
  readonly registry: { readonly digest: string };
}

/** A pin as a plan call carries it: why and by whom is in the run's operator state. */
export type RequestPin = Pick<Pin, 'id' | 'aspect' | 'value' | 'epoch'> &
  Partial<Pick<Pin, 'scope' | 'expiresAt' | 'chunksLeft' | 'ifImpossible'>>;

/** What the lane sends to the plan activity: the input without what only the host knows. */
export type PlanRequest = Omit<
  PlanInput,
  'pins' | 'excluded' | 'snapshot' | 'policy' | 'registry'
> & {
  /** Every pin of the run; left out: the whole run, no expiry, hold. */
  readonly pins: readonly RequestPin[];
  /** Exclusions on the host that is asked. */
  readonly excluded: readonly Omit<Exclusion, 'host'>[];
  readonly policyId: string;
};

export interface PrecisionPlan {
  readonly storage: 'fp64';
  readonly compute: ComputePrecision;
  readonly compensation: CompensationMode;
  readonly refinement: RefinementMode;
  readonly center: boolean;
}

export interface Reason {
  readonly code: string;
  readonly params?: Readonly<Record<string, string | number | boolean | null>>;
}

export interface Candidate {
  readonly variant: VariantId;
  readonly deviceId: string | null;
  /** Total score, or null when rejected. */
  readonly score: number | null;
  readonly terms?: Readonly<Record<string, number>>;
  readonly reject?: string;
}

export interface Plan {
  readonly schema: 'tileloom.plan/1';
  /** SHA-256 of canonical {input, decision}. */
  readonly planId: string;
  readonly runtime: Runtime;
  readonly deviceId: string;
  readonly variant: VariantId;
  readonly precision: PrecisionPlan;
  readonly chunkTiles: number;
  readonly chunkRowsHint: number;
  /** How many further chunks may run under this plan without planning again; 1 = every chunk. */
  readonly leaseChunks: number;
  readonly reasons: readonly Reason[];
  readonly candidates: readonly Candidate[];
  readonly predicted: {
    readonly seconds: number;
    readonly bytesIn: number;
    readonly bytesOut: number;
    readonly peakBytes: number;
  };
}

/** No admissible plan: the lane holds (a pin cannot be honoured, or nothing fits) or the run fails. */
export interface PlanRefusal {
  readonly schema: 'tileloom.plan-refusal/1';
  readonly code: string;
  readonly onRefusal: 'hold' | 'fail';
  readonly reasons: readonly Reason[];
  readonly candidates: readonly Candidate[];
}

export type PlanDecision = Plan | PlanRefusal;
