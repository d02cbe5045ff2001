import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cutBatches } from '../../executor/batches.ts';

describe('cutBatches', () => {
  test('keeps every tile, in order, in batches that fit or hold one tile', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(100_000), { maxLength: 60 }),
        fc.nat(1000),
        fc.integer({ min: 1, max: 300_000 }),
        (sizes, firstTile, rowsMax) => {
          const rowsOf = (tile: number): number => sizes[tile - firstTile] ?? Number.NaN;
          const endTile = firstTile + sizes.length;
          const batches = cutBatches({ firstTile, endTile }, rowsOf, rowsMax);
          let next = firstTile;
          for (const batch of batches) {
            expect(batch.firstTile).toBe(next);
            expect(batch.endTile).toBeGreaterThan(batch.firstTile);
            const rows = sizes
              .slice(batch.firstTile - firstTile, batch.endTile - firstTile)
              .reduce((sum, size) => sum + size, 0);
            expect(batch.endTile - batch.firstTile === 1 || rows <= rowsMax).toBe(true);
            next = batch.endTile;
          }
          expect(next).toBe(endTile);
        },
      ),
    );
  });
});
