// Owns the status of a run as one document: the run's own Query plus one per open shard while it is
// open, its result once it is closed, its marker in the sink once the server has forgotten it.
//
// I1 it never waits longer than a deadline: a run that no worker answers for says so
// I2 nothing heavy is loaded for a run that the server knows
import type { Client } from '@temporalio/client';
import type { PublishAnswer } from '../../workflows/activity-contract.ts';
import {
  RUN_WORKFLOW,
  SHARD_STATUS_QUERY,
  STATUS_QUERY,
  runWorkflowId,
  type RunPhase,
  type RunResult,
  type RunStatus,
  type ShardStatus,
} from '../../workflows/messages.ts';
import { foreignRun, newerRun, unknownRun } from '../operator/identify.ts';
import { isNotFound, isSilence } from '../operator/service-errors.ts';
import { combine, NO_WORKER } from './combine.ts';
import type { LocalRun } from './local-runs.ts';
import { memoText } from './memo.ts';
import { NO_FACTS, type Facts, type RunReport } from './report.ts';
import { lookCloser, serviceWaiting } from './waiting.ts';

const QUERY_DEADLINE_MS = 3_000;
const DESCRIBE_DEADLINE_MS = 5_000;
const SERVER_PAUSE = "paused by the Temporal server's own workflow pause, not by tileloom";
const STATUS_SCHEMA = 'tileloom.run-status/1';
const OPEN_STATUSES: readonly string[] = ['RUNNING', 'CONTINUED_AS_NEW', 'PAUSED'];

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
    if (description.type !== RUN_WORKFLOW) {
      throw foreignRun(runId, description.type);
    }
    const known: Facts = {
      ...NO_FACTS,
      name: source.local?.name ?? memoText(description.memo, 'name'),
      sink: source.local?.sink ?? memoText(description.memo, 'sink'),
      startedAt: source.local?.startedAt ?? description.startTime.getTime(),
    };
    const facts = OPEN_STATUSES.includes(description.status.name)
      ? await openFacts(source, workflowId, known, description.status.name)
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

async function openFacts(
  source: StatusSource,
  workflowId: string,
  known: Facts,
  state: string,
): Promise<Facts> {
  const status = await ask<RunStatus>(source.client, workflowId, STATUS_QUERY);
  if (status === null) {
    return state === 'PAUSED'
      ? { ...known, open: true, waiting: SERVER_PAUSE, waitingFor: 'operator' }
      : { ...known, open: true, waiting: NO_WORKER, waitingFor: 'worker' };
  }
  const schema: string = status.schema;
  if (schema !== STATUS_SCHEMA) {
    throw newerRun(workflowId.slice(runWorkflowId('').length), schema, STATUS_SCHEMA);
  }
  const shards = await Promise.all(
    status.openShards.map((shard) =>
      ask<ShardStatus>(source.client, shard.workflowId, SHARD_STATUS_QUERY),
    ),
  );
  const facts = combine(status, shards, source.now(), known);
  return lookCloser(serviceWaiting(source.client), status, facts, source.now());
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
    if (!(error instanceof Error) || error.name !== 'WorkflowFailedError') {
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
  const { name, counts, rows, rowsTotal, epoch, pins, limits, sink, error } = combine(
    status,
    [],
    source.now(),
  );
  return { name, counts, rows, rowsTotal, epoch, pins, limits, sink, error, phase };
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
function failureOf(error: Error): { code: string; message: string } {
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
  const { isPartial, readMarker } = await import('../../datasets/index.ts');
  const marker = local === null ? null : await readMarker(local.sink);
  if (local === null || marker?.runId !== runId) {
    throw unknownRun(runId);
  }
  const { parkedTiles, skippedTiles } = marker;
  return {
    ...NO_FACTS,
    name: local.name,
    phase: isPartial(marker) ? 'partial' : 'finished',
    counts: {
      total: marker.tiles,
      pending: 0,
      running: 0,
      done: marker.tiles - parkedTiles,
      parked: parkedTiles - skippedTiles,
      skipped: skippedTiles,
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
