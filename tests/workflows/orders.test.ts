// What orders about parked tiles do to a shard, against a model that looks at each tile by itself.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ParkedOrder } from '../../operator/index.ts';
import type { TileInterval } from '../../workflows/activity-contract.ts';
import { countTiles, subtractTiles, uniteTiles } from '../../workflows/intervals.ts';
import { followOrder, mayHaveParked, nextOrder, type ParkedState } from '../../workflows/orders.ts';
import { LEASE, openTestShard, planStep } from './shard-values.ts';

const TILES = 24;
type Place = 'free' | 'parked' | 'skipped' | 'retried' | 'done';

const orderOf = (kind: 'retry' | 'skip', more: Partial<ParkedOrder> = {}): ParkedOrder => ({
  ...{ kind, by: 'ann', reason: '', epoch: 9, pin: null },
  select: { tiles: null, fingerprint: null },
  ...more,
});
const single = (tile: number): TileInterval => ({ firstTile: tile, endTile: tile + 1 });
const at = (places: readonly Place[], place: Place): readonly TileInterval[] =>
  places.flatMap((other, tile) => (other === place ? [single(tile)] : []));
const tilesOf = (intervals: readonly TileInterval[]): readonly number[] =>
  intervals
    .flatMap(({ firstTile, endTile }) =>
      Array.from({ length: endTile - firstTile }, (_, index) => firstTile + index),
    )
    .toSorted((a, b) => a - b);

function stateOf(places: readonly Place[]): ParkedState {
  return {
    suspects: at(places, 'retried').map((range) => ({ ...range, attempt: 4, faults: [] })),
    skipped: uniteTiles(at(places, 'skipped')),
    parked: { count: at(places, 'parked').length, first: null },
    ordersThrough: 3,
  };
}

const somePlaces = fc.array(
  fc.constantFrom<Place>('free', 'parked', 'skipped', 'retried', 'done'),
  { minLength: TILES, maxLength: TILES },
);
const someTiles = fc.uniqueArray(fc.nat(TILES - 1));

describe('followOrder', () => {
  test('moves exactly the meant tiles that are parked, skipped or being retried', () => {
    fc.assert(
      fc.property(somePlaces, someTiles, fc.boolean(), (places, meant, isRetry) => {
        const inSegments = places.flatMap((place, tile) =>
          ['parked', 'skipped', 'retried'].includes(place) && meant.includes(tile) ? [tile] : [],
        );
        const selected = uniteTiles(inSegments.map(single));
        const busy = at(places, 'free');
        const after = followOrder(
          stateOf(places),
          orderOf(isRetry ? 'retry' : 'skip'),
          selected,
          busy,
        );
        const expected = places.map((place, tile) => {
          if (!inSegments.includes(tile)) return place;
          return isRetry ? 'retried' : 'skipped';
        });
        expect(tilesOf(after.suspects)).toEqual(tilesOf(at(expected, 'retried')));
        expect(tilesOf(after.skipped)).toEqual(tilesOf(at(expected, 'skipped')));
        expect(after.parked.count).toBe(at(expected, 'parked').length);
        expect(after.ordersThrough).toBe(9);
      }),
      { numRuns: 500 },
    );
  });

  test('leaves what is free or computed meanwhile where it is, whatever the segments say', () => {
    const state = stateOf(['parked', 'parked', 'done', 'free']);
    const selected = [{ firstTile: 0, endTile: 4 }];
    const busy = [single(3), single(2)];
    const after = followOrder(state, orderOf('retry'), selected, busy);
    expect(after).toMatchObject({ parked: { count: 0 }, skipped: [] });
    expect(tilesOf(after.suspects)).toEqual([0, 1]);
  });

  test('gives retried tiles the pin of the order, also those that an older order pinned', () => {
    const places: readonly Place[] = ['parked', 'retried'];
    const pin = { aspect: 'variant', value: 'assign/grid-scalar@1' } as const;
    const after = followOrder(
      stateOf(places),
      orderOf('retry', { pin }),
      [{ firstTile: 0, endTile: 2 }],
      [],
    );
    expect(after.suspects).toEqual([
      {
        firstTile: 0,
        endTile: 2,
        attempt: 1,
        faults: [],
        onlyOwn: true,
        pin: { ...pin, epoch: 9 },
      },
    ]);
  });

  test('lets a pinned retry try its variant although it is excluded for another tile', () => {
    const shard = openTestShard(4, 1);
    const lane = shard.lanes.get(0);
    if (lane === undefined) throw new Error('one lane');
    const variant = 'assign/grid-scalar@1';
    shard.excluded = [{ variant, deviceId: 'cpu', host: LEASE.host, failure: 'EXECUTOR_CRASHED' }];
    const host = {
      variants: [variant],
      chunkTiles: 4,
      fails: () => false,
      onRefusal: 'hold',
    } as const;
    const state = stateOf(['parked']);
    const order = orderOf('retry', { pin: { aspect: 'variant', value: variant } });
    shard.free = [];
    shard.suspects = followOrder(state, order, [single(0)], []).suspects;
    expect(planStep(shard, lane, host)).toBe(variant);
  });

  test('keeps the example of a parked tile only while it is one', () => {
    const first = {
      ...{ tile: 5, errorClass: 'TILE_DATA_ERROR', fingerprint: 'f', input: '' },
      ...{ planId: 'p', message: 'm' },
    };
    const state = { ...stateOf([]), parked: { count: 3, first } };
    const order = orderOf('skip');
    expect(followOrder(state, order, [single(4)], []).parked).toEqual({ count: 2, first });
    expect(followOrder(state, order, [single(5)], []).parked).toEqual({ count: 2, first: null });
  });
});

describe('orders', () => {
  test('are followed in order, each once', () => {
    const orders = [4, 6, 9].map((epoch) => orderOf('skip', { epoch }));
    expect(nextOrder(orders, { ordersThrough: 4 })?.epoch).toBe(6);
    expect(nextOrder(orders, { ordersThrough: 9 })).toBeNull();
  });

  test('need no look at segments where nothing was ever parked', () => {
    const head = { file: 'f', sha256: 's', previousSha256: null };
    expect(mayHaveParked(stateOf(['free', 'done']), head)).toBe(false);
    expect(mayHaveParked(stateOf(['skipped']), head)).toBe(true);
    expect(mayHaveParked(stateOf(['parked']), null)).toBe(false);
  });
});

describe('sets of tiles', () => {
  const someSet = someTiles.map((tiles) => uniteTiles(tiles.map(single)));

  test('are subtracted and united as sets are', () => {
    fc.assert(
      fc.property(someSet, someSet, (one, other) => {
        const left = tilesOf(one).filter((tile) => !tilesOf(other).includes(tile));
        expect(tilesOf(subtractTiles(one, other))).toEqual(left);
        const both = uniteTiles([...other, ...one]);
        expect(tilesOf(both)).toEqual(
          [...new Set([...tilesOf(one), ...tilesOf(other)])].toSorted((a, b) => a - b),
        );
        expect(countTiles(both)).toBe(tilesOf(both).length);
        both.slice(1).forEach(({ firstTile }, index) => {
          expect(firstTile).toBeGreaterThan(both[index]?.endTile ?? Infinity);
        });
      }),
    );
  });
});
