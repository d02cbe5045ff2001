// Which pins a plan call carries, where a lane claims, and how uses are counted.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { resolvePins, type Pin, type PinAspect, type PinScope } from '../../planner/index.ts';
import {
  claimPlace,
  coverMore,
  pinsHere,
  returnUses,
  takeUses,
} from '../../workflows/pins-here.ts';
import { planCall } from '../../workflows/planning.ts';
import { reserve, type ShardState } from '../../workflows/shard-state.ts';
import { LEASE, openTestShard } from './shard-values.ts';

const NOW = 1_000_000;
const pinOf = (more: Partial<Pin> & Pick<Pin, 'id'>): Pin => ({
  ...{ aspect: 'variant', value: 'sim/plain@1', scope: { kind: 'run' } },
  ...{ reason: 'to see', author: 'ann', epoch: 2, expiresAt: null, chunksLeft: null },
  ifImpossible: 'hold',
  ...more,
});
const tiles = (firstTile: number, lastTile: number): PinScope => ({
  kind: 'tiles',
  firstTile,
  lastTile,
});
function shardWith(pins: readonly Pin[], lanes = 1): ShardState {
  const shard = openTestShard(40, lanes);
  shard.operator = { ...shard.operator, pins };
  return shard;
}
const range = (firstTile: number, endTile: number) => ({ firstTile, endTile, suspect: null });
const idsHere = (shard: ShardState, first: number, end: number): readonly string[] =>
  pinsHere(shard, range(first, end), NOW).map(({ id }) => id);

describe('pinsHere', () => {
  test('leaves out what cannot matter: other tiles, other operations, expired, used up', () => {
    const shard = shardWith([
      pinOf({ id: 'all' }),
      pinOf({ id: 'near', scope: tiles(7, 9) }),
      pinOf({ id: 'far', scope: tiles(10, 12) }),
      pinOf({ id: 'over', expiresAt: NOW }),
      pinOf({ id: 'soon', expiresAt: NOW + 1 }),
      pinOf({ id: 'other', scope: { kind: 'operation', operation: 'assign' } }),
      pinOf({ id: 'foreign', value: 'assign/grid-scalar@1' }),
      pinOf({ id: 'used', chunksLeft: 2 }),
      pinOf({ id: 'left', chunksLeft: 3 }),
    ]);
    shard.pinUses = { used: 2, left: 2 };
    expect(idsHere(shard, 4, 10)).toEqual(['all', 'near', 'soon', 'left']);
    expect(pinsHere(shard, range(4, 10), NOW).at(-1)?.chunksLeft).toBe(1);
  });

  test('never changes what the planner resolves, wherever the pins lie', () => {
    const somePin = fc.record({
      aspect: fc.constantFrom<PinAspect>('variant', 'chunkRows', 'host'),
      scope: fc.oneof(
        fc.constant<PinScope>({ kind: 'run' }),
        fc.constant<PinScope>({ kind: 'operation', operation: 'sim' }),
        fc.tuple(fc.nat(39), fc.nat(9)).map(([first, more]) => tiles(first, first + more)),
      ),
      epoch: fc.integer({ min: 1, max: 5 }),
      expiresAt: fc.option(fc.integer({ min: NOW - 2, max: NOW + 2 })),
    });
    fc.assert(
      fc.property(fc.array(somePin, { maxLength: 8 }), fc.nat(38), (wanted, firstTile) => {
        const pins = wanted.map((one, index) => pinOf({ id: `pin-${index}`, ...one }));
        const where = { firstTile, reservedTiles: 4 };
        const work = { operation: 'sim' };
        const carried = pinsHere(shardWith(pins), range(firstTile, firstTile + 4), NOW);
        const whole = resolvePins(pins, where, work, NOW);
        const here = resolvePins(carried, where, work, NOW);
        expect(here).toEqual(whole);
        const place = claimPlace(shardWith(pins), range(firstTile, firstTile + 4), NOW);
        const host = whole.winners.find(({ aspect }) => aspect === 'host');
        expect(place.pin?.id).toBe(host?.id);
      }),
      { numRuns: 500 },
    );
  });

  test('lets the pin of a retry order stand alone in its aspect', () => {
    const shard = shardWith([pinOf({ id: 'all' }), pinOf({ id: 'rows', aspect: 'chunkRows' })]);
    const pin = { aspect: 'variant', value: 'sim/quick@1', epoch: 5 } as const;
    const suspect = { firstTile: 1, endTile: 2, attempt: 1, faults: [], pin };
    const here = pinsHere(shard, { ...suspect, suspect }, NOW);
    expect(here.map(({ id }) => id)).toEqual(['rows', 'retry-5']);
    expect(coverMore(here)).toBe(false);
  });
});

describe('uses', () => {
  test('are taken by the pin in force alone, and given back once', () => {
    const few = pinOf({ id: 'few', chunksLeft: 2 });
    const narrow = pinOf({ id: 'narrow', scope: tiles(0, 3), chunksLeft: 5 });
    const shard = shardWith([few, narrow], 3);
    const [one, two, three] = shard.lanes.values();
    if (one === undefined || two === undefined || three === undefined) throw new Error('lanes');
    takeUses(shard, one, pinsHere(shard, range(2, 6), NOW), 2);
    expect(shard.pinUses).toEqual({ narrow: 1 });
    takeUses(shard, two, pinsHere(shard, range(8, 12), NOW), 8);
    takeUses(shard, three, pinsHere(shard, range(12, 16), NOW), 12);
    expect(shard.pinUses).toEqual({ narrow: 1, few: 2 });
    expect(idsHere(shard, 20, 24)).toEqual([]);
    returnUses(shard, two);
    returnUses(shard, two);
    expect(shard.pinUses).toEqual({ narrow: 1, few: 1 });
    expect(idsHere(shard, 20, 24)).toEqual(['few']);
  });
});

describe('claimPlace', () => {
  const host = (id: string, more: Partial<Pin> = {}): Pin =>
    pinOf({ id, aspect: 'host', value: `${id}-host`, ...more });

  test.each<[string, readonly Pin[], string]>([
    ['no pin', [], 'tileloom.pool.any'],
    ['a host', [host('a')], 'tileloom.a-host'],
    ['an expired host', [host('a', { expiresAt: NOW })], 'tileloom.pool.any'],
    ['a host for tiles', [host('a', { scope: tiles(0, 39) })], 'tileloom.pool.any'],
    ['a newer host', [host('b', { epoch: 3 }), host('a')], 'tileloom.b-host'],
    ['a runtime', [pinOf({ id: 'r', aspect: 'runtime', value: 'gpu' })], 'tileloom.pool.cuda'],
  ])('of a lane that takes what comes: %s', (_, pins, queue) => {
    expect(claimPlace(shardWith(pins), null, NOW).queue).toBe(queue);
  });

  test('of a reservation heeds pins of its tiles', () => {
    const shard = shardWith([host('a'), host('b', { scope: tiles(4, 9) })]);
    expect(claimPlace(shard, range(4, 6), NOW)).toMatchObject({ queue: 'tileloom.b-host' });
    expect(claimPlace(shard, range(2, 6), NOW)).toMatchObject({ queue: 'tileloom.a-host' });
  });
});

describe('a plan call', () => {
  test('stays within 2 KiB with one pin of each aspect', () => {
    const aspects = ['runtime', 'variant', 'precision', 'chunkRows', 'device', 'host'] as const;
    const pins = aspects.map((aspect, index) =>
      pinOf({
        ...{ id: `pin-${120 + index}`, aspect, value: 'sim/grid-avx512@12', epoch: 120 },
        ...{ reason: 'r'.repeat(500), author: 'a'.repeat(128), expiresAt: 1_800_000_000_000 },
      }),
    );
    const shard = shardWith(pins);
    const [lane] = shard.lanes.values();
    const reservation = lane === undefined ? null : reserve(shard, lane);
    if (lane === undefined || reservation === null) throw new Error('nothing reserved');
    const call = planCall(shard, lane, LEASE, reservation, pinsHere(shard, reservation, NOW));
    expect(call.request.pins).toHaveLength(6);
    expect(JSON.stringify(call).length).toBeLessThanOrEqual(2_048);
  });
});
