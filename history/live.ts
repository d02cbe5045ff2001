// Owns the walk from a run to the plan lines of all of its executions.
//
// I1. Order: shards ascending; within a shard its executions in order; within one its closing events.
//     Sealed records and exports have the same order.
// I2. One page of events and the ids of executions are in memory, however long the run is.
// I3. What the service has forgotten is never skipped silently: `sealed` stands in for it, or the walk
//     ends with an error that says so.
import type { Client } from '@temporalio/client';
import { runWorkflowIdOf, shardOfWorkflow } from './names.ts';
import { HistoryError } from './errors.ts';
import { executionChain, fetchEvents, isNotFound, type ExecutionRef } from './fetch.ts';
import { LineReader, type HistoryEvent, type HistoryLine } from './plan-lines.ts';

/** Events that lead from one execution to another; Temporal's protobuf events fit. */
export interface LinkEvent extends HistoryEvent {
  readonly workflowExecutionContinuedAsNewEventAttributes?: {
    readonly newExecutionRunId?: string | null;
  } | null;
  readonly childWorkflowExecutionStartedEventAttributes?: {
    readonly workflowExecution?: {
      readonly workflowId?: string | null;
      readonly runId?: string | null;
    } | null;
  } | null;
}

/** Where histories come from; tests pass recorded ones. */
export interface HistorySource {
  /** Executions of a workflow id, oldest first; empty when unknown. */
  readonly chain: (workflowId: string) => Promise<readonly ExecutionRef[]>;
  /** Fails as `isNotFound` tells for an execution that is not known (any more). */
  readonly events: (execution: ExecutionRef) => AsyncIterable<LinkEvent>;
}

/** Reads histories from a Temporal service. */
export function serviceHistory(client: Client): HistorySource {
  return {
    chain: (workflowId) => executionChain(client, workflowId),
    events: (execution) => fetchEvents(client, execution),
  };
}

/** A shard that a run has begun. */
export interface BegunShard {
  readonly shard: number;
  readonly workflowId: string;
  /** First executions of it that the run started, in order; those continue as new by themselves. */
  readonly starts: readonly string[];
}

/**
 * Lists the shards that a run has begun, ascending.
 *
 * @returns null when the service knows no execution of the run
 */
export async function begunShards(
  source: HistorySource,
  runId: string,
): Promise<readonly BegunShard[] | null> {
  const executions = await source.chain(runWorkflowIdOf(runId));
  if (executions.length === 0) return null;
  const shards = new Map<string, { shard: number; starts: string[] }>();
  for (const execution of executions) {
    try {
      for await (const event of source.events(execution)) {
        const child = event.childWorkflowExecutionStartedEventAttributes?.workflowExecution;
        if (typeof child?.workflowId !== 'string' || typeof child.runId !== 'string') continue;
        const shard = shardOfWorkflow(child.workflowId) ?? shards.size;
        const known = shards.get(child.workflowId) ?? { shard, starts: [] };
        if (!known.starts.includes(child.runId)) known.starts.push(child.runId);
        shards.set(child.workflowId, known);
      }
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
  return [...shards]
    .map(([workflowId, begun]) => ({ workflowId, ...begun }))
    .toSorted((a, b) => a.shard - b.shard);
}

/**
 * Yields the plan lines of one shard.
 *
 * @param sealed sealed lines of the same shard, for executions that the service has forgotten
 * @param onForgotten hears once that sealed lines stand in
 * @throws {HistoryError} `HISTORY_INCOMPLETE` when there is nothing to stand in
 */
export async function* shardLines(
  source: HistorySource,
  { workflowId, starts, shard }: BegunShard,
  sealed: (() => AsyncIterable<HistoryLine>) | null,
  onForgotten: () => void,
): AsyncGenerator<HistoryLine> {
  if (await everyStartIsKnown(source, workflowId, starts)) {
    for (const runId of starts) yield* linesFrom(source, { workflowId, runId });
    return;
  }
  if (sealed === null) {
    throw new HistoryError(
      'HISTORY_INCOMPLETE',
      `the history of shard ${shard} is not whole: expected each of its executions, got some that the ` +
        'server has forgotten, and no sealed records; name the sink with --from',
      { details: { shard } },
    );
  }
  onForgotten();
  const known = await source.chain(workflowId);
  const live = new Set(known.map(({ runId }) => runId));
  for await (const line of sealed()) {
    if (live.has(line.runId)) break;
    yield line;
  }
  for (const execution of known) yield* executionLines(source, execution, () => undefined);
}

async function everyStartIsKnown(
  source: HistorySource,
  workflowId: string,
  starts: readonly string[],
): Promise<boolean> {
  try {
    for (const runId of starts) {
      for await (const _ of source.events({ workflowId, runId })) break;
    }
    return starts.length > 0;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** Lines of an execution and of all that continued it. */
async function* linesFrom(source: HistorySource, first: ExecutionRef): AsyncGenerator<HistoryLine> {
  let next: ExecutionRef | null = first;
  while (next !== null) {
    const current: ExecutionRef = next;
    next = null;
    yield* executionLines(source, current, (runId) => {
      next = { workflowId: current.workflowId, runId };
    });
  }
}

async function* executionLines(
  source: HistorySource,
  execution: ExecutionRef,
  continuedAs: (runId: string) => void,
): AsyncGenerator<HistoryLine> {
  const reader = new LineReader(execution.workflowId, execution.runId);
  for await (const event of source.events(execution)) {
    const line = reader.push(event);
    const runId = event.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId;
    if (typeof runId === 'string' && runId !== '') continuedAs(runId);
    if (line !== null) yield line;
  }
}
