// Owns the operator state with which a closed run begins again.
import type { OperatorState } from './types.ts';

/**
 * The state of a run that ended, for its next execution: neither paused nor cancelled. The epoch goes
 * on, so that orders which shards have followed stay followed.
 */
export function reopen(
  state: OperatorState,
  { failedTiles }: { readonly failedTiles?: number } = {},
): OperatorState {
  const limits = { ...state.limits, failedTiles: failedTiles ?? state.limits.failedTiles };
  const changed =
    state.pause !== null ||
    state.cancel !== null ||
    limits.failedTiles !== state.limits.failedTiles;
  const epoch = changed ? state.epoch + 1 : state.epoch;
  return { ...state, epoch, pause: null, cancel: null, limits };
}
