import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson } from '../../core/index.ts';
import {
  HISTORY_BYTES_MAX,
  HISTORY_ENTRIES_MAX,
  emptyHistory,
  findHistory,
  foldOutcome,
  shapeBucket,
  type ChunkOutcome,
  type HistoryDigest,
} from '../../telemetry/index.ts';

const OUTCOME: ChunkOutcome = {
  variant: 'assign/grid-avx2@1',
  deviceClass: 'cpu-avx2',
  shape: 'v17.5-o-first-half-m1',
  rows: 1_000_000,
  seconds: 1,
  predictedSeconds: 2,
  failed: false,
};

function fold(...changes: readonly Partial<ChunkOutcome>[]): HistoryDigest {
  return changes.reduce<HistoryDigest>(
    (history, change) => foldOutcome(history, { ...OUTCOME, ...change }),
    emptyHistory(),
  );
}

describe('foldOutcome', () => {
  test('remembers counts, the rate and how far the prediction was off', () => {
    expect(fold({}).entries).toEqual([
      {
        variant: OUTCOME.variant,
        deviceClass: OUTCOME.deviceClass,
        shape: OUTCOME.shape,
        chunks: 1,
        failures: 0,
        rows: 1_000_000,
        seconds: 1,
        rowsPerSecond: 1_000_000,
        timeRatio: 0.5,
      },
    ]);
  });

  test('weighs by time: a short slow probe hardly counts beside full chunks', () => {
    const [entry] = fold({ rows: 10_000, seconds: 0.01 }, { rows: 20_000_000, seconds: 2 }).entries;
    expect(entry?.rowsPerSecond).toBeGreaterThan(9_900_000);
  });

  test('forgets: after a minute at half the speed the rate is near the new one', () => {
    const fast = Array.from({ length: 100 }, () => ({ rows: 2_000_000, seconds: 2 }));
    const slow = Array.from({ length: 30 }, () => ({ rows: 1_000_000, seconds: 2 }));
    const [entry] = fold(...fast, ...slow).entries;
    expect(entry?.rowsPerSecond).toBeGreaterThan(500_000);
    expect(entry?.rowsPerSecond).toBeLessThan(550_000);
  });

  test('a failure counts and leaves the rate alone', () => {
    const [entry] = fold({}, { failed: true, rows: 5, seconds: 99 }).entries;
    expect(entry).toMatchObject({ chunks: 1, failures: 1, seconds: 1, rowsPerSecond: 1_000_000 });
    expect(fold({ failed: true }).entries[0]?.rowsPerSecond).toBeNull();
  });

  test('keeps one entry per variant, device class and shape, the last used first', () => {
    const history = fold({ shape: 'a' }, { shape: 'b' }, { shape: 'a' });
    expect(history.entries.map((entry) => [entry.shape, entry.chunks])).toEqual([
      ['a', 2],
      ['b', 1],
    ]);
    expect(findHistory(history, OUTCOME.variant, OUTCOME.deviceClass, 'b')?.chunks).toBe(1);
    expect(findHistory(history, OUTCOME.variant, 'gpu', 'b')).toBeNull();
  });

  test('drops the entry used longest ago when there is no more room', () => {
    const shapes = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((shape) => ({ shape }));
    const kept = fold(...shapes).entries.map((entry) => entry.shape);
    expect(kept).toEqual(['h', 'g', 'f', 'e', 'd', 'c', 'b', 'a'].slice(0, kept.length));
    expect(kept.length).toBeGreaterThanOrEqual(3);
  });

  test.each([{ rows: NaN }, { seconds: -1 }, { seconds: Infinity }, { predictedSeconds: NaN }])(
    'ignores %j',
    (change) => {
      expect(fold(change)).toEqual(emptyHistory());
    },
  );

  test('a chunk without rows or without time sets no rate', () => {
    expect(fold({ rows: 0 }).entries[0]?.rowsPerSecond).toBeNull();
    expect(fold({ seconds: 0 }).entries[0]).toMatchObject({ rowsPerSecond: null, timeRatio: null });
  });

  test('stays within 6 entries and 768 bytes whatever is folded in', () => {
    const text = fc.oneof(
      fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'),
      fc.string({ maxLength: 400 }),
      fc.string({ unit: 'binary', maxLength: 60 }),
    );
    const number = fc.double({ min: -1, max: 1e300 });
    const outcome = fc.record({
      variant: text,
      deviceClass: text,
      shape: text,
      rows: fc.oneof(fc.nat(), number),
      seconds: fc.oneof(fc.nat(), number),
      predictedSeconds: number,
      failed: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(outcome, { maxLength: 20 }), (outcomes) => {
        const history = outcomes.reduce(foldOutcome, emptyHistory());
        const bytes = Buffer.byteLength(canonicalJson(history));
        expect(history.entries.length).toBeLessThanOrEqual(HISTORY_ENTRIES_MAX);
        expect(bytes).toBeLessThanOrEqual(HISTORY_BYTES_MAX);
        expect(JSON.parse(JSON.stringify(history))).toEqual(history);
      }),
      { numRuns: 300 },
    );
  });
});

describe('shapeBucket', () => {
  const facts = {
    vertices: 190_000,
    meanVertices: 59,
    ordered: true,
    overlap: 'first',
    boundary: 'half-open',
    measures: 2,
  };

  test('names size, order, rules and measures', () => {
    expect(shapeBucket(facts)).toBe('v17.5-o-first-half-m2');
    expect(shapeBucket({ ...facts, ordered: false, boundary: 'contains' })).toBe(
      'v17.5-r-first-cont-m2',
    );
  });

  test.each([
    [0, 'v0.'],
    [1, 'v0.'],
    [2, 'v1.'],
    [1_023, 'v9.'],
    [1_024, 'v10.'],
    [Infinity, 'v99.'],
    [NaN, 'v0.'],
    [-5, 'v0.'],
  ])('%s vertices begin %s', (vertices, start) => {
    expect(shapeBucket({ ...facts, vertices }).startsWith(start)).toBe(true);
  });

  test('is at most 24 characters for any work of real size', () => {
    const largest = { ...facts, vertices: 2 ** 40, meanVertices: 2 ** 40, measures: 1e9 };
    expect(shapeBucket(largest).length).toBeLessThanOrEqual(24);
  });
});
