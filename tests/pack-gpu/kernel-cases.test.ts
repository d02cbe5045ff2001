// Clocks of a busy device: nvidia-smi is asked while kernels run, not before and not after.
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Bench, Dataset, Scale } from '../../bench/gpu/bench-case.ts';
import { datasetsOf } from '../../bench/gpu/datasets.ts';
import { openDevice, openLibraries } from '../../bench/gpu/device.ts';
import { busyClocks } from '../../bench/gpu/kernel-cases.ts';
import { findPlace } from '../../bench/gpu/place.ts';
import { fakeGpus, type FakeGpus } from '../native/helpers/fake-gpu.ts';

const ROWS = 1_000;
const LAUNCH_MS = 20;
const SCALE: Scale = {
  ...{ rows: ROWS, tileRows: ROWS, largeTileRows: ROWS, copyBytes: 1, shapeRows: [] },
  ...{ slotBytes: 1 << 23, productSlotBytes: null, kernelRuns: 1, chunkRuns: 1, busySeconds: 0.4 },
};

const folder = mkdtempSync(join(tmpdir(), 'tileloom-busy-'));
const asked = join(folder, 'asked.txt');
const path = process.env['PATH'] ?? '';
let gpu: FakeGpus;
let leave: () => void;
beforeAll(() => {
  gpu = fakeGpus({
    devices: [{ memoryBytes: 2 ** 31 }],
    lines: [`delay cuLaunchKernel ${LAUNCH_MS}`],
  });
  leave = gpu.enter();
  const program = join(folder, 'nvidia-smi');
  const body = `echo asked >> ${asked}\necho "1755, 2619, 1980, 2619, 412.70, 41"`;
  writeFileSync(program, `#!/bin/sh\n${body}\n`);
  chmodSync(program, 0o755);
  process.env['PATH'] = `${folder}${delimiter}${path}`;
});
afterAll(() => {
  process.env['PATH'] = path;
  leave();
  gpu.remove();
  rmSync(folder, { recursive: true, force: true });
});

test('the clocks of a busy device are read again and again while its kernels run', async () => {
  const place = findPlace();
  const libraries = openLibraries(place);
  const first = await datasetsOf(place, libraries, 'counties', folder, SCALE).next();
  const device = openDevice(libraries, { ordinal: 0, slots: 1, slotBytes: SCALE.slotBytes });
  try {
    const ceilings = { deviceBytesPerSecond: 1, uploadBytesPerSecond: 1 };
    const facts = { libraries, ordinal: 0, cores: 1, scale: SCALE, ceilings };
    const bench: Bench = { ...facts, device: device.info };
    const { load, clocks } = await busyClocks(bench, first.value as Dataset);
    expect(load).toBe('resident assign + aggregate, cuda-grid-fp64, counties, random');
    expect(clocks).toMatchObject({ smMhz: 1755, powerWatts: 412.7 });
    const times = readFileSync(asked, 'utf8').trim().split('\n').length;
    expect(times).toBeGreaterThan(1);
  } finally {
    device.close();
  }
});
