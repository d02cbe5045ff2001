// Owns how pauses and pins end by time. What ends, and when, depends on the state alone: the run that
// wakes up late and the audit that reads it back come to the same entries.
import { differenceOf } from './apply.ts';
import type { AuditEntry, OperatorState } from './types.ts';

export interface Expired {
  readonly state: OperatorState;
  /** Null when nothing was over. */
  readonly entry: AuditEntry | null;
}

/** When the next pause or pin ends, milliseconds since the Unix epoch; null: none does by time. */
export function nextExpiryMs(state: OperatorState): number | null {
  const ends = [state.pause?.until ?? null, ...state.pins.map(({ expiresAt }) => expiresAt)];
  return ends.reduce(
    (first, end) => (first === null || (end !== null && end < first) ? end : first),
    null,
  );
}

/**
 * Ends what ended first, if its time is over. What ended later, too, has an entry and an epoch of its
 * own: call again until the entry is null.
 */
export function expire(state: OperatorState, nowMs: number): Expired {
  const at = nextExpiryMs(state);
  if (at === null || at > nowMs) return { state, entry: null };
  const ended = {
    ...state,
    epoch: state.epoch + 1,
    pause: state.pause?.until === at ? null : state.pause,
    pins: state.pins.filter(({ expiresAt }) => expiresAt !== at),
  };
  const entry: AuditEntry = {
    schema: 'tileloom.audit-entry/1',
    epoch: ended.epoch,
    at,
    by: 'tileloom',
    via: 'expiry',
    verb: 'expire',
    reason: 'its time limit was reached',
    requestId: null,
    ...differenceOf(state, ended),
  };
  return { state: ended, entry };
}
