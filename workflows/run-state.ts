// Owns the run's state, its status answer and what it carries through continue-as-new.
import { pauseSentence, type OperatorState } from '../operator/index.ts';
import type { Exclusion } from '../planner/index.ts';
import { emptyHistory, type HistoryDigest } from '../telemetry/index.ts';
import type { PreparedRun, PublishAnswer, TileInterval } from './activity-contract.ts';
import { addExclusions } from './exclusions.ts';
import { countTiles } from './intervals.ts';
import {
  shardWorkflowId,
  type DoneShard,
  type ParkedNotice,
  type ParkedSummary,
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
  /** Shard index → tiles that are parked or skipped by now, as open shards told. */
  readonly parkedOpen: Map<number, Omit<ParkedNotice, 'shard'>>;
  readonly open: Set<number>;
  history: HistoryDigest;
  excluded: readonly Exclusion[];
  readonly startedAt: number;
  pausedMs: number;
  finishedAt: number | null;
  published: PublishAnswer | null;
  failure: RunFailure | null;
  waiting: string | null;
  /** Changes of the operator state in this execution: each of them makes its history longer. */
  changes: number;
  /** Set when the end is certain: requests that come now are refused. */
  ending: boolean;
}

export function openRun(input: RunInput, now: number): RunState {
  const { carried } = input;
  return {
    input,
    operator: input.operator,
    phase: carried === null ? 'preparing' : 'running',
    prepared: carried?.prepared ?? null,
    shards: carried === null ? [] : shardsOf(carried),
    parkedOpen: new Map(),
    open: new Set(),
    history: carried?.history ?? emptyHistory(),
    excluded: carried?.excluded ?? [],
    startedAt: carried?.startedAt ?? now,
    pausedMs: (carried?.pausedMs ?? 0) + (now - (carried?.endedAt ?? now)),
    finishedAt: null,
    published: null,
    failure: null,
    waiting: null,
    changes: 0,
    ending: false,
  };
}

/** What the next execution of the run starts from; no shard may be open. */
export function carriedOf(run: RunState, prepared: PreparedRun): RunCarried {
  const { startedAt, history, excluded, pausedMs } = run;
  const shards = run.shards
    .filter(({ state }) => state !== 'pending')
    .map((progress) => (progress.state === 'done' ? doneShard(progress) : progress));
  return { prepared, shards, startedAt, history, excluded, pausedMs };
}

/**
 * The input from which a closed run is started again; null before it is prepared. What ended badly is
 * left over, and nothing is excluded any more: hosts and kernels may have been mended meanwhile.
 */
export function ledgerOf(run: RunState, now: number): RunInput | null {
  if (run.prepared === null) return null;
  const carried = carriedOf(run, run.prepared);
  const endedAt = run.finishedAt ?? now;
  const { pause } = run.operator;
  const lasting = pause === null ? 0 : Math.max(0, endedAt - pause.since);
  return {
    ...run.input,
    operator: run.operator,
    carried: {
      ...carried,
      shards: carried.shards.map((one) => ('range' in one ? leftOver(one) : one)),
      excluded: [],
      pausedMs: run.pausedMs + lasting,
      endedAt,
    },
    generation: (run.input.generation ?? 0) + 1,
  };
}

function leftOver(progress: ShardProgress): ShardProgress {
  const suspects = progress.suspects.map(({ firstTile, endTile, pin }) => {
    const again = { firstTile, endTile, attempt: 1, faults: [] };
    return pin === undefined ? again : { ...again, pin };
  });
  return { ...progress, state: 'yielded', suspects, excluded: [], chunkRowsMax: null };
}

function doneShard(progress: ShardProgress): DoneShard {
  const { shard, head, segments, nextChunk, counts, parked, skipped, ordersThrough } = progress;
  const { tilesDone, rowsDone } = counts;
  return {
    ...{ shard, state: 'done', head, segments, nextChunk, tilesDone, rowsDone },
    ...{ parked: parked.count, skipped, ordersThrough },
  };
}

function shardsOf({ prepared, shards }: RunCarried): readonly ShardProgress[] {
  const begun = new Map(shards.map((one) => [one.shard, one]));
  return prepared.shards.map((range, shard) => {
    const one = begun.get(shard);
    if (one === undefined) return pendingShard(shard, range);
    // A run that is retried goes on with what a shard that ended badly has left.
    if ('range' in one) return { ...one, state: 'yielded' };
    const { state, head, segments, nextChunk, skipped, ordersThrough, tilesDone, rowsDone } = one;
    const parked = { count: one.parked, first: null };
    const counts = { ...NO_COUNTS, tilesDone, rowsDone };
    const kept = { state, head, segments, nextChunk, skipped, ordersThrough, parked, counts };
    return { ...pendingShard(shard, range), ...kept, free: [] };
  });
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
    parked: { count: 0, first: null },
    skipped: [],
    ordersThrough: 0,
    pinUses: {},
    chunkRowsMax: null,
    counts: NO_COUNTS,
    state: 'pending',
  };
}

/** Drops what the run itself keeps for the shards that start after this one. */
export function compact(progress: ShardProgress): ShardProgress {
  return { ...progress, history: emptyHistory(), excluded: [] };
}

/** Keeps what an ended shard learned for those that start after it. */
export function learnFrom(run: RunState, { history, excluded }: ShardProgress): void {
  if (history.entries.length > 0) run.history = history;
  run.excluded = addExclusions(run.excluded, excluded);
}

/** Tiles parked in the whole run and not skipped, as far as the run has been told. */
export function parkedTiles(run: RunState): ParkedSummary {
  let count = 0;
  let first: ParkedSummary['first'] = null;
  for (const { shard, parked } of run.shards) {
    const told = (run.open.has(shard) ? run.parkedOpen.get(shard)?.parked : undefined) ?? parked;
    count += told.count;
    first ??= told.first;
  }
  return { count, first };
}

/** Tiles skipped in the whole run, as far as the run has been told. */
export function skippedTiles(run: RunState): number {
  return run.shards.reduce((sum, { shard, skipped }) => {
    const told = run.open.has(shard) ? run.parkedOpen.get(shard)?.skipped : undefined;
    return sum + (told ?? countTiles(skipped));
  }, 0);
}

/** One sentence: what the run waits for; null while it works. */
function waitingOf({ phase, operator, waiting }: RunState): string | null {
  const isHeld = phase === 'running' && operator.pause !== null && operator.cancel === null;
  return isHeld && operator.pause !== null ? pauseSentence(operator.pause) : waiting;
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
    operator: run.operator,
    pausedMs: run.pausedMs,
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
      parked: sum(({ parked }) => parked.count),
      skipped: sum(({ skipped }) => countTiles(skipped)),
    },
    sink: input.spec.sink.path,
    published: run.published,
    error: run.failure,
    waiting: waitingOf(run),
  };
}
