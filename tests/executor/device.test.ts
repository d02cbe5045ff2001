import { describe, expect, test, vi } from 'vitest';
import { wantedBatchRows } from '../../executor/batches.ts';
import { DeviceHealth } from '../../executor/device-health.ts';
import { DeviceWork, openGpu } from '../../executor/device.ts';
import type { FromExecutor } from '../../executor/protocol.ts';
import { Residency } from '../../executor/residency.ts';
import { WorkClock, type WorkShare } from '../../executor/work-clock.ts';
import type { DeviceLibrary, OpenDevice } from '../../native/index.ts';

const noWork = (): WorkShare => ({ calls: 0, seconds: 0 });

describe('WorkClock', () => {
  test('gives a chunk that is alone the wall time, however many calls it has in flight', () => {
    let now = 5_000;
    const clock = new WorkClock(() => now);
    const share = noWork();
    const ends = [clock.begin(share)];
    now += 1_000;
    ends.push(clock.begin(share), clock.begin(share));
    now += 2_000;
    for (const end of ends) end();
    now += 7_000;
    clock.begin(share)();
    expect(share).toEqual({ calls: 0, seconds: 3 });
  });

  test('divides by calls in flight, and the shares add up to the time the device was busy', () => {
    let now = 0;
    const clock = new WorkClock(() => now);
    const [one, other] = [noWork(), noWork()];
    const ends = [clock.begin(one), clock.begin(one)];
    now += 1_000;
    ends.push(clock.begin(other));
    now += 3_000;
    ends[0]?.();
    ends[0]?.();
    ends[1]?.();
    now += 1_000;
    ends[2]?.();
    expect(one.seconds).toBeCloseTo(1 + 2, 9);
    expect(other.seconds).toBeCloseTo(1 + 1, 9);
    expect(one.seconds + other.seconds).toBeCloseTo(5, 9);
  });
});

describe('Residency', () => {
  test('names layers while the device holds as many indexes', () => {
    const residency = new Residency();
    residency.use('a')();
    residency.use('b')();
    expect(residency.layers(2)).toEqual(['a', 'b']);
    residency.use('a')();
    expect(residency.layers(2)).toEqual(['b', 'a']);
  });

  test('forgets what was used longest ago and no chunk needs when the device holds fewer', () => {
    const residency = new Residency();
    const release = residency.use('a');
    residency.use('b')();
    residency.use('c')();
    expect(residency.layers(2)).toEqual(['a', 'c']);
    release();
    expect(residency.layers(1)).toEqual(['c']);
    expect(residency.layers(0)).toEqual([]);
  });
});

describe('DeviceHealth', () => {
  test('counts only losses within the window', () => {
    vi.useFakeTimers({ now: 0, toFake: ['Date'] });
    let now = 0;
    const health = new DeviceHealth({ now: () => now });
    for (const at of [0, 1, 600_001]) {
      now = at;
      health.lost('DEVICE_LOST');
      expect(health.quarantine).toBeNull();
    }
    now += 1;
    health.lost('DEVICE_LOST');
    expect(health.quarantine).toBeNull();
    health.lost('DEVICE_LOST');
    expect(health.quarantine).toBe(
      'DEVICE_LOST: lost 3 times within 10 minutes; out of service until 1970-01-01T00:10:00.000Z',
    );
    expect(health.mayOpen).toBe(false);
    // The wall clock is for the text alone: setting it back by a day prolongs nothing.
    vi.setSystemTime(-86_400_000);
    now += 600_000;
    expect([health.quarantine, health.mayOpen]).toEqual([null, true]);
    vi.useRealTimers();
  });

  test('stays refused until the device was opened, and keeps its text short', () => {
    const health = new DeviceHealth({ now: () => 0 });
    expect([health.quarantine, health.mayOpen]).toEqual([null, true]);
    health.refused('IMAGE_UNUSABLE', 'x'.repeat(1_000));
    expect(health.quarantine?.length).toBe(160);
    expect(health.mayOpen).toBe(false);
    health.opened();
    expect([health.quarantine, health.mayOpen]).toEqual([null, true]);
  });
});

describe('wantedBatchRows', () => {
  const size = { rows: 100_000_000, tileRowsMax: 65_536, slots: 3, hasOutput: false, arena: null };

  test('fills an arena once on a GPU', () => {
    const bytes = 256 * 1024 ** 2;
    const rows = wantedBatchRows({ ...size, arena: { bytes, columns: 3 } });
    expect(rows).toBeGreaterThan(65_536);
    expect(rows * 3 * 16).toBeLessThanOrEqual(bytes);
  });

  test('cuts a small chunk so that every slot has four calls', () => {
    expect(wantedBatchRows({ ...size, rows: 1_200_000, arena: { bytes: 1e9, columns: 3 } })).toBe(
      100_000,
    );
  });

  test('is never less than the largest tile, nor nothing', () => {
    expect(wantedBatchRows({ ...size, arena: { bytes: 65_536, columns: 66 } })).toBe(65_536);
    expect(wantedBatchRows({ ...size, rows: 0, tileRowsMax: 0 })).toBe(1);
  });
});

describe('DeviceWork', () => {
  test('tells which layers are resident only when that has changed', () => {
    const told: string[] = [];
    let residentIndexes = 0;
    const device = { info: {}, statistics: () => ({ residentIndexes }) } as unknown as OpenDevice;
    const send = (message: FromExecutor): void => {
      if (message.kind === 'resident') told.push(message.layers.join(' '));
    };
    const work = new DeviceWork({ device, send, jobs: () => [] });
    work.chunkOpened(null)();
    expect(told).toEqual([]);
    residentIndexes = 1;
    for (let chunk = 0; chunk < 3; chunk += 1) work.chunkOpened('one')();
    expect(told).toEqual(['one']);
    residentIndexes = 2;
    work.chunkOpened('two')();
    residentIndexes = 1;
    work.chunkOpened(null)();
    residentIndexes = 0;
    work.chunkOpened(null)();
    expect(told).toEqual(['one', 'one two', 'two', '']);
  });
});

describe('openGpu', () => {
  test('refuses a library of other kernel sources before it touches a device', () => {
    const library = {
      path: '/lib/other.so',
      sourcesDigest: 'f'.repeat(32),
      openDevice: () => {
        throw new Error('opened');
      },
    } as unknown as DeviceLibrary;
    const gpu = { ordinal: 0, uuid: 'GPU-1', memoryBytesMax: null, imagesDir: '/tmp' };
    expect(() => openGpu(library, gpu, 3, '0'.repeat(32))).toThrow(
      /library \/lib\/other.so was built from other kernel sources.*expected digest 0{12}, got f{12}/u,
    );
  });
});
