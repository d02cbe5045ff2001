// Owns the one mapping from EngineErrors to ApplicationFailures. A thrown class would put its class
// name on the wire; the lane reacts to `type` alone.
import { ApplicationFailure } from '@temporalio/common';
import { isEngineError, sha256Hex, type EngineError } from '../core/index.ts';
import { ExecutorError } from '../executor/index.ts';
import type { FailureDetails, FailureType } from '../workflows/activity-contract.ts';

/** Codes of lower rooms whose reaction is not "refuse the run". */
const TYPE_BY_CODE: Readonly<Record<string, FailureType>> = {
  DISK_FULL: 'DISK_FULL',
  LEASE_LOST: 'LEASE_LOST',
  HOST_DRAINING: 'HOST_DRAINING',
  INPUT_UNAVAILABLE: 'INPUT_UNAVAILABLE',
  OUT_OF_MEMORY: 'OUT_OF_MEMORY',
};

/** Errno of files that may come back: a share that is away, a mount that is late. */
const UNAVAILABLE = new Set(['EIO', 'ESTALE', 'ETIMEDOUT', 'ENOTCONN', 'EHOSTDOWN', 'EMFILE']);

function typeOf(error: EngineError): FailureType {
  if (error instanceof ExecutorError && error.type !== 'CANCELLED') return error.type;
  return TYPE_BY_CODE[error.code] ?? (error.retryable ? 'INPUT_UNAVAILABLE' : 'REFUSED');
}

/** Stable name of one kind of failure: the code and the message without its numbers. */
function fingerprintOf(code: string, message: string): string {
  return sha256Hex(`${code} ${message.replaceAll(/[0-9]+/gu, '#')}`).slice(0, 12);
}

/** Turns what a room threw into what the workflow is told; unknown errors stay retryable bugs. */
export function toFailure(error: unknown): unknown {
  if (isEngineError(error)) {
    const executor = error instanceof ExecutorError ? error : null;
    const details: FailureDetails = {
      code: error.code,
      tile:
        executor?.tile ??
        (typeof error.details['tile'] === 'number' ? error.details['tile'] : null),
      input:
        executor?.input ??
        (typeof error.details['file'] === 'string' ? error.details['file'] : null),
      fingerprint: fingerprintOf(error.code, error.message),
    };
    return ApplicationFailure.create({
      type: typeOf(error),
      message: error.message,
      nonRetryable: true,
      details: [details],
    });
  }
  const errno = (error as NodeJS.ErrnoException | null)?.code;
  if (typeof errno === 'string' && (UNAVAILABLE.has(errno) || errno === 'ENOSPC')) {
    const type: FailureType = errno === 'ENOSPC' ? 'DISK_FULL' : 'INPUT_UNAVAILABLE';
    const message = (error as Error).message;
    const details: FailureDetails = {
      code: type,
      tile: null,
      input: (error as NodeJS.ErrnoException).path ?? null,
      fingerprint: fingerprintOf(type, message),
    };
    return ApplicationFailure.create({ type, message, nonRetryable: true, details: [details] });
  }
  return error;
}

/** Wraps each activity of a set so that what it throws is mapped. */
export function withFailures<T extends object>(activities: T): T {
  const wrapped = Object.entries(activities).map(([name, activity]) => [
    name,
    async (...args: unknown[]): Promise<unknown> => {
      try {
        return await (activity as (...args: unknown[]) => Promise<unknown>)(...args);
      } catch (error) {
        throw toFailure(error);
      }
    },
  ]);
  return Object.fromEntries(wrapped) as T;
}
