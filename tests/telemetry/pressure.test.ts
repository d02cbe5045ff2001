import { describe, expect, test } from 'vitest';
import {
  agedSnapshot,
  deviceMemoryUsedPct,
  hostMemoryUsedPct,
  isUnderutilized,
  withoutMetrics,
} from '../../telemetry/index.ts';
import { CPU, GPU, GPU_SNAPSHOT, SNAPSHOT } from '../planner/fixtures.ts';

const GPU_METRICS = {
  powerWatts: 400,
  clockEvents: ['idle'],
  eccErrors: 2,
  pcieGeneration: 5,
  resident: ['layer'],
};

describe('missing is not zero', () => {
  test.each([
    [39, true],
    [40, false],
    [0, true],
    [null, false],
  ])('a device %s %% busy is under-utilised: %s', (utilizationPct, expected) => {
    expect(isUnderutilized({ ...CPU, utilizationPct }, 40)).toBe(expected);
  });

  test.each([
    [100, 25, 75],
    [100, 0, 100],
    [100, 500, 0],
    [100, null, null],
    [null, 5, null],
    [0, 0, null],
  ])('of %s bytes with %s free %s %% are used', (total, free, expected) => {
    expect(deviceMemoryUsedPct({ ...CPU, memTotalBytes: total, memFreeBytes: free })).toBe(
      expected,
    );
    const host = { ...SNAPSHOT, memLimitBytes: total, memAvailableBytes: free };
    expect(hostMemoryUsedPct(host)).toBe(expected);
  });

  test('without its metrics a GPU has none, and no reasons for it', () => {
    const gpu = { ...GPU, gpu: { ...GPU_METRICS, unread: { temperatureC: 'timeout' } } };
    const [, bare] = withoutMetrics({ ...GPU_SNAPSHOT, devices: [CPU, gpu] }).devices;
    expect(bare?.gpu).toEqual({
      powerWatts: null,
      clockEvents: null,
      eccErrors: null,
      pcieGeneration: null,
      resident: [],
    });
    expect(withoutMetrics(SNAPSHOT).devices[0]).not.toHaveProperty('gpu');
  });

  test('without its metrics a snapshot keeps what does not change', () => {
    const bare = withoutMetrics(SNAPSHOT);
    expect(bare).toMatchObject({
      cores: 2,
      isa: SNAPSHOT.isa,
      load1: null,
      memAvailableBytes: null,
    });
    expect(bare.devices[0]).toMatchObject({
      deviceClass: 'cpu-avx2',
      memTotalBytes: CPU.memTotalBytes,
      memFreeBytes: null,
      utilizationPct: null,
      slotsBusy: null,
    });
  });

  test('a snapshot ages with the clock, never below zero', () => {
    expect(agedSnapshot(SNAPSHOT, SNAPSHOT.takenAt + 1_500).ageMs).toBe(1_500);
    expect(agedSnapshot(SNAPSHOT, SNAPSHOT.takenAt - 1).ageMs).toBe(0);
  });
});
