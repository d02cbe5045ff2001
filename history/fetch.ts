// Owns reading histories from the Temporal service: events page by page, executions along their chain.
import type { Client } from '@temporalio/client';
import { LineReader, type HistoryEvent, type HistoryLine } from './plan-lines.ts';

export interface ExecutionRef {
  readonly workflowId: string;
  readonly runId: string;
}

/** The server warns above 256 events a page. */
const PAGE_EVENTS = 256;

/** Yields the events of one execution in order, one page in memory at a time. */
export async function* fetchEvents(
  client: Client,
  { workflowId, runId }: ExecutionRef,
): AsyncGenerator<HistoryEvent> {
  let nextPageToken: Uint8Array | null | undefined = null;
  do {
    const page: Awaited<ReturnType<typeof client.workflowService.getWorkflowExecutionHistory>> =
      await client.workflowService.getWorkflowExecutionHistory({
        namespace: client.options.namespace,
        execution: { workflowId, runId },
        maximumPageSize: PAGE_EVENTS,
        ...(nextPageToken ? { nextPageToken } : {}),
      });
    yield* (page.history?.events ?? []) as HistoryEvent[];
    nextPageToken = page.nextPageToken;
  } while (nextPageToken && nextPageToken.length > 0);
}

/**
 * Yields the plan lines of one execution.
 *
 * @param fromEventId lines of activities that closed before it are left out
 */
export async function* fetchLines(
  client: Client,
  execution: ExecutionRef,
  fromEventId: number,
): AsyncGenerator<HistoryLine> {
  const reader = new LineReader(execution.workflowId, execution.runId);
  for await (const event of fetchEvents(client, execution)) {
    const line = reader.push(event);
    if (line !== null && line.eventId >= fromEventId) yield line;
  }
}

/**
 * Finds every execution of a workflow id, oldest first: continue-as-new makes a chain of them.
 *
 * @returns empty when the service knows none (never started, or its retention is over)
 */
export async function executionChain(client: Client, workflowId: string): Promise<ExecutionRef[]> {
  const chain: ExecutionRef[] = [];
  let runId: string | undefined;
  try {
    const latest = await client.workflow.getHandle(workflowId).describe();
    runId = latest.runId;
  } catch (error) {
    if ((error as Error).name === 'WorkflowNotFoundError') return [];
    throw error;
  }
  while (runId !== undefined && runId !== '') {
    chain.unshift({ workflowId, runId });
    runId = await continuedFrom(client, { workflowId, runId });
  }
  return chain;
}

async function continuedFrom(
  client: Client,
  { workflowId, runId }: ExecutionRef,
): Promise<string | undefined> {
  const page = await client.workflowService.getWorkflowExecutionHistory({
    namespace: client.options.namespace,
    execution: { workflowId, runId },
    maximumPageSize: 1,
  });
  const started = page.history?.events?.[0]?.workflowExecutionStartedEventAttributes;
  return started?.continuedExecutionRunId ?? undefined;
}
