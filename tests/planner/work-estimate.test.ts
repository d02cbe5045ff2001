import { describe, expect, test } from 'vitest';
import {
  admitUnits,
  dispatchUnits,
  fitsFreeMemory,
  scaledToRows,
  selfSegmentPairs,
} from '../../planner/index.ts';

describe('dispatchUnits', () => {
  test.each([
    ['rows alone', { rows: 10 }, 'rows', 10],
    ['many candidate pairs of few rows', { rows: 10, candidatePairs: 5e6 }, 'candidatePairs', 5e6],
    ['output bytes at 64 a unit', { rows: 10, outputBytes: 6_400_000 }, 'outputBytes', 100_000],
    ['temporary bytes at 128 a unit', { rows: 1, temporaryBytes: 129 }, 'temporaryBytes', 2],
    ['nothing', {}, 'rows', 0],
  ])('takes %s', (_, counts, unit, count) => {
    expect(dispatchUnits(counts)).toEqual({ unit, count });
  });

  test('a primary unit goes before larger counts', () => {
    const primary = { name: 'segmentPairs', count: 90 };
    expect(dispatchUnits({ rows: 2, coordinates: 1e9 }, primary)).toEqual({
      unit: 'segmentPairs',
      count: 90,
    });
  });
});

describe('estimates', () => {
  test('two lines with 22 coordinates have 90 segment pairs', () => {
    expect(selfSegmentPairs(22, 2)).toBe(90);
    expect(selfSegmentPairs(0, 0)).toBe(0);
  });

  test('a view that repeats rows scales every count', () => {
    expect(scaledToRows({ rows: 10, coordinates: 55 }, 1_000)).toEqual({
      rows: 1_000,
      coordinates: 5_500,
    });
    expect(scaledToRows({}, 3)).toEqual({ rows: 3 });
  });

  test('output and temporary bytes may take half of free memory', () => {
    const counts = { outputBytes: 300, temporaryBytes: 200 };
    expect(fitsFreeMemory(counts, 1_000)).toBe(true);
    expect(fitsFreeMemory(counts, 999)).toBe(false);
    expect(fitsFreeMemory(counts, 999, 0.6)).toBe(true);
  });
});

describe('admitUnits', () => {
  test('1,000 bytes for 100 units with 600 bytes left admits 60 units of 10 bytes', () => {
    expect(admitUnits(1_000, 100, 600)).toEqual({ admitted: false, bytesPerUnit: 10, units: 60 });
  });

  test('what fits is admitted whole', () => {
    expect(admitUnits(1_000, 100, 1_000)).toEqual({ admitted: true, bytesPerUnit: 10, units: 100 });
  });
});
