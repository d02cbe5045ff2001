// Owns the run's public face on the wire: inputs and results of the workflows, queries and signals.
import type { OperatorState } from '../operator/index.ts';
import type { Exclusion, PlanSummary } from '../planner/index.ts';
import type { PipelineSpec } from '../spec/index.ts';
import type { HistoryDigest } from '../telemetry/index.ts';
import type {
  ParkedTile,
  PreparedRun,
  PublishAnswer,
  SegmentRef,
  TileInterval,
} from './activity-contract.ts';
import type { Suspect } from './bisection.ts';

/** Knobs that change how a run is driven but never its answer; tests set them small. */
export interface RunTuning {
  /** Continue as new past this many events, even if the server does not suggest it yet. */
  readonly shardEventsMax: number;
  readonly runEventsMax: number;
  readonly sealPartsMax: number;
  readonly shardTilesMax: number;
  readonly openShardsMax: number;
  readonly probeTiles: number;
  /** Schedule-to-start timeout of host and device queues; 10 s when absent. */
  readonly hostTimeoutMs?: number;
  /** False on clusters where the search attributes could not be registered; true when absent. */
  readonly searchAttributes?: boolean;
}

/** How a run is driven unless somebody says otherwise. */
export const DEFAULT_TUNING: RunTuning = {
  shardEventsMax: 2000,
  runEventsMax: 2000,
  sealPartsMax: 128,
  shardTilesMax: 4096,
  openShardsMax: 16,
  probeTiles: 4,
};

export interface RunInput {
  readonly schema: 'tileloom.run-input/1';
  readonly runId: string;
  readonly spec: PipelineSpec;
  readonly specDigest: string;
  readonly operator: OperatorState;
  readonly tuning: RunTuning;
  /** Carried through continue-as-new; null in the first execution. */
  readonly carried: RunCarried | null;
  /** How often the run was retried after it had ended; absent: 0. Each publishes anew. */
  readonly generation?: number;
}

export interface RunCarried {
  readonly prepared: PreparedRun;
  /** Shards that have begun; the others are still as `prepared` names them. */
  readonly shards: readonly (ShardProgress | DoneShard)[];
  readonly startedAt: number;
  /** History of the shard that ended last; the next one starts with it. */
  readonly history: HistoryDigest;
  /** Exclusions of all shards that ended. */
  readonly excluded: readonly Exclusion[];
  /** Milliseconds the run was paused in all, a pause that lasts not counted. */
  readonly pausedMs: number;
  /** When the run ended that is retried; absent when it goes on. The time since counts as paused. */
  readonly endedAt?: number;
}

/** What is left of a shard that is done: many of them fit in one payload. */
export interface DoneShard {
  readonly shard: number;
  readonly state: 'done';
  readonly head: SegmentRef | null;
  readonly segments: number;
  readonly nextChunk: number;
  readonly tilesDone: number;
  readonly rowsDone: number;
  readonly parked: number;
  readonly skipped: readonly TileInterval[];
  readonly ordersThrough: number;
}

/** Everything a shard hands on when it continues as new, yields or ends. */
export interface ShardProgress {
  readonly shard: number;
  readonly range: TileInterval;
  /** Tiles not committed yet and not suspect, ascending, disjoint. */
  readonly free: readonly TileInterval[];
  /** Ranges that failed and are being narrowed down; disjoint from `free`. */
  readonly suspects: readonly Suspect[];
  /** Last plan that was executed: its hint sizes the next reservation. */
  readonly previous: PlanSummary | null;
  readonly head: SegmentRef | null;
  readonly segments: number;
  readonly nextChunk: number;
  readonly history: HistoryDigest;
  readonly excluded: readonly Exclusion[];
  /** Tiles that are parked and not skipped; the segments name them all. */
  readonly parked: ParkedSummary;
  /** Parked tiles that an operator accepts to leave out, ascending, disjoint. */
  readonly skipped: readonly TileInterval[];
  /** Orders about parked tiles up to this epoch are followed. */
  readonly ordersThrough: number;
  /** Chunks started under each pin that has a number of chunks, by pin id. */
  readonly pinUses: Readonly<Record<string, number>>;
  readonly chunkRowsMax: number | null;
  readonly counts: ShardCounts;
  readonly state: 'pending' | 'open' | 'yielded' | 'done' | 'failed' | 'cancelled';
}

/** How many tiles are parked, and the first of them as an example. */
export interface ParkedSummary {
  readonly count: number;
  readonly first: ParkedTile | null;
}

/** What a shard returns; a failure has drained and sealed what was done first. */
export interface ShardResult {
  readonly progress: ShardProgress;
  readonly failure: RunFailure | null;
}

/** Why a run failed: a code of ours, or the stable code of the error that an activity met. */
export interface RunFailure {
  readonly code: string;
  readonly message: string;
}

/** Codes that the workflows themselves fail a run with (`ApplicationFailure.type`). */
export type RunFailureCode =
  | 'RUN_TOO_MANY_FAILED_TILES'
  | 'RUN_HOST_LOST_TOO_OFTEN'
  | 'RUN_INPUT_UNAVAILABLE'
  | 'RUN_PARTS_LOST'
  | 'RUN_ACTIVITY_FAILED'
  | 'RUN_SHARD_FAILED';

export interface ShardCounts {
  readonly chunks: number;
  readonly plans: number;
  readonly superseded: number;
  readonly failures: number;
  readonly tilesDone: number;
  readonly rowsDone: number;
  readonly hits: number;
  readonly outside: number;
  readonly invalid: number;
  readonly kernelSeconds: number;
  readonly workSeconds: number;
}

export type RunPhase =
  'preparing' | 'running' | 'publishing' | 'finished' | 'partial' | 'failed' | 'cancelled';

/** Counts of tiles; they always add up to `total`. */
export interface TileCounts {
  readonly total: number;
  readonly pending: number;
  readonly running: number;
  readonly done: number;
  readonly parked: number;
  /** Parked tiles that an operator accepts to leave out. */
  readonly skipped: number;
}

/** Answer of the run's `status` query, O(1). */
export interface RunStatus {
  readonly schema: 'tileloom.run-status/1';
  readonly runId: string;
  readonly name: string;
  readonly phase: RunPhase;
  readonly epoch: number;
  readonly operator: OperatorState;
  /** Milliseconds the run was paused in all, a pause that lasts not counted. */
  readonly pausedMs: number;
  readonly startedAt: number;
  /** Milliseconds since the Unix epoch; null while the run is open. */
  readonly finishedAt: number | null;
  readonly tiles: number;
  readonly rows: number;
  /** Shards that are open now: their workflow ids, to be asked for `shardStatus`. */
  readonly openShards: readonly { readonly shard: number; readonly workflowId: string }[];
  /** Sums over shards that are not open. */
  readonly closed: {
    readonly tilesDone: number;
    readonly rowsDone: number;
    readonly parked: number;
    readonly skipped: number;
  };
  readonly sink: string;
  readonly published: PublishAnswer | null;
  readonly error: RunFailure | null;
  /** One sentence: what the run waits for; null while it works. */
  readonly waiting: string | null;
}

export interface LaneStatus {
  readonly lane: number;
  readonly state: 'idle' | 'claiming' | 'planning' | 'executing' | 'holding' | 'backing-off';
  readonly host: string | null;
  readonly deviceId: string | null;
  readonly variant: string | null;
  readonly firstTile: number | null;
  readonly endTile: number | null;
  /** Milliseconds since the Unix epoch at which the state began. */
  readonly since: number;
  readonly waiting: string | null;
}

/** Answer of a shard's `shardStatus` query, O(lanes). */
export interface ShardStatus {
  readonly schema: 'tileloom.shard-status/1';
  readonly shard: number;
  readonly range: TileInterval;
  /** Epoch of the operator state that the shard obeys: it has acknowledged every epoch up to it. */
  readonly epoch: number;
  readonly counts: ShardCounts;
  readonly tilesRunning: number;
  readonly parked: number;
  readonly skipped: number;
  readonly pinUses: Readonly<Record<string, number>>;
  readonly lanes: readonly LaneStatus[];
  readonly head: SegmentRef | null;
}

export interface ShardInput {
  readonly schema: 'tileloom.shard-input/1';
  readonly runId: string;
  readonly spec: {
    readonly name: string;
    readonly mode: 'auto' | 'cpu' | 'gpu';
    readonly precision: 'auto' | 'fp32' | 'fp64';
    /** What becomes of the run where they cannot be had; absent in runs of old versions. */
    readonly ifImpossible?: 'hold' | 'fail';
    readonly policy: string;
  };
  readonly prepared: PreparedRun;
  readonly operator: OperatorState;
  readonly tuning: RunTuning;
  readonly progress: ShardProgress;
}

export interface RunResult {
  readonly runId: string;
  readonly phase: 'finished' | 'partial' | 'cancelled';
  readonly published: PublishAnswer | null;
}

/**
 * Workflow task timeout of runs and shards. A server that is killed may lose a task it had just handed out;
 * the default of 10 s would be the pause that follows. It must exceed the replay of a whole history,
 * about 1 s for the 2,000 events after which executions continue as new.
 */
export const WORKFLOW_TASK_TIMEOUT_MS = 4_000;

export const RUN_WORKFLOW = 'runWorkflow';
export const SHARD_WORKFLOW = 'shardWorkflow';
export const STATUS_QUERY = 'status';
export const SHARD_STATUS_QUERY = 'shardStatus';
/** From the run to its shards: the whole operator state. */
export const OPERATOR_SIGNAL = 'operatorState';
/** An operator's request: argument OperatorRequest, answer OperatorAnswer. */
export const OPERATE_UPDATE = 'operate';
/** The same request as a signal, for the verbs that must not wait for a worker: pause and resume. */
export const OPERATE_SIGNAL = 'operateLater';
/** The input from which a closed run can be started again; null before it is prepared. */
export const LEDGER_QUERY = 'ledger';
export const YIELD_SIGNAL = 'yield';
/** From a shard to its run: a tile was parked. */
export const PARKED_SIGNAL = 'parked';

export interface ParkedNotice {
  readonly shard: number;
  /** Tiles parked in this shard and not skipped. */
  readonly parked: ParkedSummary;
  /** How many are skipped. */
  readonly skipped: number;
}

/** Search attributes of a run: Keywords, and the number of parked tiles (Int). */
export const SEARCH_ATTRIBUTES = {
  pipeline: 'TileloomPipeline',
  phase: 'TileloomPhase',
  pausedBy: 'TileloomPausedBy',
  parked: 'TileloomParked',
} as const;

export const runWorkflowId = (runId: string): string => `tileloom/${runId}`;
export const shardWorkflowId = (runId: string, shard: number): string =>
  `tileloom/${runId}/shard-${String(shard)}`;
