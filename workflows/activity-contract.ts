// Owns what workflows ask of the outside: the activities by queue, their requests and answers, and
// the types of the failures they throw. Activities implement it; workflows import only this.
//
// Sizes (design §4, asserted by tests): plan call ≤ 2 KiB, plan answer ≤ 3.5 KiB, execute order ≤ 512
// B, execute answer ≤ 1 KiB, any payload ≤ 64 KiB.
import type { ParkedSelection, PinWish } from '../operator/index.ts';
import type { Pin, PlanDecision, PlanRequest, WorkloadProfile } from '../planner/index.ts';
import type { TelemetrySnapshot } from '../telemetry/index.ts';
import type { PipelineSpec } from '../spec/index.ts';

/** Half-open range of tiles: firstTile ≤ t < endTile. */
export interface TileInterval {
  readonly firstTile: number;
  readonly endTile: number;
}

// ---- prepare (queue tileloom.io) ----------------------------------------------------------------

export interface PrepareRequest {
  readonly runId: string;
  /** Validated spec with absolute paths. */
  readonly spec: PipelineSpec;
  readonly specDigest: string;
  /** Tiles per shard when the spec does not say how many shards; tests make it small. */
  readonly shardTilesMax: number;
}

/** The parts of a WorkloadProfile that are the same for each chunk of the run. */
export type WorkTemplate = Omit<WorkloadProfile, 'rows' | 'remainingRows' | 'chunkIndex'>;

export interface PreparedRun {
  readonly contextPath: string;
  readonly contextDigest: string;
  readonly datasetDigest: string;
  readonly tiles: number;
  readonly rows: number;
  readonly tileRows: number;
  readonly shards: readonly TileInterval[];
  readonly work: WorkTemplate;
  readonly warnings: readonly string[];
}

// ---- claimHost (queue tileloom.pool.any | tileloom.pool.cuda | tileloom.<host>) -----------------

export interface ClaimRequest {
  readonly runId: string;
  readonly shard: number;
  readonly lane: number;
}

export interface HostLease {
  readonly leaseId: string;
  readonly host: string;
  readonly bootId: string;
  /** Queue of the plan activity: `tileloom.<host>`. */
  readonly hostQueue: string;
  /** Device id → queue of its execute activity: `tileloom.<host>.<device>`. */
  readonly deviceQueues: Readonly<Record<string, string>>;
  /** Chunks after which the lane gives the lease back, so that hosts which join get work. */
  readonly chunksMax: number;
}

export interface ReleaseRequest {
  readonly leaseId: string;
}

// ---- plan (queue tileloom.<host>) ---------------------------------------------------------------

export interface PlanCall {
  readonly leaseId: string;
  readonly request: PlanRequest;
  readonly registryDigest: string | null;
}

/** What a pipeline asks of plans; one that asks for nothing says nothing of what becomes of it. */
export function requestedOf({
  mode,
  precision,
  ifImpossible,
}: PlanRequest['requested']): PlanRequest['requested'] {
  const asks = mode !== 'auto' || precision !== 'auto';
  return { mode, precision, ...(asks && ifImpossible !== undefined ? { ifImpossible } : {}) };
}

export interface PlanAnswer {
  readonly decision: PlanDecision;
  readonly snapshot: TelemetrySnapshot;
  readonly policy: { readonly id: string; readonly digest: string };
  readonly registry: { readonly digest: string };
}

// ---- execute (queue tileloom.<host>.<device>) ---------------------------------------------------

export interface ExecuteOrder {
  readonly runId: string;
  readonly contextPath: string;
  readonly contextDigest: string;
  readonly leaseId: string;
  readonly shard: number;
  readonly chunk: number;
  readonly attempt: number;
  readonly firstTile: number;
  readonly endTile: number;
  readonly variant: string;
  readonly precision: 'fp32' | 'fp64';
  readonly deviceId: string;
  readonly planId: string;
}

/** Reference to a part; the answer in durable history is the only thing that makes a part count. */
export interface PartRef extends TileInterval {
  /** File name under the sink's `parts/`. */
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly rows: number;
}

export interface ExecuteAnswer {
  readonly part: PartRef;
  readonly hits: number;
  readonly outside: number;
  readonly invalid: number;
  readonly deviceClass: string;
  /** Digest of the machine code that ran: of the compiled library, or of the GPU's image. */
  readonly image: string;
  readonly peakBytes: number;
  /** Of a GPU: its memory at most, and rows that the host decided after it could not. */
  readonly device?: { readonly peakBytes: number; readonly repairedRows: number };
  /**
   * Seconds: waiting in the device queue, then working: what the chunk took of the whole device; by stage,
   * summed over calls in flight.
   */
  readonly seconds: {
    readonly queued: number;
    readonly work: number;
    readonly read: number;
    readonly kernel: number;
    readonly write: number;
    /** Copies to and from a GPU. */
    readonly upload?: number;
    readonly download?: number;
  };
}

// ---- seal and publish (queue tileloom.io) -------------------------------------------------------

export interface ParkedTile {
  readonly tile: number;
  readonly errorClass: string;
  readonly fingerprint: string;
  /** Name of the input the tile lies in. */
  readonly input: string;
  readonly planId: string;
  readonly message: string;
}

export interface SegmentRef {
  readonly file: string;
  readonly sha256: string;
  readonly previousSha256: string | null;
}

export interface SealRequest {
  readonly runId: string;
  readonly contextPath: string;
  readonly contextDigest: string;
  readonly shard: number;
  /** Number of this segment within its shard, from 0. */
  readonly sequence: number;
  readonly parts: readonly PartRef[];
  readonly parked: readonly ParkedTile[];
  readonly previous: SegmentRef | null;
  /**
   * The execution whose history holds the plan records, and the events between which they closed, both
   * included: a seal that is tried again writes the same records.
   */
  readonly workflow: {
    readonly id: string;
    readonly runId: string;
    readonly fromEventId: number;
    readonly throughEventId: number;
  };
}

export interface SealAnswer {
  readonly segment: SegmentRef;
  /** Ranges whose part is missing or corrupt; they go back to the free intervals. */
  readonly lost: readonly TileInterval[];
}

export interface PublishRequest {
  readonly runId: string;
  readonly contextPath: string;
  readonly contextDigest: string;
  readonly spec: PipelineSpec;
  readonly specDigest: string;
  /** Head of each shard's segment chain; null where a shard sealed nothing. */
  readonly heads: readonly (SegmentRef | null)[];
  readonly tiles: number;
  /** Parked tiles that an operator accepts to leave out, ascending, disjoint. */
  readonly skipped: readonly TileInterval[];
  /** 0 for the first publication; a retry of an ended run publishes anew under a higher number. */
  readonly generation: number;
}

export interface PublishAnswer {
  readonly outcome: 'success' | 'partial';
  readonly runDigest: string;
  readonly manifest: string;
  readonly result: string;
  readonly tiles: number;
  readonly rows: number;
  readonly hits: number;
  readonly outside: number;
  readonly invalid: number;
  /** Tiles that are parked, of which so many were skipped; `partial` when some were not. */
  readonly parkedTiles: number;
  readonly skippedTiles: number;
}

// ---- operators (queue tileloom.io) --------------------------------------------------------------

/** Pins that somebody asks for, to be judged against registry and live hosts. */
export interface CheckPinsRequest {
  readonly pins: readonly PinWish[];
  /** Pins in force beside them. */
  readonly current: readonly Pin[];
  readonly mode: 'auto' | 'cpu' | 'gpu';
  readonly precision: 'auto' | 'fp32' | 'fp64';
  /** Null before the run is prepared. */
  readonly work: WorkTemplate | null;
}

export interface CheckPinsAnswer {
  /** Empty: all may be set. The first problem is the one to show. */
  readonly problems: readonly string[];
}

/** Parked tiles of sealed chains that a selection means. */
export interface SelectParkedRequest {
  readonly contextPath: string;
  readonly contextDigest: string;
  readonly shards: readonly { readonly shard: number; readonly head: SegmentRef }[];
  readonly select: ParkedSelection;
}

export interface SelectParkedAnswer {
  readonly shards: readonly {
    readonly shard: number;
    /** Ascending, disjoint; at most 1,000 in all. */
    readonly tiles: readonly TileInterval[];
  }[];
}

export interface CancelRunRequest {
  readonly workflowId: string;
  readonly runId: string;
}

// ---- the contract -------------------------------------------------------------------------------

export interface RequireGpuRequest {
  /** What asks for a GPU, in the words of the spec. */
  readonly wish: string;
}

export interface IoActivities {
  prepareRun(request: PrepareRequest): Promise<PreparedRun>;
  sealSegment(request: SealRequest): Promise<SealAnswer>;
  publishRun(request: PublishRequest): Promise<PublishAnswer>;
  checkPins(request: CheckPinsRequest): Promise<CheckPinsAnswer>;
  selectParked(request: SelectParkedRequest): Promise<SelectParkedAnswer>;
  /** Refuses (`NO_GPU_HOST`) where no host has a GPU in service. */
  requireGpu(request: RequireGpuRequest): Promise<void>;
  /** Asks the server to cancel the run itself, so that its history ends as cancelled. */
  cancelRun(request: CancelRunRequest): Promise<void>;
}

export interface PoolActivities {
  claimHost(request: ClaimRequest): Promise<HostLease>;
}

export interface HostActivities {
  plan(call: PlanCall): Promise<PlanAnswer>;
  releaseLease(request: ReleaseRequest): Promise<void>;
}

export interface DeviceActivities {
  execute(order: ExecuteOrder): Promise<ExecuteAnswer>;
}

/**
 * `ApplicationFailure.type` of what activities throw; each has one reaction in the lane.
 *
 * OUT_OF_MEMORY → smaller chunk · KERNEL_FAULT (crash, abort, hang, wrong digest) → variant
 * excluded on that device · RESIDENCY_LOST, LEASE_LOST, HOST_DRAINING, HOST_RESTARTED → claim
 * again, never counted towards parking · INPUT_UNAVAILABLE → back off, own bound · TILE_DATA_ERROR
 * → bisect, park
 * · DISK_FULL → hold and retry with back-off · REFUSED (bad request, changed input, foreign sink)
 * → the run fails with the error's own code.
 */
export type FailureType =
  | 'OUT_OF_MEMORY'
  | 'KERNEL_FAULT'
  | 'RESIDENCY_LOST'
  | 'LEASE_LOST'
  | 'HOST_DRAINING'
  | 'HOST_RESTARTED'
  | 'INPUT_UNAVAILABLE'
  | 'TILE_DATA_ERROR'
  | 'DISK_FULL'
  | 'REFUSED';

/** First element of `ApplicationFailure.details`. */
export interface FailureDetails {
  /** The EngineError's stable code. */
  readonly code: string;
  /** The tile it is about, when one is known. */
  readonly tile: number | null;
  readonly input: string | null;
  readonly fingerprint: string | null;
}

export const QUEUES = {
  workflows: 'tileloom.workflows',
  io: 'tileloom.io',
  poolAny: 'tileloom.pool.any',
  poolCuda: 'tileloom.pool.cuda',
  host: (host: string): string => `tileloom.${host}`,
  device: (host: string, device: string): string => `tileloom.${host}.${device}`,
} as const;
