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

const GRPC_NOT_FOUND = 5;

/** Whether the service answered that it knows no such execution. */
export function isNotFound(error: unknown): boolean {
  return (
    error instanceof Error &&
    (error.name === 'WorkflowNotFoundError' ||
      (error as { code?: unknown }).code === GRPC_NOT_FOUND)
  );
}

/**
 * Finds every execution of a workflow id that the service still knows, oldest first: continue-as-new
 * makes a chain of them, and a run that is retried after its end begins another.
 *
 * @returns empty when the service knows none (never started, or its retention is over)
 */
export async function executionChain(client: Client, workflowId: string): Promise<ExecutionRef[]> {
  const runIds: string[] = [];
  try {
    const latest = await client.workflow.getHandle(workflowId).describe();
    await walkBack(client, { workflowId, runId: latest.runId }, runIds);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    return [];
  }
  // What another execution did not continue is found by its id, latest first.
  const query = `WorkflowId = '${workflowId.replaceAll("'", "''")}'`;
  const earlier: string[] = [];
  for await (const { runId } of client.workflow.list({ query })) {
    if (!runIds.includes(runId)) earlier.unshift(runId);
  }
  return [...earlier, ...runIds].map((runId) => ({ workflowId, runId }));
}

/** Puts an execution and those it continues before `runIds`. */
async function walkBack(client: Client, last: ExecutionRef, runIds: string[]): Promise<void> {
  const { workflowId } = last;
  let runId: string | undefined = last.runId;
  while (runId !== undefined && runId !== '') {
    let before: string | undefined;
    try {
      before = await continuedFrom(client, { workflowId, runId });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      return;
    }
    runIds.unshift(runId);
    runId = before;
  }
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
