import { describe, expect, test } from 'vitest';
import { PlannedWork } from '../../activities/index.ts';

describe('PlannedWork', () => {
  test('counts a planned chunk until it begins, one a lease', () => {
    const work = new PlannedWork(() => 0);
    work.planned('one', 'GPU-1');
    work.planned('two', 'GPU-1');
    work.planned('two', 'GPU-2');
    expect([work.count('GPU-1'), work.count('GPU-2'), work.count('cpu')]).toEqual([1, 1, 0]);
    work.ended('one');
    work.planned('two', null);
    expect([work.count('GPU-1'), work.count('GPU-2')]).toEqual([0, 0]);
  });

  test('forgets a chunk that never came', () => {
    let now = 0;
    const work = new PlannedWork(() => now);
    work.planned('one', 'GPU-1');
    now = 4_999;
    expect(work.count('GPU-1')).toBe(1);
    now = 5_000;
    expect(work.count('GPU-1')).toBe(0);
  });
});
