// Owns what a run id stands for on the server: whether it is a run of ours, whether this version can
// read it, whether it is open. Asked before anything is sent, so that nothing foreign is touched.
import type { Client } from '@temporalio/client';
import { RUN_WORKFLOW, runWorkflowId, type RunInput } from '../../workflows/messages.ts';
import { CliError } from '../errors.ts';
import type { LocalRun } from '../runs/local-runs.ts';
import { isNotFound } from './service-errors.ts';

export interface RunIdentity {
  readonly runId: string;
  readonly workflowId: string;
  /** Id of the execution that the server calls the latest. */
  readonly executionId: string;
  readonly open: boolean;
  /** `RUNNING`, `COMPLETED`, `FAILED`, … */
  readonly status: string;
  /** What the latest execution was started with. */
  readonly input: RunInput;
}

/** What the service says of a workflow id: its type, its state, its first input. */
export interface Execution {
  readonly executionId: string;
  readonly type: string;
  readonly status: string;
  readonly input: unknown;
}

const INPUT_SCHEMA = /^tileloom\.run-input\/(\d+)$/;
const INPUT_VERSION = 1;
const DEADLINE_MS = 5_000;

/** Reads an execution; null when the service knows none. Two calls side by side. */
export async function readExecution(client: Client, runId: string): Promise<Execution | null> {
  const workflowId = runWorkflowId(runId);
  const { namespace } = client.options;
  try {
    const [description, page] = await client.connection.withDeadline(Date.now() + DEADLINE_MS, () =>
      Promise.all([
        client.workflow.getHandle(workflowId).describe(),
        client.workflowService.getWorkflowExecutionHistory({
          namespace,
          execution: { workflowId },
          maximumPageSize: 1,
        }),
      ]),
    );
    const started = page.history?.events?.[0]?.workflowExecutionStartedEventAttributes;
    return {
      executionId: description.runId,
      type: description.type,
      status: description.status.name,
      input: decoded(started?.input?.payloads?.[0]?.data),
    };
  } catch (error) {
    if (isNotFound(error)) {
      return null;
    }
    throw error;
  }
}

function decoded(data: Uint8Array | null | undefined): unknown {
  try {
    return data ? (JSON.parse(new TextDecoder().decode(data)) as unknown) : null;
  } catch {
    return null;
  }
}

/**
 * Says what a run is.
 *
 * @param local what this machine remembers of the run
 * @throws {CliError} `CLI_RUN_UNKNOWN`, `CLI_RUN_FORGOTTEN`, `CLI_RUN_FOREIGN`, `CLI_RUN_NEWER`
 */
export function identify(
  runId: string,
  execution: Execution | null,
  local: LocalRun | null,
): RunIdentity {
  if (execution === null) {
    throw local === null ? unknownRun(runId) : forgottenRun(runId, local);
  }
  const { executionId, type, status, input } = execution;
  const schema = (input as { schema?: unknown } | null)?.schema;
  const version = typeof schema === 'string' ? INPUT_SCHEMA.exec(schema)?.[1] : undefined;
  if (type !== RUN_WORKFLOW || version === undefined) {
    throw foreignRun(runId, type);
  }
  if (Number(version) > INPUT_VERSION) {
    throw newerRun(runId, String(schema), `tileloom.run-input/${String(INPUT_VERSION)}`);
  }
  const open = ['RUNNING', 'CONTINUED_AS_NEW', 'PAUSED'].includes(status);
  const workflowId = runWorkflowId(runId);
  return { runId, workflowId, executionId, open, status, input: input as RunInput };
}

export function unknownRun(runId: string): CliError {
  return new CliError(
    'CLI_RUN_UNKNOWN',
    `run ${runId} is unknown: expected a run of this server, got none; see tileloom run list`,
    { details: { runId } },
  );
}

function forgottenRun(runId: string, { sink }: LocalRun): CliError {
  return new CliError(
    'CLI_RUN_FORGOTTEN',
    `run ${runId} is forgotten: expected it on this server, got nothing, its retention is over; ` +
      `what it published stays in ${sink}; start a new run, into another sink`,
    { details: { runId, sink } },
  );
}

export function foreignRun(runId: string, type: string): CliError {
  return new CliError(
    'CLI_RUN_FOREIGN',
    `${runWorkflowId(runId)} is no run of this product: expected a workflow of type ${RUN_WORKFLOW}, ` +
      `got ${JSON.stringify(type)}; see tileloom run list`,
    { details: { runId, type } },
  );
}

export function newerRun(runId: string, schema: string, known: string): CliError {
  return new CliError(
    'CLI_RUN_NEWER',
    `run ${runId} is of a newer version: expected ${known}, got ${schema}; ` +
      'use the version of tileloom that started it',
    { details: { runId, schema } },
  );
}
