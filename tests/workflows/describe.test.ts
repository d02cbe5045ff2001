import { describe, expect, test } from 'vitest';
import type { Pause } from '../../operator/index.ts';
import type { Pin } from '../../planner/index.ts';
import { executeSummary, runDetails, shortCount, tilesOf } from '../../workflows/describe.ts';
import { runInput } from '../e2e/harness/simulated-values.ts';

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

describe('details of a run', () => {
  const { operator } = runInput('0b7b6a39');
  const run: Parameters<typeof runDetails>[0] = {
    ...{ name: 'demo', tiles: 40, tilesDone: 10, shards: 2, open: 1, parked: 0, skipped: 0 },
    ...{ phase: 'running', operator, waiting: null, error: null },
  };

  test('of one that nobody touched say only how far it is', () => {
    expect(runDetails(run)).toBe(
      '**demo** · running\n\n2 shards, 1 open; 10 of 40 tiles in closed shards',
    );
  });

  test('show pause, pins and parked tiles, with what people wrote made harmless', () => {
    const pin: Pin = {
      ...{ id: 'pin-3', aspect: 'variant', value: 'assign/grid-scalar@1', author: 'ann' },
      ...{ reason: 'slow\u001b[2J', epoch: 3, expiresAt: null, chunksLeft: 9 },
      ...{ scope: { kind: 'tiles', firstTile: 4, lastTile: 7 }, ifImpossible: 'hold' },
    };
    const pause: Pause = {
      ...{ mode: 'now', by: 'bob', reason: 'disk', epoch: 4 },
      ...{ since: 0, until: Date.UTC(2026, 10, 23, 14) },
    };
    const pins = Array.from({ length: 10 }, () => pin);
    const text = runDetails({
      ...run,
      parked: 2,
      skipped: 1,
      operator: { ...operator, pause, pins },
    });
    expect(text).toContain('2 tiles parked, 1 more skipped');
    expect(text).toContain('**paused by bob until 2026-11-23 14:00 UTC: disk** (now)');
    expect(text).toContain('pin-3 (variant = assign/grid-scalar@1 by ann: slow\\u{1b}[2J)');
    expect(text).toContain(', for tiles 4-7');
    expect(text).toContain('and 2 more pins');
    expect(text).not.toContain('\u001b');
  });
});
