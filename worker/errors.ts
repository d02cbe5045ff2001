// Owns the worker room's errors.
import { EngineError } from '../core/index.ts';

export type WorkerErrorCode =
  | 'HOST_ID_INVALID'
  | 'HOST_ID_IN_USE'
  | 'EXTERNAL_REGISTRY_UNREADABLE'
  | 'LEASE_LOST'
  | 'HOST_DRAINING';

/** Error of a worker process: its identity, its leases, its configuration. */
export class WorkerError extends EngineError<WorkerErrorCode> {
  override readonly name: string = 'WorkerError';
}
