// Owns the one classification of what an activity call may throw. Each class has one reaction in
// the lane (reactions.ts); nothing here decides what to do.
import {
  ActivityFailure,
  ApplicationFailure,
  TimeoutFailure,
  isCancellation,
} from '@temporalio/workflow';
import type { FailureDetails, FailureType } from './activity-contract.ts';

/** What failed, told in a form that a lane reacts to and a parked tile records. */
export interface Failure {
  /**
   * `host-lost`: the host did not answer (timeouts); `moved-on`: it answered that the lane must
   * claim again; `cancelled`: the caller's own scope was cancelled; `unexpected`: no type we know.
   */
  readonly kind:
    | 'cancelled'
    | 'host-lost'
    | 'moved-on'
    | 'input-unavailable'
    | 'disk-full'
    | 'out-of-memory'
    | 'kernel-fault'
    | 'tile-data'
    | 'refused'
    | 'unexpected';
  readonly code: string;
  readonly message: string;
  readonly tile: number | null;
  readonly input: string | null;
  readonly fingerprint: string | null;
}

const KIND_BY_TYPE: Readonly<Record<FailureType, Failure['kind']>> = {
  OUT_OF_MEMORY: 'out-of-memory',
  KERNEL_FAULT: 'kernel-fault',
  RESIDENCY_LOST: 'moved-on',
  LEASE_LOST: 'moved-on',
  HOST_DRAINING: 'moved-on',
  HOST_RESTARTED: 'host-lost',
  INPUT_UNAVAILABLE: 'input-unavailable',
  TILE_DATA_ERROR: 'tile-data',
  DISK_FULL: 'disk-full',
  REFUSED: 'refused',
};

/**
 * Classifies what an activity call threw.
 *
 * @param cancelRequested whether the caller's own scope was cancelled; a cancellation that nobody
 *   asked for is a worker that shuts down
 */
export function classifyFailure(error: unknown, cancelRequested: boolean): Failure {
  if (isCancellation(error)) {
    return cancelRequested
      ? plain('cancelled', 'CANCELLED', 'the run was cancelled')
      : plain('host-lost', 'HOST_SHUTDOWN', 'the host shut down while it worked');
  }
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof TimeoutFailure) {
    const timeout = String(cause.timeoutType);
    return plain('host-lost', `TIMEOUT_${timeout}`, timeoutSentence(timeout));
  }
  if (cause instanceof ApplicationFailure) return ofApplication(cause);
  return plain('unexpected', 'RUN_ACTIVITY_FAILED', messageOf(cause));
}

function ofApplication(cause: ApplicationFailure): Failure {
  const kind = KIND_BY_TYPE[cause.type as FailureType] as Failure['kind'] | undefined;
  if (kind === undefined) return plain('unexpected', 'RUN_ACTIVITY_FAILED', cause.message);
  const details = cause.details?.[0] as FailureDetails | undefined;
  return {
    kind,
    code: details?.code ?? String(cause.type),
    message: cause.message,
    tile: details?.tile ?? null,
    input: details?.input ?? null,
    fingerprint: details?.fingerprint ?? null,
  };
}

function plain(kind: Failure['kind'], code: string, message: string): Failure {
  return { kind, code, message, tile: null, input: null, fingerprint: null };
}

function timeoutSentence(timeout: string): string {
  switch (timeout) {
    case 'SCHEDULE_TO_START':
      return 'the host did not pick its work up';
    case 'HEARTBEAT':
      return 'the host stopped sending heartbeats';
    default:
      return 'the host did not answer in time';
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Milliseconds to wait before try `failures + 1`: nothing after the first failure when `first` is
 * 0.
 */
export function backOffMs(failures: number, firstMs: number, limitMs: number): number {
  if (failures <= 0) return 0;
  return Math.min(limitMs, firstMs * 2 ** Math.min(failures - 1, 20));
}
