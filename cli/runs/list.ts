// Owns the list of runs: what the server knows, joined with what this machine remembers.
import { runWorkflowId, RUN_WORKFLOW } from '../../workflows/messages.ts';
import type { Session } from '../session.ts';
import { recallRuns } from './local-runs.ts';
import { memoText } from './memo.ts';

export interface RunListItem {
  readonly runId: string;
  readonly workflowId: string;
  readonly name: string | null;
  /** `running`, `completed`, `failed`, `cancelled`, `terminated`, or `forgotten` by the server. */
  readonly state: string;
  readonly startedAt: number | null;
  readonly closedAt: number | null;
  readonly sink: string | null;
}

const PREFIX = runWorkflowId('');

/** Lists runs, latest first, at most `limit` of them. */
export async function listRuns(session: Session, limit: number): Promise<RunListItem[]> {
  const byId = new Map<string, RunListItem>();
  const query = `WorkflowType = '${RUN_WORKFLOW}'`;
  for await (const found of session.client.workflow.list({ query })) {
    if (byId.size >= limit) {
      break;
    }
    const runId = found.workflowId.startsWith(PREFIX)
      ? found.workflowId.slice(PREFIX.length)
      : found.workflowId;
    // The list is latest first, so of a chain the first one seen says how the run is.
    if (!byId.has(runId)) {
      byId.set(runId, {
        runId,
        workflowId: found.workflowId,
        name: memoText(found.memo, 'name'),
        state: stateOf(found.status.name),
        startedAt: found.startTime.getTime(),
        closedAt: found.closeTime?.getTime() ?? null,
        sink: memoText(found.memo, 'sink'),
      });
    }
  }
  for (const run of await recallRuns(session.runsFolder)) {
    const known = byId.get(run.runId);
    if (known !== undefined || byId.size < limit) {
      byId.set(run.runId, {
        runId: run.runId,
        workflowId: runWorkflowId(run.runId),
        state: known?.state ?? 'forgotten',
        closedAt: known?.closedAt ?? null,
        name: run.name,
        sink: run.sink,
        startedAt: run.startedAt,
      });
    }
  }
  return [...byId.values()].toSorted(
    (left, right) => (right.startedAt ?? 0) - (left.startedAt ?? 0),
  );
}

function stateOf(status: string): string {
  return status === 'CONTINUED_AS_NEW' ? 'running' : status.toLowerCase();
}
