// Which requests are refused, with which code, and what the message tells: any JSON may arrive.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyRequest, refusalOf, type OperatorCommand } from '../../operator/index.ts';
import { STATE, NOW, after, facts, pause, pin, request, wish } from './values.ts';

const DAY = 24 * 3600 * 1000;

function codeOf(value: unknown, more: Parameters<typeof facts>[0] = {}): string | null {
  return refusalOf(STATE, value, facts(more))?.code ?? null;
}

function messageOf(value: unknown): string {
  const refusal = refusalOf(STATE, value, facts());
  return refusal === null ? 'accepted' : `${refusal.code} ${refusal.message}`;
}

const order = { tiles: null, fingerprint: null };
const GOOD: readonly OperatorCommand[] = [
  pause(),
  pause(1),
  { verb: 'pause', mode: 'now', ttlMs: 366 * DAY },
  { verb: 'resume' },
  { verb: 'cancel' },
  pin(wish()),
  pin(wish({ aspect: 'chunkRows', value: 1 }), wish({ aspect: 'precision', value: 'fp32' })),
  pin(wish({ scope: { kind: 'tiles', firstTile: 0, lastTile: 99 }, ttlChunks: 3 })),
  pin(wish({ scope: { kind: 'chunks', count: 3 }, ttlMs: 1000, ifImpossible: 'fail' })),
  pin(wish({ scope: { kind: 'operation', operation: 'assign' }, allowAbsent: true })),
  { verb: 'unpin', ids: null },
  { verb: 'limits', set: { lanes: 64, chunkSecondsTarget: 0.05, memoryBytesMax: 2 ** 24 } },
  { verb: 'limits', set: { cadence: 1000, failedTiles: 0 } },
  { verb: 'limits', set: { cadence: 'every-chunk', chunkSecondsTarget: 3600 } },
  { verb: 'retry', select: order, pin: null },
  { verb: 'retry', select: order, pin: { aspect: 'runtime', value: 'cpu' } },
  { verb: 'skip', select: { tiles: [{ firstTile: 0, endTile: 100 }], fingerprint: 'f00d' } },
];

const tilesOf = (...ranges: readonly (readonly [number, number])[]): unknown => ({
  verb: 'skip',
  select: {
    tiles: ranges.map(([firstTile, endTile]) => ({ firstTile, endTile })),
    fingerprint: null,
  },
});

/** Commands that are wrong, and what the message must say. */
const BAD: readonly (readonly [unknown, string])[] = [
  [null, 'request.command: expected an object, got null'],
  [[], 'request.command: expected an object, got a list of 0'],
  [{}, 'request.command.verb: expected pause | resume'],
  [{ verb: 'stop' }, 'got "stop"'],
  [{ verb: '__proto__' }, 'got "__proto__"'],
  [{ verb: 'constructor' }, 'got "constructor"'],
  [{ verb: 'resume', force: true }, 'expected only verb, got "force", too'],
  [{ verb: 'pause', ttlMs: null }, 'command.mode: expected drain | now, got nothing'],
  [{ verb: 'pause', mode: 'drain' }, 'ttlMs: expected null or a whole number from 1'],
  [{ verb: 'pause', mode: 'drain', ttlMs: 0 }, 'got 0'],
  [{ verb: 'pause', mode: 'drain', ttlMs: -5 }, 'got -5'],
  [{ verb: 'pause', mode: 'drain', ttlMs: 1.5 }, 'got 1.5'],
  [{ verb: 'pause', mode: 'drain', ttlMs: Number.NaN }, 'got NaN'],
  [{ verb: 'pause', mode: 'drain', ttlMs: Infinity }, 'got Infinity'],
  [{ verb: 'pause', mode: 'drain', ttlMs: '30m' }, 'got "30m"'],
  [{ verb: 'pause', mode: 'drain', ttlMs: 366 * DAY + 1 }, '(366 days), got 31622400001'],
  [{ verb: 'pause', mode: 'drain', ttlMs: 1e300 }, 'got 1e+300'],
  [{ verb: 'pin', pins: [] }, 'pins: expected a list of 1 to 32, got a list of 0'],
  [{ verb: 'pin', pins: {} }, 'got an empty object'],
  [{ verb: 'pin', pins: Array.from({ length: 33 }, () => wish()) }, 'got a list of 33'],
  [pin(wish(), wish({ value: 'assign/grid-avx2@1' })), 'got variant twice'],
  [pin(wish({ aspect: 'colour' as 'host' })), 'pins.0.aspect: expected runtime | variant'],
  [pin(wish({ aspect: 'toString' as 'host' })), 'got "toString"'],
  [pin(wish({ aspect: 'runtime', value: 'tpu' })), 'pins.0.value: expected cpu | gpu, got "tpu"'],
  [pin(wish({ aspect: 'precision', value: 'fp16' })), 'expected fp32 | fp64'],
  [pin(wish({ aspect: 'chunkRows', value: '5' })), 'expected a whole number at least 1 rows'],
  [pin(wish({ aspect: 'chunkRows', value: 0 })), 'got 0'],
  [pin(wish({ aspect: 'host', value: 7 })), 'expected text of 1 to 256 characters, got 7'],
  [pin(wish({ value: 'x'.repeat(1e6) })), 'expected text of 1 to 256 characters, got 1000000'],
  [pin(wish({ scope: { kind: 'all' } as never })), 'scope.kind: expected run | operation'],
  [pin(wish({ scope: null as never })), 'scope: expected an object, got null'],
  [pin(wish({ scope: { kind: 'chunks', count: 0 } })), 'scope.count'],
  [
    pin(wish({ scope: { kind: 'tiles', firstTile: 5, lastTile: 4 } })),
    'lastTile: expected at least firstTile, 5, got 4',
  ],
  [pin(wish({ scope: { kind: 'tiles', firstTile: -1, lastTile: 4 } })), 'firstTile'],
  [pin(wish({ ttlMs: 0 })), 'ttlMs'],
  [pin(wish({ ttlChunks: 0 })), 'ttlChunks'],
  [pin(wish({ ifImpossible: 'ignore' as 'hold' })), 'ifImpossible: expected hold | fail'],
  [pin({ ...wish(), allowAbsent: 'yes' } as never), 'allowAbsent: expected true | false'],
  [{ verb: 'unpin', ids: [] }, 'ids: expected null or a list of 1 to 32'],
  [{ verb: 'unpin', ids: [3] }, 'ids.0'],
  [{ verb: 'limits', set: {} }, 'expected one or more of lanes, chunkSecondsTarget'],
  [{ verb: 'limits', set: { speed: 1 } }, 'got "speed"'],
  [{ verb: 'limits', set: { lanes: 0 } }, 'set.lanes: expected a whole number from 1 to 64 lanes'],
  [{ verb: 'limits', set: { lanes: 65 } }, 'got 65'],
  [{ verb: 'limits', set: { chunkSecondsTarget: 0.01 } }, 'from 0.05 to 3600 seconds'],
  [{ verb: 'limits', set: { chunkSecondsTarget: Number.NaN } }, 'got NaN'],
  [{ verb: 'limits', set: { memoryBytesMax: 2 ** 24 - 1 } }, '(16 MiB), got 16777215'],
  [{ verb: 'limits', set: { memoryBytesMax: 2 ** 53 } }, 'memoryBytesMax'],
  [{ verb: 'limits', set: { cadence: 0 } }, 'expected every-chunk or a whole number from 1'],
  [{ verb: 'limits', set: { cadence: 1001 } }, 'cadence'],
  [{ verb: 'limits', set: { failedTiles: -1 } }, 'failedTiles'],
  [{ verb: 'limits', set: { lanes: null } }, 'got null'],
  [{ verb: 'retry', select: order }, 'command.pin: expected null or an object, got nothing'],
  [{ verb: 'retry', select: order, pin: { aspect: 'runtime', value: 'tpu' } }, 'pin.value'],
  [{ verb: 'skip', select: {} }, 'select.tiles'],
  [tilesOf(), 'tiles: expected null or a list of 1 to 64, got a list of 0'],
  [tilesOf([5, 5]), 'endTile: expected more than 5, got 5'],
  [tilesOf([5, 9], [8, 10]), 'expected ascending ranges, 9 or more, got 8'],
  [tilesOf([5, 9], [0, 2]), 'ascending'],
  [tilesOf([0.5, 2]), 'firstTile'],
  [tilesOf(...Array.from({ length: 65 }, (_, n) => [n, n + 1] as const)), 'list of 65'],
];

describe('structure of a request', () => {
  test.each(GOOD.map((command) => [JSON.stringify(command), command] as const))(
    '%s is accepted',
    (_, command) => {
      expect(messageOf(request(command))).toBe('accepted');
    },
  );

  test.each(BAD.map(([command, words]) => ({ command, words })))(
    'a wrong command is refused: $words',
    ({ command, words }) => {
      const message = messageOf({ ...request(pause()), command });
      expect(message).toContain(
        'OPERATOR_REQUEST_INVALID the request is not valid: request.command',
      );
      expect(message).toContain(words);
      expect(message).toMatch(/expected .*got .*; correct it$/su);
    },
  );

  test.each<[string, unknown]>([
    ...[undefined, null, 0, 'pause', true, [], () => 0, 10n, Symbol('x'), {}, new Date(NaN)].map(
      (value): [string, unknown] => [String(typeof value), value],
    ),
    ...Object.entries({
      'a newer schema': { schema: 'tileloom.operator-request/2' },
      'an empty id': { id: '' },
      'an id with a space': { id: 'a b' },
      'a long id': { id: 'x'.repeat(129) },
      'an id with a line end': { id: 'r-1\n' },
      'a blank author': { by: '  ' },
      'a long author': { by: 'x'.repeat(129) },
      'no via': { via: undefined },
      'no reason at all': { reason: null },
      'a long reason': { reason: 'x'.repeat(501) },
      'a time as text': { notAfter: '2026-11-23' },
      'an epoch below zero': { expectedEpoch: -1 },
      'a key too many': { more: 1 },
    }).map(([name, part]): [string, unknown] => [name, { ...request(pause()), ...part }]),
  ])('%s makes no request', (_, value) => {
    expect(codeOf(value)).toBe('OPERATOR_REQUEST_INVALID');
  });

  test('a reason is needed where the effect will be asked about, and counted in characters', () => {
    const needed = new Set(['pin', 'limits', 'skip', 'cancel']);
    for (const command of GOOD) {
      const expected = needed.has(command.verb) ? 'OPERATOR_REQUEST_INVALID' : null;
      expect(codeOf(request(command, { reason: '' })), command.verb).toBe(expected);
      expect(codeOf(request(command, { reason: '🌍'.repeat(500) }))).toBeNull();
      expect(codeOf(request(command, { reason: '🌍'.repeat(501) }))).not.toBeNull();
    }
  });

  test('what an attacker wrote is shown short, on one line', () => {
    const nasty = `\u001b[2J\u202e${'x'.repeat(5000)}\n`;
    const message = messageOf({ ...request(pause()), id: nasty });
    expect(message.length).toBeLessThan(300);
    expect(message).not.toMatch(/[\u0000-\u001f\u202e]/u);
  });

  test('any JSON in any place is judged, never thrown at', () => {
    const keys = ['command', 'id', 'by', 'via', 'reason', 'notAfter', 'expectedEpoch', 'schema'];
    const property = fc.property(
      fc.constantFrom(...GOOD),
      fc.constantFrom(...keys),
      fc.jsonValue(),
      fc.boolean(),
      (command, key, value, inside) => {
        const names = Object.keys(command);
        const name = names[key.length % names.length] ?? 'verb';
        const changed = inside ? { command: { ...command, [name]: value } } : { [key]: value };
        const candidate = { ...request(command), ...changed };
        const refusal = refusalOf(STATE, candidate, facts());
        if (refusal !== null) expect(refusal.message).toMatch(/expected .*got .*; /su);
        else applyRequest(STATE, candidate, facts());
      },
    );
    fc.assert(property, { numRuns: 3000 });
  });
});

describe('refusals by state', () => {
  test('a request is refused after its client gave up, not at that moment', () => {
    expect(codeOf(request(pause(), { notAfter: NOW }))).toBeNull();
    expect(codeOf(request(pause(), { notAfter: NOW - 1 }))).toBe('OPERATOR_REQUEST_EXPIRED');
    expect(codeOf(request(pause(), { notAfter: 0 }), { nowMs: 9e15 })).toContain('EXPIRED');
  });

  test('an epoch that is not the present one is a conflict that names both', () => {
    const state = after([pause(), { verb: 'resume' }]);
    const one = request(pause(), { expectedEpoch: 1 });
    expect(refusalOf(state, one, facts())).toMatchObject({
      code: 'OPERATOR_CONFLICT',
      message: expect.stringContaining('expected epoch 1, got epoch 2') as string,
    });
    expect(refusalOf(state, { ...one, expectedEpoch: 2 }, facts())).toBeNull();
  });

  test.each(['finished', 'partial', 'failed', 'cancelled'])('a %s run refuses all', (phase) => {
    for (const command of GOOD) {
      expect(codeOf(request(command), { phase })).toBe('OPERATOR_RUN_ENDING');
    }
  });

  test('a run that publishes takes only what needs no chunks', () => {
    const taken = GOOD.filter(
      (command) => codeOf(request(command), { phase: 'publishing' }) === null,
    );
    expect(new Set(taken.map(({ verb }) => verb))).toEqual(new Set(['resume', 'cancel', 'unpin']));
  });

  test('a cancelled run takes nothing but a further cancel', () => {
    const state = after([{ verb: 'cancel' }]);
    for (const command of GOOD) {
      const code = refusalOf(state, request(command, { id: 'other' }), facts())?.code ?? null;
      expect(code).toBe(command.verb === 'cancel' ? null : 'OPERATOR_RUN_ENDING');
    }
  });

  test('tiles must be of the run, once it is known how many there are', () => {
    const beyond = [
      pin(wish({ scope: { kind: 'tiles', firstTile: 99, lastTile: 100 } })),
      tilesOf([0, 1], [100, 101]),
    ];
    for (const command of beyond) {
      const value = { ...request(pause()), command };
      expect(messageOf(value)).toContain('OPERATOR_TILES_UNKNOWN tiles');
      expect(messageOf(value)).toContain('expected tiles 0-99, got 100');
    }
    const early = facts({ tiles: null, phase: 'preparing' });
    expect(refusalOf(STATE, request(beyond[0] as OperatorCommand), early)).toBeNull();
    expect(refusalOf(STATE, { ...request(pause()), command: beyond[1] }, early)?.code).toBe(
      'OPERATOR_NOTHING_PARKED',
    );
  });

  test('unpin names the pins that are set', () => {
    const state = after([pin(wish()), pin(wish({ aspect: 'precision', value: 'fp64' }))]);
    const one = request({ verb: 'unpin', ids: ['pin-1', 'pin-9', 'pin-\u001b'] }, { id: 'x' });
    expect(refusalOf(state, one, facts())).toEqual({
      code: 'OPERATOR_PIN_UNKNOWN',
      message:
        'pin pin-9, pin-\\u{1b} is not set: expected pin-1, pin-2, got pin-9; see tileloom pin list',
    });
    expect(refusalOf(STATE, one, facts())?.message).toContain('the run has no pin');
  });

  test('a run holds 32 pins, replaced ones not counted, and 24 KiB of them', () => {
    const many = (count: number, from = 0): OperatorCommand =>
      pin(
        ...Array.from({ length: count }, (_, n) =>
          wish({ scope: { kind: 'tiles', firstTile: from + n, lastTile: from + n } }),
        ),
      );
    const full = after([many(32)]);
    expect(full.pins).toHaveLength(32);
    const again = request(many(32), { id: 'again', reason: 'another' });
    expect(refusalOf(full, again, facts())).toBeNull();
    const one = request(many(1, 40), { id: 'one' });
    expect(refusalOf(full, one, facts())?.message).toContain('expected at most 32 pins, got 33');
    const wordy = request(many(32), { id: 'wordy', reason: '語'.repeat(500) });
    expect(refusalOf(STATE, wordy, facts())).toMatchObject({ code: 'OPERATOR_PINS_FULL' });
    expect(JSON.stringify(full).length).toBeLessThan(48 * 1024);
  });

  test('a request that was accepted is never refused, whatever happened since', () => {
    const late = facts({ nowMs: NOW + DAY, phase: 'finished' });
    const one = request(pin(wish()), { id: 'one', expectedEpoch: 0, notAfter: NOW });
    const { state } = applyRequest(STATE, one, facts());
    expect(refusalOf(state, one, late)).toBeNull();
    expect(applyRequest(state, one, late)).toEqual({ state, entry: null, pins: ['pin-1'] });
  });
});
