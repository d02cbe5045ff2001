// What nvidia-smi is asked, in front of programs that stand for it.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  clocksDuring,
  readClocks,
  readDriverRelease,
  type ClockReading,
} from '../../bench/gpu/nvidia-smi.ts';

const UUID = 'GPU-00000000-0000-4000-8000-000000000001';
let folder = '';
let path: string | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tileloom-smi-'));
  path = process.env['PATH'];
  process.env['PATH'] = folder;
});
afterEach(() => {
  process.env['PATH'] = path;
  rmSync(folder, { recursive: true, force: true });
});

function answer(body: string): void {
  const file = join(folder, 'nvidia-smi');
  writeFileSync(file, `#!/bin/sh\n${body}\n`);
  chmodSync(file, 0o755);
}

describe('readClocks', () => {
  test('asks for one device, and keeps null for what is not told', async () => {
    answer(`[ "$4" = ${UUID} ] && echo "1755, 2619, 1980, 2619, 412.70, [N/A]"`);
    expect(await readClocks(UUID)).toEqual({
      ...{ smMhz: 1755, memoryMhz: 2619, smMhzMax: 1980, memoryMhzMax: 2619 },
      ...{ powerWatts: 412.7, temperatureC: null },
    });
  });

  test('gives the reason where nothing is told', async () => {
    expect(await readClocks(UUID)).toEqual({ unread: 'nvidia-smi: is not on PATH' });
    answer('echo "No devices were found"; exit 6');
    expect(await readClocks(UUID)).toEqual({ unread: 'nvidia-smi: No devices were found' });
  });
});

describe('readDriverRelease', () => {
  test('is the release, or null with the reason', async () => {
    answer('echo 580.65.06');
    expect(await readDriverRelease(UUID)).toEqual({ release: '580.65.06' });
    answer('echo "[Not Supported]"');
    const unread = 'nvidia-smi told "[Not Supported]"';
    expect(await readDriverRelease(UUID)).toEqual({ release: null, unread });
    rmSync(join(folder, 'nvidia-smi'));
    const missing = 'nvidia-smi: is not on PATH';
    expect(await readDriverRelease(UUID)).toEqual({ release: null, unread: missing });
  });
});

describe('clocksDuring', () => {
  const reading = (smMhz: number): ClockReading => ({
    ...{ smMhz, memoryMhz: null, smMhzMax: null, memoryMhzMax: null },
    ...{ powerWatts: null, temperatureC: null },
  });

  test('is the last reading that was complete before the work was', async () => {
    const { promise: work, resolve: finish } = signal();
    let reads = 0;
    const clocks = await clocksDuring(work, async () => {
      reads += 1;
      // The fourth is under way when the work ends: its clocks may be those of an idle device.
      if (reads === 4) finish();
      await new Promise((resolve) => setTimeout(resolve, 1));
      return reading(reads);
    });
    expect(clocks).toEqual(reading(3));
    expect(reads).toBe(4);
  });

  test('says so where the work was done first', async () => {
    const clocks = await clocksDuring(Promise.resolve(), async () => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      return reading(1);
    });
    expect(clocks).toEqual({ unread: 'the work was done before a reading was' });
  });

  test('does not ask again what cannot be read', async () => {
    const { promise: work, resolve: finish } = signal();
    let reads = 0;
    const clocks = clocksDuring(work, () => {
      reads += 1;
      return Promise.resolve({ unread: 'nvidia-smi: is not on PATH' });
    });
    setTimeout(finish, 20);
    expect(await clocks).toEqual({ unread: 'nvidia-smi: is not on PATH' });
    expect(reads).toBe(1);
  });

  test('fails as the work does', async () => {
    const work = Promise.reject(new Error('the device is lost'));
    const clocks = clocksDuring(work, () => Promise.resolve(reading(1)));
    await expect(clocks).rejects.toThrow('the device is lost');
  });
});

function signal(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
