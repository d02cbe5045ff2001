// What `run audit` tells of each change, and how sealed entries stand in for forgotten histories.
import { describe, expect, test } from 'vitest';
import { changeText, joinAudit, renderAudit } from '../../cli/runs/render-audit.ts';
import {
  applyRequest,
  expire,
  type AuditEntry,
  type OperatorCommand,
  type OperatorState,
} from '../../operator/index.ts';
import { LIMITS, NOW, STATE, after, facts, pause, pin, request, wish } from '../operator/values.ts';

function entryOf(command: OperatorCommand, state: OperatorState = STATE): AuditEntry {
  const { entry } = applyRequest(state, request(command, { id: 'entry' }), facts());
  if (entry === null) throw new Error('nothing changed');
  return entry;
}

const start = (epoch: number): AuditEntry => ({
  ...entryOf(pause()),
  verb: 'start',
  epoch,
  before: {},
  after: { limits: LIMITS },
});

const tiles = { kind: 'tiles', firstTile: 3, lastTile: 7 } as const;
const select = { tiles: [{ firstTile: 3, endTile: 8 }], fingerprint: 'f00d' };
const all = { tiles: null, fingerprint: null };

describe('changeText', () => {
  test.each<[string, OperatorCommand, OperatorState]>([
    ['paused (drain)', pause(), STATE],
    ['paused (drain) until 2026-11-23T13:31:00Z', pause(60_000), STATE],
    ['resumed', { verb: 'resume' }, after([pause()])],
    ['cancelled', { verb: 'cancel' }, STATE],
    ['with pin-1 variant=assign/grid-scalar@1', pin(wish()), STATE],
    [
      'with pin-1 chunkRows=9 (tiles 3-7, until 2026-11-23T13:30:01Z, 4 chunks, or fail)',
      pin(
        wish({
          ...{ aspect: 'chunkRows', value: 9, scope: tiles },
          ...{ ttlMs: 1000, ttlChunks: 4, ifImpossible: 'fail' },
        }),
      ),
      STATE,
    ],
    [
      'without pin-1 variant=assign/grid-scalar@1; with pin-2 variant=b (next 2 chunks of each shard)',
      pin(wish({ value: 'b', scope: { kind: 'chunks', count: 2 } })),
      after([pin(wish({ scope: { kind: 'chunks', count: 5 } }))]),
    ],
    [
      'without pin-1 variant=assign/grid-scalar@1',
      { verb: 'unpin', ids: null },
      after([pin(wish())]),
    ],
    [
      'lanes 2 → 4, memoryBytesMax 2.0 GiB → 1.0 GiB, cadence every-chunk → 7',
      { verb: 'limits', set: { lanes: 4, cadence: 7, memoryBytesMax: 2 ** 30 } },
      STATE,
    ],
    ['retry parked tiles', { verb: 'retry', select: all, pin: null }, STATE],
    [
      'retry tiles 3-7 of error f00d with runtime=cpu',
      { verb: 'retry', select, pin: { aspect: 'runtime', value: 'cpu' } },
      STATE,
    ],
    ['skip tiles 3-7 of error f00d', { verb: 'skip', select }, STATE],
  ])('%s', (text, command, state) => {
    expect(changeText(entryOf(command, state))).toBe(text);
  });

  test('tells what ended by time, and what a run began with', () => {
    const { entry } = expire(after([pause(5)]), NOW + 5);
    expect(changeText(entry as AuditEntry)).toBe('pause ended');
    expect(changeText(start(0))).toMatch(/^started: lanes 2, chunkSecondsTarget 1 s, memory/);
  });
});

describe('renderAudit', () => {
  test('escapes all that people wrote', () => {
    const nasty = '\u001b[2J\u202eevil\n';
    const entry = { ...entryOf(pin(wish({ value: nasty }))), by: nasty, via: nasty, reason: nasty };
    const text = renderAudit([entry]);
    expect(text).not.toMatch(/[\u001b\u202e]/u);
    expect(text.split('\n')).toHaveLength(2);
    expect(text).toContain('2026-11-23T13:30:00Z');
  });
});

describe('joinAudit', () => {
  const live = [start(3), { ...entryOf(pause()), epoch: 4 }];
  const sealed = [0, 1, 2, 3, 4].map((epoch) => ({ ...entryOf(pause()), epoch, via: 'sealed' }));

  test('takes whole histories as they are', () => {
    expect(joinAudit({ entries: live, whole: true }, sealed)).toBe(live);
  });

  test('puts sealed entries before what the server still knows', () => {
    const joined = joinAudit({ entries: live, whole: false }, sealed);
    expect(joined.map(({ epoch, via }) => [epoch, via])).toEqual([
      ...[0, 1, 2, 3].map((epoch) => [epoch, 'sealed']),
      [4, 'cli'],
    ]);
  });

  test('takes what there is', () => {
    expect(joinAudit({ entries: live, whole: false }, null)).toBe(live);
    expect(joinAudit(null, sealed)).toBe(sealed);
    expect(joinAudit(null, null)).toEqual([]);
  });
});
