// Owns the status of a run as one document: the run's own Query plus one per open shard while it is
// open, its result once it is closed, its marker in the sink once the server has forgotten it.
//
// I1 counts of tiles always add up to the total, or are null as a whole.
// I2 it never waits longer than a deadline: a run that no worker answers for says so.
import { WorkflowFailedError, type Client } from '@temporalio/client';
import { readMarker } from '../../datasets/index.ts';
import {
  SHARD_STATUS_QUERY,
  STATUS_QUERY,
  runWorkflowId,
  type LaneStatus,
  type RunPhase,
  type RunResult,
  type RunStatus,
  type ShardStatus,
  type TileCounts,
} from '../../workflows/messages.ts';
import type { PublishAnswer } from '../../workflows/activity-contract.ts';
import { CliError } from '../errors.ts';
import { isNotFound } from '../history/source.ts';
import { memoText } from './list.ts';
import type { LocalRun } from './local-runs.ts';

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
  /** Mean since the run began. */
  readonly rowsPerSecond: number | null;
  readonly etaSeconds: number | null;
  readonly startedAt: number | null;
  readonly elapsedSeconds: number | null;
  readonly epoch: number | null;
  /** Run digest; null until it is published. */
  readonly digest: string | null;
  readonly sink: string | null;
  readonly result: string | null;
  readonly waiting: string | null;
  readonly lanes: readonly LaneReport[];
  readonly error: { readonly code: string; readonly message: string } | null;
}

export interface LaneReport extends LaneStatus {
  readonly shard: number;
}

const QUERY_DEADLINE_MS = 3_000;
const DESCRIBE_DEADLINE_MS = 5_000;
export const NO_WORKER = 'no worker answers; start one with `tileloom worker start`';

type Facts = Omit<RunReport, 'runId' | 'workflowId'>;

const NOTHING: Facts = {
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
  epoch: null,
  digest: null,
  sink: null,
  result: null,
  waiting: null,
  lanes: [],
  error: null,
};

export interface StatusSource {
  readonly client: Client;
  readonly now: () => number;
  /** What this machine remembers of the run, or null. */
  readonly local: LocalRun | null;
}

/**
 * Reads the status of a run.
 *
 * @throws {CliError} `CLI_RUN_UNKNOWN`
 */
export async function readRunStatus(source: StatusSource, runId: string): Promise<RunReport> {
  const workflowId = runWorkflowId(runId);
  const identity = { runId, workflowId };
  const handle = source.client.workflow.getHandle(workflowId);
  try {
    const description = await source.client.connection.withDeadline(
      Date.now() + DESCRIBE_DEADLINE_MS,
      () => handle.describe(),
    );
    const known: Facts = {
      ...NOTHING,
      name: source.local?.name ?? memoText(description.memo, 'name'),
      sink: source.local?.sink ?? memoText(description.memo, 'sink'),
      startedAt: source.local?.startedAt ?? description.startTime.getTime(),
    };
    const facts =
      description.status.name === 'RUNNING' || description.status.name === 'CONTINUED_AS_NEW'
        ? await openFacts(source, workflowId, known)
        : await closedFacts(source, workflowId, known, {
            status: description.status.name,
            closedAt: description.closeTime?.getTime() ?? source.now(),
          });
    return { ...identity, ...facts };
  } catch (error) {
    if (!isNotFound(error)) {
      throw error;
    }
    return { ...identity, ...(await forgottenFacts(runId, source.local)) };
  }
}

/** Sends a query with a deadline; null when no worker answers in time. */
async function ask<T>(client: Client, workflowId: string, query: string): Promise<T | null> {
  try {
    return await client.connection.withDeadline(Date.now() + QUERY_DEADLINE_MS, () =>
      client.workflow.getHandle(workflowId).query<T>(query),
    );
  } catch (error) {
    if (isNotFound(error) || isSilence(error)) {
      return null;
    }
    throw error;
  }
}

/** Deadline, cancellation, or a query that failed because a worker is about to go. */
function isSilence(error: unknown): boolean {
  const codes: unknown[] = [1, 4, 9, 14];
  const own = error as { code?: unknown; cause?: { code?: unknown } };
  return codes.includes(own.code) || codes.includes(own.cause?.code);
}

async function openFacts(source: StatusSource, workflowId: string, known: Facts): Promise<Facts> {
  const status = await ask<RunStatus>(source.client, workflowId, STATUS_QUERY);
  if (status === null) {
    return { ...known, open: true, waiting: NO_WORKER };
  }
  const shards = await Promise.all(
    status.openShards.map((shard) =>
      ask<ShardStatus>(source.client, shard.workflowId, SHARD_STATUS_QUERY),
    ),
  );
  return combine(status, shards, source.now(), known);
}

/** Joins the run's answer with its shards' answers. */
export function combine(
  status: RunStatus,
  answers: readonly (ShardStatus | null)[],
  nowMs: number,
  known: Facts = NOTHING,
): Facts {
  const shards = answers.filter((answer) => answer !== null);
  const sum = (value: (shard: ShardStatus) => number): number =>
    shards.reduce((total, shard) => total + value(shard), 0);
  const done = status.closed.tilesDone + sum((shard) => shard.counts.tilesDone);
  const parked = status.closed.parked + sum((shard) => shard.parked);
  const skipped = status.closed.skipped + sum((shard) => shard.skipped);
  const running = Math.min(
    sum((shard) => shard.tilesRunning),
    status.tiles - done - parked - skipped,
  );
  const rows = status.closed.rowsDone + sum((shard) => shard.counts.rowsDone);
  const endedAt = status.finishedAt ?? nowMs;
  const seconds = Math.max(0.001, (endedAt - status.startedAt) / 1000);
  const rate = rows / seconds;
  const silent = answers.length - shards.length;
  const lanes = shards.flatMap((shard) =>
    shard.lanes.map((lane) => ({ ...lane, shard: shard.shard })),
  );
  const holding = lanes.find((lane) => lane.waiting !== null && lane.state !== 'executing');
  const working = lanes.some((lane) => lane.state === 'executing' || lane.state === 'planning');
  const silence = silent > 0 ? `${String(silent)} open shard(s) do not answer: ${NO_WORKER}` : null;
  const open = !['finished', 'partial', 'failed', 'cancelled'].includes(status.phase);
  return {
    ...known,
    name: status.name,
    phase: status.phase,
    open,
    counts: {
      total: status.tiles,
      pending: status.tiles - done - parked - skipped - running,
      running,
      done,
      parked,
      skipped,
    },
    rows,
    rowsTotal: status.rows,
    hits: status.published?.hits ?? null,
    outside: status.published?.outside ?? null,
    invalid: status.published?.invalid ?? null,
    chunks: sum((shard) => shard.counts.chunks),
    rowsPerSecond: rate,
    etaSeconds: open && rate > 0 && rows > 0 ? (status.rows - rows) / rate : null,
    startedAt: status.startedAt,
    elapsedSeconds: seconds,
    epoch: status.epoch,
    digest: status.published?.runDigest ?? null,
    sink: status.sink,
    result: status.published?.result ?? null,
    waiting: status.waiting ?? (working ? null : (holding?.waiting ?? silence)),
    lanes,
    error: status.error,
  };
}

async function closedFacts(
  source: StatusSource,
  workflowId: string,
  known: Facts,
  closed: { readonly status: string; readonly closedAt: number },
): Promise<Facts> {
  const seconds = Math.max(0.001, (closed.closedAt - (known.startedAt ?? closed.closedAt)) / 1000);
  const base: Facts = { ...known, elapsedSeconds: seconds };
  try {
    const result = (await source.client.workflow.getHandle(workflowId).result()) as RunResult;
    return result.published === null
      ? { ...base, ...(await lastWords(source, workflowId, result.phase)) }
      : publishedFacts(base, result.phase, result.published);
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) {
      throw error;
    }
    const phase = ['CANCELLED', 'CANCELED'].includes(closed.status) ? 'cancelled' : 'failed';
    const last = await lastWords(source, workflowId, phase);
    return { ...base, ...last, error: last.error ?? failureOf(error) };
  }
}

/** What a run that published nothing still answers to a query; only its phase when nobody answers. */
async function lastWords(
  source: StatusSource,
  workflowId: string,
  phase: RunPhase,
): Promise<Partial<Facts>> {
  const status = await ask<RunStatus>(source.client, workflowId, STATUS_QUERY);
  if (status === null) {
    return { phase };
  }
  const { name, counts, rows, rowsTotal, epoch, sink, error } = combine(status, [], source.now());
  return { name, counts, rows, rowsTotal, epoch, sink, error, phase };
}

function publishedFacts(base: Facts, phase: RunPhase, published: PublishAnswer): Facts {
  const done = published.tiles - published.parkedTiles;
  return {
    ...base,
    phase,
    counts: {
      total: published.tiles,
      pending: 0,
      running: 0,
      done,
      parked: published.parkedTiles - published.skippedTiles,
      skipped: published.skippedTiles,
    },
    rows: published.rows,
    rowsTotal: published.rows,
    hits: published.hits,
    outside: published.outside,
    invalid: published.invalid,
    rowsPerSecond: base.elapsedSeconds === null ? null : published.rows / base.elapsedSeconds,
    digest: published.runDigest,
    result: published.result,
  };
}

/** The innermost application failure of a failed workflow. */
function failureOf(error: WorkflowFailedError): { code: string; message: string } {
  let deepest: Error = error;
  while (deepest.cause instanceof Error) {
    deepest = deepest.cause;
  }
  const details = (deepest as { details?: unknown[] }).details?.[0] as
    { code?: unknown } | undefined;
  const type = (deepest as { type?: unknown }).type;
  const code =
    typeof details?.code === 'string' ? details.code : typeof type === 'string' ? type : 'FAILED';
  return { code, message: deepest.message };
}

async function forgottenFacts(runId: string, local: LocalRun | null): Promise<Facts> {
  const marker = local === null ? null : await readMarker(local.sink);
  if (local === null || marker?.runId !== runId) {
    throw new CliError(
      'CLI_RUN_UNKNOWN',
      `run ${runId} is unknown: expected a run of this server, got none; see tileloom run list`,
      { details: { runId } },
    );
  }
  return {
    ...NOTHING,
    name: local.name,
    phase: marker.parkedTiles > 0 ? 'partial' : 'finished',
    counts: {
      total: marker.tiles,
      pending: 0,
      running: 0,
      done: marker.tiles - marker.parkedTiles,
      parked: marker.parkedTiles,
      skipped: 0,
    },
    rows: marker.rows,
    rowsTotal: marker.rows,
    hits: marker.hits,
    outside: marker.outside,
    invalid: marker.invalid,
    startedAt: local.startedAt,
    digest: marker.runDigest,
    sink: local.sink,
  };
}
