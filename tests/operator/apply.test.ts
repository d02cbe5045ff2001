// What an accepted request does: the new state whole, the entry whole, the epoch, and what stays.
import { describe, expect, test } from 'vitest';
import {
  applyRequest,
  knownRequest,
  reopen,
  type OperatorCommand,
  type OperatorState,
} from '../../operator/index.ts';
import { LIMITS, NOW, STATE, after, facts, pause, pin, request, wish } from './values.ts';

function apply(
  command: OperatorCommand,
  state: OperatorState = STATE,
  nowMs = NOW,
): ReturnType<typeof applyRequest> {
  const id = `r-${String(state.epoch + 1)}.${String(state.recent.length)}`;
  return applyRequest(state, request(command, { id }), facts({ nowMs }));
}

describe('pause and resume', () => {
  test('a pause is kept with its author, its epoch and its end', () => {
    const expected = {
      mode: 'drain',
      by: 'ann',
      reason: 'because',
      epoch: 1,
      since: NOW,
      until: NOW + 60_000,
    };
    expect(apply(pause(60_000))).toEqual({
      state: { ...STATE, epoch: 1, pause: expected, recent: [{ id: 'r-1.0', epoch: 1 }] },
      entry: {
        schema: 'tileloom.audit-entry/1',
        epoch: 1,
        at: NOW,
        by: 'ann',
        via: 'cli',
        verb: 'pause',
        reason: 'because',
        requestId: 'r-1.0',
        before: { pause: null },
        after: { pause: expected },
      },
      pins: [],
    });
  });

  test('a second pause changes mode, end and reason, not when the run was paused', () => {
    const first = apply(pause()).state;
    const now = { verb: 'pause', mode: 'now', ttlMs: 5 } as const;
    const { state, entry } = apply(now, first, NOW + 7);
    expect(state.pause).toMatchObject({ mode: 'now', epoch: 2, since: NOW, until: NOW + 12 });
    expect(entry?.before).toEqual({ pause: first.pause });
  });

  test('the same pause again, and resume while running, change nothing but are remembered', () => {
    const paused = apply(pause()).state;
    for (const [state, command] of [
      [paused, pause()],
      [STATE, { verb: 'resume' }],
    ] as const) {
      const again = apply(command, state, NOW + 7);
      expect(again.entry).toBeNull();
      expect({ ...again.state, recent: [] }).toEqual({ ...state, recent: [] });
      expect(again.state.recent.at(-1)?.epoch).toBe(state.epoch);
    }
  });

  test('a pause with a time limit begins it anew', () => {
    const paused = apply(pause(1000)).state;
    expect(apply(pause(1000), paused, NOW + 7).state.pause?.until).toBe(NOW + 1007);
  });
});

describe('pins', () => {
  test('one pin is named after its epoch, several by number', () => {
    const scope = { kind: 'chunks', count: 9 } as const;
    const { state, pins } = apply(pin(wish({ scope, ttlChunks: 4, ttlMs: 10 })));
    expect(pins).toEqual(['pin-1']);
    expect(state.pins).toEqual([
      {
        id: 'pin-1',
        aspect: 'variant',
        value: 'assign/grid-scalar@1',
        scope,
        reason: 'because',
        author: 'ann',
        epoch: 1,
        expiresAt: NOW + 10,
        chunksLeft: 4,
        ifImpossible: 'hold',
      },
    ]);
    const two = pin(wish({ aspect: 'runtime', value: 'cpu' }), wish({ scope: { kind: 'run' } }));
    expect(apply(two, state).pins).toEqual(['pin-2-1', 'pin-2-2']);
  });

  test('the same aspect with the same scope replaces, others stay in their places', () => {
    const state = after([pin(wish(), wish({ aspect: 'host', value: 'one' }))]);
    const { state: next, entry } = apply(pin(wish({ value: 'assign/grid-avx2@1' })), state);
    expect(next.pins.map(({ id }) => id)).toEqual(['pin-2', 'pin-1-2']);
    expect(entry?.before.pins?.map(({ id }) => id)).toEqual(['pin-1-1']);
    expect(entry?.after.pins?.map(({ id }) => id)).toEqual(['pin-2']);
  });

  test.each([
    [{ kind: 'run' }, { kind: 'run' }, true],
    [{ kind: 'chunks', count: 3 }, { kind: 'chunks', count: 5 }, true],
    [{ kind: 'operation', operation: 'a' }, { kind: 'operation', operation: 'a' }, true],
    [{ kind: 'operation', operation: 'a' }, { kind: 'operation', operation: 'b' }, false],
    [
      { kind: 'tiles', firstTile: 0, lastTile: 4 },
      { kind: 'tiles', firstTile: 0, lastTile: 4 },
      true,
    ],
    [
      { kind: 'tiles', firstTile: 0, lastTile: 4 },
      { kind: 'tiles', firstTile: 0, lastTile: 5 },
      false,
    ],
    [{ kind: 'run' }, { kind: 'chunks', count: 5 }, false],
  ] as const)('%j and %j are one scope: %s', (one, other, same) => {
    const state = after([pin(wish({ scope: one }))]);
    const { pins } = apply(pin(wish({ scope: other, value: 'other' })), state).state;
    expect(pins).toHaveLength(same ? 1 : 2);
  });

  test('the same pin without a limit stays the pin it was', () => {
    const state = after([pin(wish())]);
    expect(apply(pin(wish()), state)).toMatchObject({ entry: null, pins: ['pin-1'] });
    const both = apply(pin(wish(), wish({ aspect: 'host', value: 'x' })), state);
    expect(both.pins).toEqual(['pin-1', 'pin-2-2']);
    const limited = after([pin(wish({ ttlChunks: 3 }))]);
    expect(apply(pin(wish({ ttlChunks: 3 })), limited).state.pins[0]?.id).toBe('pin-2');
  });

  test('unpin removes those named, or all', () => {
    const state = after([pin(wish(), wish({ aspect: 'host', value: 'x' }))]);
    const one = apply({ verb: 'unpin', ids: ['pin-1-1'] }, state);
    expect(one.state.pins.map(({ id }) => id)).toEqual(['pin-1-2']);
    expect(one.entry?.after).toEqual({ pins: [] });
    expect(apply({ verb: 'unpin', ids: null }, state).state.pins).toEqual([]);
    expect(apply({ verb: 'unpin', ids: null }).entry).toBeNull();
  });
});

describe('limits, cancel and orders', () => {
  test('limits change those given, and are recorded whole', () => {
    const { state, entry } = apply({ verb: 'limits', set: { lanes: 4, cadence: 7 } });
    expect(state.limits).toEqual({ ...LIMITS, lanes: 4, cadence: 7 });
    expect(entry).toMatchObject({ before: { limits: LIMITS }, after: { limits: state.limits } });
    expect(apply({ verb: 'limits', set: { lanes: 4 } }, state).entry).toBeNull();
  });

  test('the first cancel counts', () => {
    const { state } = apply({ verb: 'cancel' });
    expect(state.cancel).toEqual({ by: 'ann', reason: 'because', epoch: 1, at: NOW });
    expect(apply({ verb: 'cancel' }, state, NOW + 5).entry).toBeNull();
  });

  test('the last 16 orders are kept, fewer when they are long, always the newest', () => {
    const ranges = Array.from({ length: 64 }, (_, n) => ({
      firstTile: 1_000_000_000 + 10 * n,
      endTile: 1_000_000_005 + 10 * n,
    }));
    const short = { tiles: null, fingerprint: 'f00d' };
    const long = { tiles: ranges, fingerprint: null };
    let state = STATE;
    for (let turn = 0; turn < 20; turn += 1) {
      state = apply({ verb: 'skip', select: short }, state).state;
    }
    expect(state.parkedOrders.map(({ epoch }) => epoch)).toEqual(
      Array.from({ length: 16 }, (_, n) => n + 5),
    );
    const before = state.parkedOrders;
    const { entry } = apply({ verb: 'retry', select: short, pin: null }, state);
    expect(entry).toMatchObject({ before: { parkedOrders: [] } });
    expect(entry?.after.parkedOrders).toMatchObject([{ kind: 'retry', epoch: 21, pin: null }]);
    expect(state.parkedOrders).toBe(before);
    for (let turn = 0; turn < 20; turn += 1) {
      state = apply({ verb: 'skip', select: long }, state).state;
      expect(state.parkedOrders.at(-1)?.epoch).toBe(state.epoch);
      expect(JSON.stringify(state.parkedOrders).length).toBeLessThanOrEqual(16 * 1024);
    }
    expect(state.parkedOrders.length).toBeGreaterThan(2);
  });
});

describe('requests that come twice', () => {
  test('the second changes nothing and tells the epoch of the first', () => {
    const one = request(pause(), { id: 'once' });
    const paused = applyRequest(STATE, one, facts()).state;
    const resumed = apply({ verb: 'resume' }, paused).state;
    expect(applyRequest(resumed, one, facts())).toEqual({ state: resumed, entry: null, pins: [] });
    expect(knownRequest(resumed, 'once')).toEqual({ id: 'once', epoch: 1 });
    expect(knownRequest(resumed, 'never')).toBeNull();
  });

  test('the last 64 are remembered', () => {
    let state = STATE;
    for (let turn = 0; turn < 70; turn += 1) state = apply({ verb: 'resume' }, state).state;
    expect(state.recent).toHaveLength(64);
    expect(state.epoch).toBe(0);
  });
});

describe('reopen', () => {
  test('drops pause and cancel, keeps the rest, and goes on with the epoch', () => {
    const skip = { verb: 'skip', select: { tiles: null, fingerprint: null } } as const;
    const state = after([pin(wish()), skip, pause(), { verb: 'cancel' }]);
    const reopened = { ...state, epoch: 5, pause: null, cancel: null };
    expect(reopen(state)).toEqual(reopened);
    const limits = { ...LIMITS, failedTiles: 9 };
    expect(reopen(state, { failedTiles: 9 })).toEqual({ ...reopened, limits });
  });

  test('leaves a state alone that needs nothing', () => {
    const state = after([pin(wish())]);
    expect(reopen(state, { failedTiles: 0 })).toEqual(state);
  });
});
