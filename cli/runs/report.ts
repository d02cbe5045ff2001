// Owns what a run's status says, as one flat document.
import type { OperatorLimits, PauseMode } from '../../operator/index.ts';
import type { LaneStatus, RunPhase, TileCounts } from '../../workflows/messages.ts';

export interface RunReport {
  readonly runId: string;
  readonly workflowId: string;
  readonly name: string | null;
  /** `unknown` when the run is open but no worker answers. */
  readonly phase: RunPhase | 'unknown';
  readonly open: boolean;
  readonly counts: TileCounts | null;
  /** Rows done, and of how many. */
  readonly rows: number | null;
  readonly rowsTotal: number | null;
  readonly hits: number | null;
  readonly outside: number | null;
  readonly invalid: number | null;
  readonly chunks: number | null;
  /** Mean since the run began, pauses left out. */
  readonly rowsPerSecond: number | null;
  /** Seconds of work that are left; of a paused run, once it is resumed. */
  readonly etaSeconds: number | null;
  readonly startedAt: number | null;
  readonly elapsedSeconds: number | null;
  /** Seconds of those in which the run was paused. */
  readonly pausedSeconds: number | null;
  readonly epoch: number | null;
  readonly pause: PauseReport | null;
  /** Pins in force. */
  readonly pins: number | null;
  readonly limits: OperatorLimits | null;
  /** Run digest; null until it is published. */
  readonly digest: string | null;
  readonly sink: string | null;
  readonly result: string | null;
  /** One sentence about what an open run waits for; null while it works, and when it has ended. */
  readonly waiting: string | null;
  readonly waitingFor: WaitingFor;
  /** Open shards that did not answer: what they did is missing from every count. */
  readonly silentShards: number;
  readonly lanes: readonly LaneReport[];
  readonly error: { readonly code: string; readonly message: string } | null;
}

export interface LaneReport extends LaneStatus {
  readonly shard: number;
}

/** How far a pause is: `drained` when each open shard obeys it and no chunk is in flight. */
export interface PauseReport {
  readonly state: 'pausing' | 'drained';
  readonly mode: PauseMode;
  readonly by: string;
  readonly reason: string;
  readonly epoch: number;
  /** Milliseconds since the Unix epoch; `until` null: until somebody resumes. */
  readonly since: number;
  readonly until: number | null;
  readonly shards: number;
  readonly acknowledged: number;
  readonly chunksInFlight: number;
}

/** What `waiting` is about, for scripts. */
export type WaitingFor =
  'nothing' | 'operator' | 'worker' | 'host' | 'plan' | 'back-off' | 'memory' | 'other';

export type Facts = Omit<RunReport, 'runId' | 'workflowId'>;

export const NO_FACTS: Facts = {
  name: null,
  phase: 'unknown',
  open: false,
  counts: null,
  rows: null,
  rowsTotal: null,
  hits: null,
  outside: null,
  invalid: null,
  chunks: null,
  rowsPerSecond: null,
  etaSeconds: null,
  startedAt: null,
  elapsedSeconds: null,
  pausedSeconds: null,
  epoch: null,
  pause: null,
  pins: null,
  limits: null,
  digest: null,
  sink: null,
  result: null,
  waiting: null,
  waitingFor: 'nothing',
  silentShards: 0,
  lanes: [],
  error: null,
};
