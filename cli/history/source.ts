// Owns the walk from a run to the plan lines of all of its executions: the run's own chain of
// continue-as-new, and the chain of each shard it ever started. Lines come from the history room.
import type { Client } from '@temporalio/client';
import {
  LineReader,
  executionChain,
  fetchEvents,
  type ExecutionRef,
  type HistoryEvent,
  type HistoryLine,
} from '../../history/index.ts';
import { runWorkflowId } from '../../workflows/messages.ts';
import { CliError } from '../errors.ts';

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
  /** Executions of a workflow id that continue one another, oldest first; empty when unknown. */
  readonly chain: (workflowId: string) => Promise<readonly ExecutionRef[]>;
  readonly events: (execution: ExecutionRef) => AsyncIterable<LinkEvent>;
}

/** Reads histories from a Temporal service. */
export function serviceHistory(client: Client): HistorySource {
  return {
    chain: (workflowId) => executionChain(client, workflowId),
    events: (execution) => fetchEvents(client, execution),
  };
}

/**
 * Yields the plan lines of a run, shard by shard. An execution that the server has forgotten ends its
 * chain.
 *
 * @throws {CliError} `CLI_RUN_UNKNOWN` when the server knows no execution of the run
 */
export async function* runLines(source: HistorySource, runId: string): AsyncGenerator<HistoryLine> {
  const shards: ExecutionRef[] = [];
  const executions = await source.chain(runWorkflowId(runId));
  if (executions.length === 0) {
    throw new CliError(
      'CLI_RUN_UNKNOWN',
      `run ${runId} is unknown: expected a run of this server, got none; see tileloom run list`,
      { details: { runId } },
    );
  }
  for (const execution of executions) {
    for await (const event of source.events(execution)) {
      const child = event.childWorkflowExecutionStartedEventAttributes?.workflowExecution;
      if (typeof child?.workflowId === 'string' && typeof child.runId === 'string') {
        shards.push({ workflowId: child.workflowId, runId: child.runId });
      }
    }
  }
  for (const shard of shards) {
    yield* shardLines(source, shard);
  }
}

/** Lines of an execution and of all that continued it. */
async function* shardLines(
  source: HistorySource,
  first: ExecutionRef,
): AsyncGenerator<HistoryLine> {
  let next: ExecutionRef | null = first;
  while (next !== null) {
    const current: ExecutionRef = next;
    const reader = new LineReader(current.workflowId, current.runId);
    next = null;
    try {
      for await (const event of source.events(current)) {
        const line = reader.push(event);
        const runId = event.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId;
        if (typeof runId === 'string' && runId !== '') {
          next = { workflowId: current.workflowId, runId };
        }
        if (line !== null) {
          yield line;
        }
      }
    } catch (error) {
      if (!isNotFound(error)) {
        throw error;
      }
    }
  }
}

const GRPC_NOT_FOUND = 5;

/** Whether the service answered that it knows no such execution. */
export function isNotFound(error: unknown): boolean {
  return (
    error instanceof Error &&
    (error.name === 'WorkflowNotFoundError' ||
      (error as { code?: unknown }).code === GRPC_NOT_FOUND)
  );
}
