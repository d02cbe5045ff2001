// When pauses and pins end by time: to the millisecond, one instant after another.
import { describe, expect, test } from 'vitest';
import { expire, nextExpiryMs, type AuditEntry, type OperatorState } from '../../operator/index.ts';
import { NOW, STATE, after, pause, pin, wish } from './values.ts';

function expireAll(state: OperatorState, nowMs: number): [OperatorState, AuditEntry[]] {
  const entries: AuditEntry[] = [];
  for (let now = state; ;) {
    const { state: next, entry } = expire(now, nowMs);
    if (entry === null) return [now, entries];
    entries.push(entry);
    now = next;
  }
}

describe('expire', () => {
  test('nothing ends where nothing has a time limit', () => {
    const state = after([pause(), pin(wish({ ttlChunks: 1 }))]);
    expect(nextExpiryMs(state)).toBeNull();
    expect(expire(state, Infinity)).toEqual({ state, entry: null });
    expect(nextExpiryMs(STATE)).toBeNull();
  });

  test('a pause ends at its last millisecond and not before', () => {
    const state = after([pause(500)]);
    expect(nextExpiryMs(state)).toBe(NOW + 500);
    expect(expire(state, NOW + 499).entry).toBeNull();
    const { state: ended, entry } = expire(state, NOW + 500);
    expect(ended).toEqual({ ...state, epoch: 2, pause: null });
    expect(entry).toEqual({
      schema: 'tileloom.audit-entry/1',
      epoch: 2,
      at: NOW + 500,
      by: 'tileloom',
      via: 'expiry',
      verb: 'expire',
      reason: 'its time limit was reached',
      requestId: null,
      before: { pause: state.pause },
      after: { pause: null },
    });
  });

  test('what ended at different times has an entry each, however late anybody looks', () => {
    const host = wish({ aspect: 'host', value: 'x', ttlMs: 300 });
    const state = after([pause(200), pin(wish({ ttlMs: 100 }), host)]);
    const [ended, entries] = expireAll(state, NOW + 1e6);
    expect(entries.map(({ at, epoch }) => [at - NOW, epoch])).toEqual([
      [100, 3],
      [200, 4],
      [300, 5],
    ]);
    expect(ended).toMatchObject({ epoch: 5, pause: null, pins: [] });
    expect(entries[0]?.before.pins?.map(({ id }) => id)).toEqual(['pin-2-1']);
    expect(Object.keys(entries[1]?.before ?? {})).toEqual(['pause']);
  });

  test('what ends at one instant ends as one change', () => {
    const state = after([pause(100), pin(wish({ ttlMs: 100 }))]);
    const [ended, entries] = expireAll(state, NOW + 100);
    expect(entries).toHaveLength(1);
    expect(ended).toMatchObject({ epoch: 3, pause: null, pins: [] });
    expect(entries[0]).toMatchObject({ after: { pause: null, pins: [] } });
  });
});
