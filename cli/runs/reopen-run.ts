// Owns retrying and skipping in a run that has ended: a new execution under the same id, which goes on
// from the ledger of the last one and publishes anew.
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import {
  applyRequest,
  knownRequest,
  refusalOf,
  reopen,
  type OperatorFacts,
  type OperatorRequest,
} from '../../operator/index.ts';
import { QUEUES } from '../../workflows/activity-contract.ts';
import {
  LEDGER_QUERY,
  RUN_WORKFLOW,
  WORKFLOW_TASK_TIMEOUT_MS,
  type RunInput,
} from '../../workflows/messages.ts';
import { CliError } from '../errors.ts';
import type { RunIdentity } from '../operator/identify.ts';
import { isSilence } from '../operator/service-errors.ts';
import type { Session } from '../session.ts';
import { readStatus } from './read-status.ts';

export interface ReopenOptions {
  readonly failedTiles: number | undefined;
  /** How long to wait for a worker that knows the ledger. */
  readonly patienceMs: number;
}

export interface ReopenedRun {
  readonly runId: string;
  readonly requestId: string;
  readonly verb: 'retry' | 'skip';
  readonly epoch: number;
  readonly generation: number;
  readonly executionId: string;
}

const QUERY_MS = 3_000;
const PAUSE_MS = 500;

/**
 * Starts the next execution of a run.
 *
 * @throws {CliError} the refusal's own code; `CLI_RUN_UNPREPARED`, `CLI_NO_WORKER`, `CLI_RUN_OPEN`,
 *   `OPERATOR_NOTHING_PARKED`
 */
export async function reopenRun(
  session: Session,
  run: RunIdentity,
  request: OperatorRequest,
  { failedTiles, patienceMs }: ReopenOptions,
): Promise<ReopenedRun> {
  await requireSomethingToDo(session, run, request);
  const ledger = await readLedger(session, run, patienceMs);
  const input = nextInput(ledger, request, session.now(), failedTiles);
  const { spec, specDigest, generation = 1 } = input;
  try {
    const handle = await session.client.workflow.start(RUN_WORKFLOW, {
      taskQueue: QUEUES.workflows,
      workflowId: run.workflowId,
      args: [input],
      workflowTaskTimeout: WORKFLOW_TASK_TIMEOUT_MS,
      memo: { name: spec.name, sink: spec.sink.path, specDigest },
      staticSummary: `${spec.name} → ${spec.sink.path}`,
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    });
    return {
      runId: run.runId,
      requestId: request.id,
      verb: request.command.verb === 'skip' ? 'skip' : 'retry',
      epoch: input.operator.epoch,
      generation,
      executionId: handle.firstExecutionRunId,
    };
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) {
      throw new CliError(
        'CLI_RUN_OPEN',
        `run ${run.runId} is open again: expected a closed run, got one that somebody else has just ` +
          'reopened; ask again, the request then goes to the open run',
        { retryable: true, details: { runId: run.runId }, cause: error },
      );
    }
    throw error;
  }
}

/**
 * The input of the next execution: the ledger's, with the order in its operator state. Pure.
 *
 * @throws {CliError} the refusal's own code
 */
export function nextInput(
  ledger: RunInput,
  request: OperatorRequest,
  nowMs: number,
  failedTiles: number | undefined,
): RunInput {
  const tiles = ledger.carried?.prepared.tiles ?? null;
  const facts: OperatorFacts = { nowMs, phase: 'running', tiles };
  if (knownRequest(ledger.operator, request.id) !== null) {
    throw new CliError(
      'OPERATOR_NOTHING_PARKED',
      `request ${request.id} was followed before: expected a new one, got one that the run knows; ` +
        'leave --request-id out to ask again',
    );
  }
  const { expectedEpoch } = request;
  if (expectedEpoch !== null && expectedEpoch !== ledger.operator.epoch) {
    refuse(refusalOf(ledger.operator, request, facts));
  }
  const state = reopen(ledger.operator, failedTiles === undefined ? {} : { failedTiles });
  // The epoch was compared with that of the run as it ended; reopening it may have raised it.
  const checked = { ...request, expectedEpoch: null };
  refuse(refusalOf(state, checked, facts));
  return { ...ledger, operator: applyRequest(state, checked, facts).state };
}

function refuse(refusal: ReturnType<typeof refusalOf>): void {
  if (refusal !== null) {
    throw new CliError(refusal.code, refusal.message);
  }
}

/**
 * Refuses what would do nothing: of an ended run, and of an open one whose every shard was heard.
 *
 * @throws {CliError} `OPERATOR_NOTHING_PARKED`
 */
export async function requireSomethingToDo(
  session: Session,
  { runId }: RunIdentity,
  { command }: OperatorRequest,
): Promise<void> {
  const { phase, counts, silentShards } = await readStatus(session, runId);
  // A run that failed or was cancelled has tiles left to compute, parked or not.
  if (counts === null || silentShards > 0 || phase === 'failed' || phase === 'cancelled') return;
  const { parked, skipped } = counts;
  if (parked + (command.verb === 'skip' ? 0 : skipped) > 0) return;
  throw new CliError(
    'OPERATOR_NOTHING_PARKED',
    `nothing can be ${command.verb === 'skip' ? 'skipped' : 'retried'} in run ${runId}: expected parked ` +
      `tiles, got none; see tileloom run errors ${runId}`,
    { details: { runId } },
  );
}

/** Asks for the ledger until a worker answers; a closed run's history is replayed for it. */
async function readLedger(
  { client }: Session,
  run: RunIdentity,
  patienceMs: number,
): Promise<RunInput> {
  const deadline = Date.now() + patienceMs;
  const handle = client.workflow.getHandle(run.workflowId, run.executionId);
  for (;;) {
    try {
      const ledger = await client.connection.withDeadline(
        Math.min(deadline, Date.now() + QUERY_MS),
        () => handle.query<RunInput | null>(LEDGER_QUERY),
      );
      if (ledger === null) {
        throw new CliError(
          'CLI_RUN_UNPREPARED',
          `run ${run.runId} has no ledger: expected one that had begun, got one that ended before it ` +
            'was prepared; start it anew with tileloom run start',
          { details: { runId: run.runId } },
        );
      }
      return ledger;
    } catch (error) {
      if (!isSilence(error)) {
        throw error;
      }
    }
    if (Date.now() >= deadline) {
      throw new CliError(
        'CLI_NO_WORKER',
        `the ledger of run ${run.runId} cannot be read: expected a worker within ` +
          `${String(patienceMs / 1000)} s, got none; nothing was started; start a worker ` +
          '(tileloom worker start), or add --with-worker',
        { retryable: true, details: { runId: run.runId } },
      );
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
