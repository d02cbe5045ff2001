// Owns the repetition of io activities (prepare, seal, publish): they are idempotent, so whatever
// may pass is tried again with back-off, and only a refusal or a bug that does not go away ends the
// run.
import { ApplicationFailure, CancellationScope, condition } from '@temporalio/workflow';
import type { IoActivities } from './activity-contract.ts';
import { ioActivities } from './calls.ts';
import { backOffMs, classifyFailure, type Failure } from './failures.ts';
import type { RunFailureCode } from './messages.ts';

/** Failures that nobody expects, in a row, before the run gives up. */
const SURPRISES_MAX = 5;
const INPUT_WAITS_MAX = 40;
const WAIT_LIMIT_MS = 60_000;
/** From this many tries on waits grow tenfold: a try costs about 11 events of a history of 51,200. */
const LONG_WAIT_FROM = 200;

/** A cancelled or failed run waits for a full disk this long, not for ever. */
const HURRIED_TRIES_MAX = 5;
const HURRIED_WAIT_MS = 1_000;

export interface PersistNames {
  readonly id: string;
  readonly summary: string;
  /** Told what the call waits for; null when it works again. */
  readonly waiting: (sentence: string | null) => void;
  /** Whether somebody waits for the end: from then on a few tries are left. Absent: never. */
  readonly hurry?: () => boolean;
  /** Tried again whatever it fails with, as long as it is not cancelled. Absent: false. */
  readonly endless?: boolean;
}

/**
 * Runs an io activity until it succeeds.
 *
 * @throws {ApplicationFailure} non-retryable, its type the code that the run fails with
 */
export async function persist<Answer>(
  names: PersistNames,
  call: (activities: IoActivities) => Promise<Answer>,
): Promise<Answer> {
  let surprises = 0;
  let waits = 0;
  let hurried = 0;
  const hurry = (): boolean => names.hurry?.() ?? false;
  for (let attempt = 0; ; attempt += 1) {
    try {
      const answer = await call(ioActivities(`${names.id}.${attempt}`, names.summary));
      names.waiting(null);
      return answer;
    } catch (error) {
      const failure = classifyFailure(error, CancellationScope.current().consideredCancelled);
      if (failure.kind === 'cancelled') throw error;
      if (failure.kind === 'unexpected') surprises += 1;
      if (failure.kind === 'input-unavailable') waits += 1;
      if (names.endless !== true) {
        if (isFinal(failure) || surprises >= SURPRISES_MAX) throw asRunFailure(failure);
        if (waits >= INPUT_WAITS_MAX) throw asRunFailure(failure, 'RUN_INPUT_UNAVAILABLE');
      }
      const limitMs = attempt < LONG_WAIT_FROM ? WAIT_LIMIT_MS : 10 * WAIT_LIMIT_MS;
      const delayMs = backOffMs(attempt, 500, limitMs);
      names.waiting(`${names.summary} again: ${failure.message}`);
      if (hurry()) hurried += 1;
      if (hurried >= HURRIED_TRIES_MAX) throw asRunFailure(failure);
      if (hurried > 0) await condition(() => false, HURRIED_WAIT_MS);
      else if (delayMs > 0) await condition(hurry, delayMs);
    }
  }
}

function isFinal(failure: Failure): boolean {
  return ['refused', 'tile-data', 'kernel-fault', 'out-of-memory'].includes(failure.kind);
}

function asRunFailure(failure: Failure, code: RunFailureCode | null = null): ApplicationFailure {
  return ApplicationFailure.nonRetryable(failure.message, code ?? failure.code);
}
