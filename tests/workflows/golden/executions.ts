// Owns which executions a run leaves behind: its own chain of continue-as-new and that of each shard.
import type { temporal } from '@temporalio/proto';
import type { Client } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { GoldenHistory } from './histories.ts';

type History = temporal.api.history.v1.IHistory;
type Execution = Omit<GoldenHistory, 'behaviour'>;

/** Reads the histories of a run that has ended, shards included, in the order they began. */
export async function executionsOf(
  client: Client,
  workflowId: string,
  runId: string,
): Promise<readonly Execution[]> {
  const found: Execution[] = [];
  const waiting: { id: string; runId: string }[] = [{ id: workflowId, runId }];
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const history: History = await client.workflow.getHandle(next.id, next.runId).fetchHistory();
    const events = history.events ?? [];
    const started = events[0]?.workflowExecutionStartedEventAttributes;
    found.push({
      workflowType: started?.workflowType?.name ?? '',
      workflowId: next.id,
      history: JSON.parse(historyToJSON(history)) as unknown,
    });
    for (const event of events) {
      const again = event.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId;
      const child = event.childWorkflowExecutionStartedEventAttributes?.workflowExecution;
      if (again) waiting.push({ id: next.id, runId: again });
      if (child) waiting.push({ id: child.workflowId ?? '', runId: child.runId ?? '' });
    }
  }
  return found;
}
