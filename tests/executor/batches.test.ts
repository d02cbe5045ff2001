import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cutBatches } from '../../executor/batches.ts';
import type { TileInput } from '../../native/index.ts';

const column = {
  name: 'x',
  type: 'float64',
  dataOffset: 0,
  validityOffset: null,
  xxh3: null,
} as const;

function tileOf(rows: number, tile: number): TileInput {
  return { path: 'data.arrow', tile, rows, x: column, y: column, measures: [] };
}

describe('cutBatches', () => {
  test('keeps every tile, in order, in batches that fit or hold one tile', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(100_000), { maxLength: 60 }),
        fc.integer({ min: 1, max: 300_000 }),
        (sizes, rowsMax) => {
          const tiles = sizes.map(tileOf);
          const batches = cutBatches(tiles, rowsMax);
          expect(batches.flat()).toEqual(tiles);
          for (const batch of batches) {
            const rows = batch.reduce((sum, tile) => sum + tile.rows, 0);
            expect(batch.length === 1 || rows <= rowsMax).toBe(true);
            expect(batch.length).toBeGreaterThan(0);
          }
        },
      ),
    );
  });
});
