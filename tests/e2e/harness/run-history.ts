// What a run's own histories say about pauses: read from events alone, by rules of their own.
import { defaultPayloadConverter } from '@temporalio/common';
import type { Client } from '@temporalio/client';
import type { temporal } from '@temporalio/proto';
import type { OperatorState } from '../../../operator/index.ts';
import type { ShardInput } from '../../../workflows/messages.ts';

export type HistoryEvent = temporal.api.history.v1.IHistoryEvent;
type Payloads = temporal.api.common.v1.IPayloads | null | undefined;

function firstPayload<Value>(payloads: Payloads): Value {
  const [payload] = payloads?.payloads ?? [];
  if (payload === undefined) throw new Error('an event has no payload');
  return defaultPayloadConverter.fromPayload<Value>(payload as never);
}

async function historyOf(
  client: Client,
  workflowId: string,
  execution?: string,
): Promise<readonly HistoryEvent[]> {
  const { events } = await client.workflow.getHandle(workflowId, execution).fetchHistory();
  return events ?? [];
}

/**
 * Histories of all executions of a workflow id, the newest first. The chain is followed through the
 * histories themselves: the server's list of executions may lag.
 */
async function chain(client: Client, workflowId: string): Promise<(readonly HistoryEvent[])[]> {
  const all = [await historyOf(client, workflowId)];
  for (;;) {
    const begun = all.at(-1)?.[0]?.workflowExecutionStartedEventAttributes;
    const before = begun?.continuedExecutionRunId ?? '';
    if (before === '') return all;
    all.push(await historyOf(client, workflowId, before));
  }
}

/** Histories of all executions of a run itself. */
export function runHistories(
  client: Client,
  runId: string,
): Promise<readonly (readonly HistoryEvent[])[]> {
  return chain(client, `tileloom/${runId}`);
}

/** Histories of all executions of all shards that a run has started. */
export async function shardHistories(
  client: Client,
  runId: string,
): Promise<readonly (readonly HistoryEvent[])[]> {
  const started = (await runHistories(client, runId)).flat().flatMap((event) => {
    const { workflowExecution } = event.childWorkflowExecutionStartedEventAttributes ?? {};
    return workflowExecution?.workflowId ?? [];
  });
  return (await Promise.all([...new Set(started)].map((shard) => chain(client, shard)))).flat();
}

export interface PauseFacts {
  /** Executes scheduled by a workflow task whose state, as signals and input told it, was paused. */
  readonly scheduledWhilePaused: readonly string[];
  readonly executes: number;
  /** Signals that told of a pause. */
  readonly pauses: number;
}

/**
 * Reads one execution of a shard: the state a workflow task knows is the last one that was signalled
 * before the task started.
 */
export function pauseFacts(events: readonly HistoryEvent[]): PauseFacts {
  const starts = new Map<number, number>();
  const states: { at: number; operator: OperatorState }[] = [];
  const scheduledWhilePaused: string[] = [];
  let executes = 0;
  let pauses = 0;
  for (const event of events) {
    const at = Number(event.eventId);
    const begun = event.workflowExecutionStartedEventAttributes;
    const told = event.workflowExecutionSignaledEventAttributes;
    const task = event.workflowTaskCompletedEventAttributes;
    const activity = event.activityTaskScheduledEventAttributes;
    if (begun) states.push({ at, operator: firstPayload<ShardInput>(begun.input).operator });
    if (told?.signalName === 'operatorState') {
      const operator = firstPayload<OperatorState>(told.input);
      states.push({ at, operator });
      if (operator.pause !== null) pauses += 1;
    }
    if (task) starts.set(at, Number(task.startedEventId));
    if (activity?.activityType?.name !== 'execute') continue;
    executes += 1;
    const started = starts.get(Number(activity.workflowTaskCompletedEventId)) ?? 0;
    const known = states.findLast((state) => state.at < started);
    if (known?.operator.pause !== null) scheduledWhilePaused.push(String(activity.activityId));
  }
  return { scheduledWhilePaused, executes, pauses };
}
