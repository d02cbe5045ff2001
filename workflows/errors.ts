// Owns how workflow failures leave this room: an ApplicationFailure whose type is the stable code.
import { ApplicationFailure } from '@temporalio/workflow';
import type { RunFailure } from './messages.ts';

/** The failure that ends a run: its `type` is the code that the CLI shows. */
export function runFailed(failure: RunFailure): ApplicationFailure {
  return ApplicationFailure.nonRetryable(failure.message, failure.code);
}

/** Reads a code and a message from whatever a child or an activity loop threw. */
export function failureOf(error: unknown, fallbackCode: string): RunFailure {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const type = (cause as { type?: unknown } | null)?.type;
  return {
    code: typeof type === 'string' && type !== '' ? type : fallbackCode,
    message: cause instanceof Error ? cause.message : String(cause),
  };
}
