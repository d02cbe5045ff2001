import { describe, expect, test } from 'vitest';
import { resolvePins, type Pin, type PinScope } from '../../planner/index.ts';
import { makePin } from './fixtures.ts';

const WHERE = { firstTile: 100, reservedTiles: 50 };
const ASSIGN = { operation: 'assign' };
const NOW = 1_000;

const RUN: PinScope = { kind: 'run' };
const OPERATION: PinScope = { kind: 'operation', operation: 'assign' };
const tiles = (firstTile: number, lastTile: number): PinScope => ({
  kind: 'tiles',
  firstTile,
  lastTile,
});
const chunks = (count: number): PinScope => ({ kind: 'chunks', count });

function runtimePin(id: string, changes: Partial<Pin> = {}): Pin {
  return makePin({ id, aspect: 'runtime', value: 'cpu', ...changes });
}

function winnerOf(...pins: Pin[]): string | undefined {
  return resolvePins(pins, WHERE, ASSIGN, NOW).winners[0]?.id;
}

describe('resolvePins', () => {
  test.each([
    ['chunks over tiles', chunks(1), tiles(0, 200)],
    ['tiles over an operation', tiles(0, 200), OPERATION],
    ['a short tile range over a long one', tiles(90, 110), tiles(0, 200)],
    ['an operation over the run', OPERATION, RUN],
  ])('prefers %s even if the other is newer', (_, narrow, wide) => {
    const narrowPin = runtimePin('narrow', { scope: narrow, epoch: 1 });
    const widePin = runtimePin('wide', { scope: wide, epoch: 9 });
    expect(winnerOf(narrowPin, widePin)).toBe('narrow');
    expect(winnerOf(widePin, narrowPin)).toBe('narrow');
  });

  test('prefers the newer of two pins with equal scope, then the lower id', () => {
    expect(winnerOf(runtimePin('a', { epoch: 1 }), runtimePin('b', { epoch: 2 }))).toBe('b');
    expect(winnerOf(runtimePin('b'), runtimePin('a'))).toBe('a');
  });

  test('lists the losers and keeps one winner per aspect', () => {
    const pins = [
      runtimePin('old'),
      runtimePin('new', { epoch: 2 }),
      makePin({ id: 'rows', aspect: 'chunkRows', value: 1_000 }),
    ];
    const resolved = resolvePins(pins, WHERE, ASSIGN, NOW);
    expect(resolved.winners.map((pin) => pin.id)).toEqual(['new', 'rows']);
    expect(resolved.losers).toEqual(['old']);
  });

  test.each([
    ['its time is over', { expiresAt: NOW }],
    ['no chunks are left', { chunksLeft: 0 }],
    ['its tiles lie before', { scope: tiles(0, 99) }],
    ['its tiles lie after', { scope: tiles(150, 160) }],
    ['it is about another operation', { scope: { kind: 'operation', operation: 'aggregate' } }],
  ] as const)('drops a pin when %s', (_, changes) => {
    const resolved = resolvePins([runtimePin('gone', changes)], WHERE, ASSIGN, NOW);
    expect(resolved).toEqual({ winners: [], losers: [] });
  });

  test.each([
    ['until a later time', { expiresAt: NOW + 1 }],
    ['for chunks that are left', { chunksLeft: 1, scope: chunks(5) }],
    ['on its first tile', { scope: tiles(100, 400) }],
    ['on its last tile', { scope: tiles(0, 100) }],
  ])('keeps a pin %s', (_, changes) => {
    expect(winnerOf(runtimePin('kept', changes))).toBe('kept');
  });

  test('ignores a variant pin of another operation', () => {
    const pin = makePin({ aspect: 'variant', value: 'aggregate/fused-exact@1' });
    expect(resolvePins([pin], WHERE, ASSIGN, NOW).winners).toEqual([]);
  });

  test.each([
    [tiles(0, 109), 10],
    [tiles(120, 130), 20],
    [tiles(140, 400), 40],
  ])('says where a chunk must end before other pins apply: %j', (scope, expected) => {
    expect(resolvePins([runtimePin('a', { scope })], WHERE, ASSIGN, NOW).tilesUntilChange).toBe(
      expected,
    );
  });

  test.each([tiles(0, 99), tiles(0, 149), tiles(150, 151)])(
    'sets no border when pins do not change within the reservation: %j',
    (scope) => {
      const resolved = resolvePins([runtimePin('a', { scope })], WHERE, ASSIGN, NOW);
      expect(resolved).not.toHaveProperty('tilesUntilChange');
    },
  );
});
