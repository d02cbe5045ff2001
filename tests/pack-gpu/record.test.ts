// What a GPU record is, and that none can be made of a fake.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ratesOf, samplesOf } from '../../bench/gpu/samples.ts';
import { writeGpuRecord, type GpuRecord } from '../../bench/gpu/record.ts';
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
