import { describe, expect, test } from 'vitest';
import { executeSummary, shortCount, tilesOf } from '../../workflows/describe.ts';

describe('summaries', () => {
  test('of an execute names tiles, variant and rows', () => {
    const range = { firstTile: 120, endTile: 184 };
    expect(executeSummary(range, 'assign/grid-avx2@1', 4_194_304)).toBe(
      'tiles 120-183 · assign/grid-avx2@1 · 4.2 M rows',
    );
  });

  test('of a single tile does not repeat it', () => {
    expect(tilesOf({ firstTile: 7, endTile: 8 })).toBe('tile 7');
  });

  test.each([
    [950, '950'],
    [12_345, '12.3 k'],
    [250_000, '250 k'],
    [4_194_304, '4.2 M'],
    [2_000_000_000, '2 G'],
  ])('count %d as %s', (value, text) => expect(shortCount(value)).toBe(text));
});
