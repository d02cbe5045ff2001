// What a GPU record is, that none can be made of a fake, and what counts as checked.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { guarded, isGood, type Check } from '../../bench/gpu/check.ts';
import { ratesOf, samplesOf } from '../../bench/gpu/samples.ts';
import { writeGpuRecord, type GpuRecord } from '../../bench/gpu/record.ts';
import { NativeError } from '../../native/index.ts';
import { fakeGpus } from '../native/helpers/fake-gpu.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tileloom-record-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const RECORD = {
  schema: 'tileloom.bench-gpu/1',
  date: '2026-01-31',
  device: { name: 'Example X1 (80 GB)' },
} as unknown as GpuRecord;

describe('writeGpuRecord', () => {
  test('names folder and file after device and date', () => {
    const file = writeGpuRecord(folder, RECORD);
    expect(file).toBe(join(folder, 'example-x1-80-gb', '2026-01-31-gpu.json'));
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(RECORD);
  });

  test.each(['Fake GPU 0', 'a fake', 'NVIDIA FAKE'])('refuses the device %s', (name) => {
    const record = { ...RECORD, device: { ...RECORD.device, name } };
    expect(() => writeGpuRecord(folder, record)).toThrow('no record is written');
    expect(readdirSync(folder)).toEqual([]);
  });

  test('refuses the fake driver under any name of a device', () => {
    const gpu = fakeGpus();
    const leave = gpu.enter();
    try {
      expect(() => writeGpuRecord(folder, RECORD)).toThrow('is the fake of the tests');
      expect(readdirSync(folder)).toEqual([]);
    } finally {
      leave();
      gpu.remove();
    }
  });
});

describe('samples', () => {
  test('are the median with the least and the greatest', () => {
    expect(samplesOf([3, 1, 2])).toEqual({ runs: 3, median: 2, min: 1, max: 3 });
    expect(ratesOf(10, [1, 2, 5])).toEqual({ runs: 3, median: 5, min: 2, max: 10 });
  });
});

describe('a check', () => {
  const check: Check = {
    ...{ check: 'corpus', subject: 'assign/x@1', seconds: 1, notes: [] },
    ...{ compared: 5, failed: 0 },
  };

  test('is good when it compared something and found no difference', () => {
    expect(isGood(check)).toBe(true);
    expect(isGood({ ...check, failed: 1 })).toBe(false);
    expect(isGood({ ...check, compared: 0 })).toBe(false);
    expect(isGood({ ...check, check: 'waiting', compared: 0 })).toBe(true);
    expect(isGood({ ...check, check: 'waiting', failed: 1 })).toBe(false);
  });

  test('fails with the text of what the device answers', async () => {
    const lost = await guarded('layer', 'counties', () =>
      Promise.reject(new NativeError('DEVICE_LOST', 'device 0 is lost')),
    );
    expect(lost).toMatchObject({
      compared: 0,
      failed: 1,
      notes: ['DEVICE_LOST: device 0 is lost'],
    });
    expect(isGood(lost)).toBe(false);
  });

  test('does not hide a fault of its own', async () => {
    const broken = guarded('layer', 'counties', () => Promise.reject(new TypeError('x is not y')));
    await expect(broken).rejects.toThrow(TypeError);
  });
});
