// Owns the run's state, its status answer and what it carries through continue-as-new.
import type { Exclusion } from '../planner/index.ts';
import { emptyHistory, type HistoryDigest } from '../telemetry/index.ts';
import type { PreparedRun, PublishAnswer, TileInterval } from './activity-contract.ts';
import {
  shardWorkflowId,
  type OperatorState,
  type RunCarried,
  type RunFailure,
  type RunInput,
  type RunPhase,
  type RunStatus,
  type ShardCounts,
  type ShardProgress,
} from './messages.ts';

export interface RunState {
  readonly input: RunInput;
  operator: OperatorState;
  phase: RunPhase;
  prepared: PreparedRun | null;
  shards: readonly ShardProgress[];
  /** Shard index → tiles parked so far, as open shards told. */
  readonly parkedOpen: Map<number, number>;
  readonly open: Set<number>;
  history: HistoryDigest;
  excluded: readonly Exclusion[];
  readonly startedAt: number;
  finishedAt: number | null;
  published: PublishAnswer | null;
  failure: RunFailure | null;
  waiting: string | null;
}

export function openRun(input: RunInput, now: number): RunState {
  const { carried } = input;
  return {
    input,
    operator: input.operator,
    phase: carried === null ? 'preparing' : 'running',
    prepared: carried?.prepared ?? null,
    shards: carried?.shards ?? [],
    parkedOpen: new Map(),
    open: new Set(),
    history: carried?.history ?? emptyHistory(),
    excluded: carried?.excluded ?? [],
    startedAt: carried?.startedAt ?? now,
    finishedAt: null,
    published: null,
    failure: null,
    waiting: null,
  };
}

/** What the next execution of the run starts from; no shard may be open. */
export function carriedOf(run: RunState, prepared: PreparedRun): RunCarried {
  const { shards, startedAt, history, excluded } = run;
  return { prepared, shards, startedAt, history, excluded };
}

const NO_COUNTS: ShardCounts = {
  chunks: 0,
  plans: 0,
  superseded: 0,
  failures: 0,
  tilesDone: 0,
  rowsDone: 0,
  hits: 0,
  outside: 0,
  invalid: 0,
  kernelSeconds: 0,
  workSeconds: 0,
};

export function pendingShard(shard: number, range: TileInterval): ShardProgress {
  return {
    shard,
    range,
    free: range.firstTile < range.endTile ? [range] : [],
    suspects: [],
    previous: null,
    head: null,
    segments: 0,
    nextChunk: 0,
    history: emptyHistory(),
    excluded: [],
    parked: [],
    chunkRowsMax: null,
    counts: NO_COUNTS,
    state: 'pending',
  };
}

/** Drops what only a running shard needs, so that hundreds of ended shards fit in one payload. */
export function compact(progress: ShardProgress): ShardProgress {
  if (progress.state !== 'done') return progress;
  return { ...progress, history: emptyHistory(), excluded: [], previous: null };
}

/** Keeps what an ended shard learned for those that start after it. */
export function learnFrom(run: RunState, { history, excluded }: ShardProgress): void {
  if (history.entries.length > 0) run.history = history;
  const isNew = (one: Exclusion): boolean =>
    !run.excluded.some(
      (other) =>
        one.variant === other.variant && one.deviceId === other.deviceId && one.host === other.host,
    );
  run.excluded = [...run.excluded, ...excluded.filter(isNew)];
}

/** Tiles parked in the whole run, as far as the run has been told. */
export function parkedTiles(run: RunState): number {
  return run.shards.reduce(
    (sum, { shard, parked }) =>
      sum + Math.max(parked.length, run.open.has(shard) ? (run.parkedOpen.get(shard) ?? 0) : 0),
    0,
  );
}

export function runStatus(run: RunState): RunStatus {
  const { input } = run;
  const closed = run.shards.filter(({ shard }) => !run.open.has(shard));
  const sum = (of: (progress: ShardProgress) => number): number =>
    closed.reduce((total, progress) => total + of(progress), 0);
  return {
    schema: 'tileloom.run-status/1',
    runId: input.runId,
    name: input.spec.name,
    phase: run.phase,
    epoch: run.operator.epoch,
    startedAt: run.startedAt,
    finishedAt: run.finishedAt,
    tiles: run.prepared?.tiles ?? 0,
    rows: run.prepared?.rows ?? 0,
    openShards: [...run.open].map((shard) => ({
      shard,
      workflowId: shardWorkflowId(input.runId, shard),
    })),
    closed: {
      tilesDone: sum(({ counts }) => counts.tilesDone),
      rowsDone: sum(({ counts }) => counts.rowsDone),
      parked: sum(({ parked }) => parked.length),
    },
    sink: input.spec.sink.path,
    published: run.published,
    error: run.failure,
    waiting: run.waiting,
  };
}
