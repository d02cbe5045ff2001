// Which record of a tile counts when a shard's chain has several.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TileLedger, encodeTileRecords, runDigest, type TileRecord } from '../../datasets/index.ts';
import { expectCode } from './support.ts';

const NONE = new Uint8Array();
const done = (tile: number, digest = 'a'.repeat(32)): TileRecord => ({
  ...{ tile, rows: 3, state: 'done', digest },
});
const parked = (tile: number): TileRecord => ({ tile, rows: 0, state: 'parked', digest: null });
const add = (ledger: TileLedger, shard: number, ...records: readonly TileRecord[]): void =>
  ledger.add(encodeTileRecords(records), shard);

describe('a later record of the same shard', () => {
  test('overrides a parked one, and the digest is as if it had been the only one', () => {
    const ledger = new TileLedger(3);
    add(ledger, 4, done(0), parked(1), parked(2));
    expect([0, 1, 2].map((tile) => ledger.isParked(tile))).toEqual([false, true, true]);
    add(ledger, 4, done(1), parked(2));
    add(ledger, 4, parked(2));
    expect([0, 1, 2].map((tile) => ledger.isParked(tile))).toEqual([false, false, true]);
    expect(ledger.digest(NONE)).toBe(runDigest([done(0), done(1), parked(2)], NONE));
  });

  test.each([
    ['a second done', [done(0), done(0, 'b'.repeat(32))]],
    ['the same done again', [done(0), done(0)]],
    ['parked after done', [done(0), parked(0)]],
    ['done again after a retry', [parked(0), done(0), done(0)]],
    ['parked again after a retry was done', [parked(0), done(0), parked(0)]],
  ])('breaks the ledger: %s', async (_, records) => {
    const ledger = new TileLedger(1);
    const addAll = (): void => records.forEach((record) => add(ledger, 0, record));
    await expectCode(addAll, 'LEDGER_BROKEN', ['tile 0']);
  });

  test('does not override within one segment', async () => {
    const both = [
      [parked(0), done(0)],
      [parked(0), parked(0)],
    ] as const;
    for (const records of both) {
      await expectCode(() => add(new TileLedger(1), 0, ...records), 'LEDGER_BROKEN');
    }
    const ledger = new TileLedger(1);
    add(ledger, 0, parked(0));
    await expectCode(() => add(ledger, 0, parked(0), done(0)), 'LEDGER_BROKEN');
  });
});

test('a record of another shard never overrides', async () => {
  const states = [parked, done];
  for (const first of states) {
    for (const second of states) {
      const ledger = new TileLedger(1);
      add(ledger, 0, first(0));
      const again = (): void => add(ledger, 1, second(0));
      await expectCode(again, 'LEDGER_BROKEN', ['another shard']);
    }
  }
});

test('the last record counts in every chain that parks a tile any number of times', () => {
  const chain = fc.array(fc.constantFrom('parked' as const), { maxLength: 4 });
  const ends = fc.array(fc.tuple(chain, fc.boolean()), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(ends, (tiles) => {
      const ledger = new TileLedger(tiles.length);
      const last: TileRecord[] = [];
      tiles.forEach(([before, ok], tile) => {
        for (const _ of before) add(ledger, 0, parked(tile));
        last.push(ok ? done(tile) : parked(tile));
        add(ledger, 0, last[tile] as TileRecord);
      });
      expect(ledger.digest(NONE)).toBe(runDigest(last, NONE));
    }),
  );
});
