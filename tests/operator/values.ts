// Operator states, requests and facts for tests: small, complete, easy to vary.
import type {
  OperatorCommand,
  OperatorFacts,
  OperatorLimits,
  OperatorRequest,
  OperatorState,
  PinWish,
} from '../../operator/index.ts';
import { applyRequest, initialOperator, refusalOf } from '../../operator/index.ts';

export const NOW = Date.UTC(2026, 10, 23, 13, 30);

export const LIMITS: OperatorLimits = {
  lanes: 2,
  chunkSecondsTarget: 1,
  memoryBytesMax: 2 ** 31,
  cadence: 'every-chunk',
  failedTiles: 0,
};

export const STATE: OperatorState = initialOperator([], LIMITS);

export function request(
  command: OperatorCommand,
  more: Partial<OperatorRequest> = {},
): OperatorRequest {
  return {
    schema: 'tileloom.operator-request/1',
    id: 'r-1',
    by: 'ann',
    via: 'cli',
    reason: 'because',
    notAfter: null,
    expectedEpoch: null,
    command,
    ...more,
  };
}

export function facts(more: Partial<OperatorFacts> = {}): OperatorFacts {
  return { nowMs: NOW, phase: 'running', tiles: 100, ...more };
}

export function wish(more: Partial<PinWish> = {}): PinWish {
  return {
    aspect: 'variant',
    value: 'assign/grid-scalar@1',
    scope: { kind: 'run' },
    ttlMs: null,
    ttlChunks: null,
    ifImpossible: 'hold',
    allowAbsent: false,
    ...more,
  };
}

export const pause = (ttlMs: number | null = null): OperatorCommand => ({
  verb: 'pause',
  mode: 'drain',
  ttlMs,
});

export const pin = (...wishes: readonly PinWish[]): OperatorCommand => ({
  verb: 'pin',
  pins: wishes,
});

/** Applies commands one after another, each by its own request; throws when one is refused. */
export function after(
  commands: readonly OperatorCommand[],
  from: OperatorState = STATE,
  at: OperatorFacts = facts(),
): OperatorState {
  return commands.reduce((state, command) => {
    const one = request(command, { id: `r-${String(state.epoch)}-${String(state.recent.length)}` });
    const refusal = refusalOf(state, one, at);
    if (refusal !== null) throw new Error(refusal.message);
    return applyRequest(state, one, at).state;
  }, from);
}
