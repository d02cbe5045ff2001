// Owns the calls to the service that sending a request needs, behind an interface that tests can fake.
import type { Client } from '@temporalio/client';
import type { OperatorAnswer, OperatorRequest } from '../../operator/index.ts';
import { QUEUES } from '../../workflows/activity-contract.ts';
import {
  OPERATE_SIGNAL,
  OPERATE_UPDATE,
  STATUS_QUERY,
  runWorkflowId,
  type RunStatus,
} from '../../workflows/messages.ts';
import { livePollers } from './pollers.ts';
import { readExecution, type Execution } from './identify.ts';
import { isNotFound, isSilence } from './service-errors.ts';

export interface RunPort {
  readonly runId: string;
  readonly read: () => Promise<Execution | null>;
  /** The `operate` Update under the request's own id; waits until it is completed. */
  readonly update: (
    request: OperatorRequest,
    deadlineMs: number,
    signal: AbortSignal,
  ) => Promise<OperatorAnswer>;
  /** The same request as a signal: it waits on the server for a worker. */
  readonly signal: (request: OperatorRequest) => Promise<void>;
  /** Temporal's own cancellation, which also waits on the server. */
  readonly cancel: () => Promise<void>;
  /** Whether any worker polls for workflow tasks. */
  readonly hasWorker: () => Promise<boolean>;
  /** The run's status; null when no worker answers in time. */
  readonly status: (deadlineMs: number) => Promise<RunStatus | null>;
}

/** The calls as a Temporal service takes them. */
export function servicePort(client: Client, runId: string): RunPort {
  const handle = client.workflow.getHandle(runWorkflowId(runId));
  const { connection } = client;
  return {
    runId,
    read: () => readExecution(client, runId),
    update: (request, deadlineMs, signal) =>
      connection.withDeadline(deadlineMs, () =>
        // Each try listens on a signal of its own: the shared one would gather their listeners.
        connection.withAbortSignal(AbortSignal.any([signal]), () =>
          handle.executeUpdate<OperatorAnswer, [OperatorRequest]>(OPERATE_UPDATE, {
            args: [request],
            updateId: request.id,
          }),
        ),
      ),
    signal: async (request) => {
      await handle.signal<[OperatorRequest]>(OPERATE_SIGNAL, request);
    },
    cancel: async () => {
      await handle.cancel();
    },
    hasWorker: async () =>
      (await livePollers(client, QUEUES.workflows, 'workflow', Date.now())).length > 0,
    status: async (deadlineMs) => {
      try {
        return await connection.withDeadline(deadlineMs, () =>
          handle.query<RunStatus>(STATUS_QUERY),
        );
      } catch (error) {
        if (isNotFound(error) || isSilence(error)) {
          return null;
        }
        throw error;
      }
    },
  };
}
