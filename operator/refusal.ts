// Owns why a request is refused: its structure first, then what the run's state does not allow. It is
// the synchronous validator of the Update, so a refused request leaves no trace in history.
import { applyRequest, knownRequest } from './apply.ts';
import { escapeControl } from './escape-control.ts';
import { PINS_BYTES_MAX, PINS_MAX, jsonBytes } from './limits.ts';
import { shapeProblem } from './request-shape.ts';
import type {
  OperatorCommand,
  OperatorFacts,
  OperatorRequest,
  OperatorState,
  Refusal,
  RefusalCode,
  TileRange,
} from './types.ts';

/**
 * Tells why a request cannot be accepted now, or null. A request that was accepted before is never
 * refused: its client asks for the answer again.
 *
 * @param request any JSON; an OperatorRequest when the answer is null
 */
export function refusalOf(
  state: OperatorState,
  request: unknown,
  facts: OperatorFacts,
): Refusal | null {
  const wrong = shapeProblem(request);
  if (wrong !== null) {
    return refusal('OPERATOR_REQUEST_INVALID', `the request is not valid: ${wrong}; correct it`);
  }
  const sound = request as OperatorRequest;
  if (knownRequest(state, sound.id) !== null) return null;
  return (
    tooLate(sound, facts) ??
    ending(state, sound.command, facts) ??
    conflict(state, sound) ??
    unfit(state, sound, facts)
  );
}

function refusal(code: RefusalCode, message: string): Refusal {
  return { code, message };
}

function tooLate({ id, notAfter }: OperatorRequest, { nowMs }: OperatorFacts): Refusal | null {
  if (notAfter === null || nowMs <= notAfter) return null;
  return refusal(
    'OPERATOR_REQUEST_EXPIRED',
    `request ${id} came too late: expected it by ${isoTime(notAfter)}, got it at ` +
      `${isoTime(nowMs)}; nothing was done, ask again`,
  );
}

/** Times beyond what a date can hold are shown as numbers. */
function isoTime(ms: number): string {
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : String(ms);
}

const ENDED: ReadonlySet<string> = new Set(['finished', 'partial', 'failed', 'cancelled']);
const NEEDS_CHUNKS: ReadonlySet<string> = new Set(['pause', 'pin', 'limits', 'retry', 'skip']);

function ending(
  state: OperatorState,
  { verb }: OperatorCommand,
  { phase }: OperatorFacts,
): Refusal | null {
  if (ENDED.has(phase)) {
    return refusal(
      'OPERATOR_RUN_ENDING',
      `${verb} comes too late: expected an open run, got phase ${phase}; ` +
        'parked tiles of a closed run can be retried with tileloom run retry',
    );
  }
  if (phase === 'publishing' && NEEDS_CHUNKS.has(verb)) {
    return refusal(
      'OPERATOR_RUN_ENDING',
      `${verb} comes too late: expected a run that still computes chunks, got phase publishing; ` +
        'wait for its end, or cancel it',
    );
  }
  if (state.cancel !== null && verb !== 'cancel') {
    const by = escapeControl(state.cancel.by);
    return refusal(
      'OPERATOR_RUN_ENDING',
      `${verb} comes too late: expected a run that goes on, got one that ${by} has cancelled; ` +
        'wait for its end',
    );
  }
  return null;
}

function conflict(state: OperatorState, { expectedEpoch }: OperatorRequest): Refusal | null {
  if (expectedEpoch === null || expectedEpoch === state.epoch) return null;
  return refusal(
    'OPERATOR_CONFLICT',
    `the run was changed meanwhile: expected epoch ${expectedEpoch}, got epoch ${state.epoch}; ` +
      'look at its state and ask again',
  );
}

/** What the state, or the run's tiles, do not allow. */
function unfit(
  state: OperatorState,
  request: OperatorRequest,
  facts: OperatorFacts,
): Refusal | null {
  const { command } = request;
  switch (command.verb) {
    case 'pin':
      return unknownTiles(pinnedTiles(command), facts) ?? tooManyPins(state, request, facts);
    case 'unpin':
      return unknownPins(state, command.ids ?? []);
    case 'retry':
    case 'skip':
      if (facts.tiles === null) {
        return refusal(
          'OPERATOR_NOTHING_PARKED',
          `nothing can be ${command.verb === 'retry' ? 'retried' : 'skipped'}: expected parked ` +
            'tiles, got a run that is still being prepared; wait until it has begun',
        );
      }
      return unknownTiles(command.select.tiles ?? [], facts);
    case 'pause':
    case 'resume':
    case 'cancel':
    case 'limits':
      return null;
  }
}

function pinnedTiles({ pins }: OperatorCommand & { verb: 'pin' }): readonly TileRange[] {
  return pins.flatMap(({ scope }) =>
    scope.kind === 'tiles' ? [{ firstTile: scope.firstTile, endTile: scope.lastTile + 1 }] : [],
  );
}

function unknownTiles(ranges: readonly TileRange[], { tiles }: OperatorFacts): Refusal | null {
  const beyond = tiles === null ? undefined : ranges.find(({ endTile }) => endTile > tiles);
  if (beyond === undefined || tiles === null) return null;
  return refusal(
    'OPERATOR_TILES_UNKNOWN',
    `tiles ${beyond.firstTile}-${beyond.endTile - 1} are not all of this run: expected tiles ` +
      `0-${tiles - 1}, got ${beyond.endTile - 1}; name tiles that it has`,
  );
}

function tooManyPins(
  state: OperatorState,
  request: OperatorRequest,
  facts: OperatorFacts,
): Refusal | null {
  const { pins } = applyRequest(state, request, facts).state;
  const bytes = jsonBytes(pins);
  if (pins.length <= PINS_MAX && bytes <= PINS_BYTES_MAX) return null;
  const [bound, got] =
    pins.length > PINS_MAX
      ? [`at most ${PINS_MAX} pins`, `${pins.length} pins`]
      : [`at most ${PINS_BYTES_MAX} bytes of pins`, `${bytes} bytes`];
  return refusal(
    'OPERATOR_PINS_FULL',
    `the run cannot hold these pins, too: expected ${bound}, got ${got}; ` +
      'unpin some, or shorten their reasons',
  );
}

function unknownPins(state: OperatorState, ids: readonly string[]): Refusal | null {
  const known = state.pins.map(({ id }) => id);
  const unknown = ids.filter((id) => !known.includes(id));
  if (unknown.length === 0) return null;
  return refusal(
    'OPERATOR_PIN_UNKNOWN',
    `pin ${escapeControl(unknown.join(', '))} is not set: expected ` +
      `${known.length === 0 ? 'no id, since the run has no pin' : known.join(', ')}, got ` +
      `${escapeControl(unknown[0] ?? '')}; ` +
      'see tileloom pin list',
  );
}
