import { ChildProcess } from 'node:child_process';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { discoverGpus, inspectGpu } from '../../executor/index.ts';
import { fakeGpus, type FakeGpus } from '../native/helpers/fake-gpu.ts';
import { livingChildren } from './stage.ts';

let fake: FakeGpus | null = null;
let leave: (() => void) | null = null;

afterEach(() => {
  leave?.();
  fake?.remove();
  delete process.env['TILELOOM_CUDA_DRIVER'];
  delete process.env['CUDA_VISIBLE_DEVICES'];
});

function enter(lines: readonly string[] = []): FakeGpus {
  fake = fakeGpus({ devices: 2, lines });
  leave = fake.enter();
  return fake;
}

describe('discoverGpus', () => {
  test('lists the devices of the driver', async () => {
    const { devices } = enter();
    const { gpus, driverVersion, problem, hasDriver } = await discoverGpus();
    expect(gpus.map(({ uuid, name, capability }) => [uuid, name, capability])).toEqual(
      devices.map(({ uuid, name, capability }) => [uuid, name, capability]),
    );
    expect(driverVersion).toMatch(/^\d+\.\d+$/u);
    expect([problem, hasDriver]).toEqual([null, true]);
  });

  test('says what is missing where there is no driver', async () => {
    process.env['TILELOOM_CUDA_DRIVER'] = '/nowhere/libcuda.so.1';
    const { gpus, problem, hasDriver } = await discoverGpus();
    expect([gpus, hasDriver]).toEqual([[], false]);
    expect(problem).toMatch(/^DEVICE_MISSING: .*\/nowhere\/libcuda.so.1/u);
  });

  test('tells a driver that serves no device from none at all', async () => {
    enter(['fail cuInit 100']);
    const { problem, hasDriver } = await discoverGpus();
    expect(problem).toMatch(/^DEVICE_MISSING: /u);
    expect(hasDriver).toBe(true);
  });

  test('gives up on a driver that hangs, and leaves no process', async () => {
    enter(['hang cuInit']);
    const { gpus, problem } = await discoverGpus({ timeoutMs: 1_500 });
    expect(gpus).toEqual([]);
    expect(problem).toBe('DISCOVERY_FAILED: the driver did not answer within 1500 ms');
    expect(livingChildren()).toEqual([]);
  });

  test('gives up on a process that outlives being killed, as one inside its driver does', async () => {
    enter(['hang cuInit']);
    const kill = vi.spyOn(ChildProcess.prototype, 'kill').mockReturnValue(true);
    try {
      const { problem } = await discoverGpus({ timeoutMs: 1_500 });
      expect(problem).toMatch(/^DISCOVERY_FAILED: .* within 1500 ms, and .* cannot be ended$/u);
      expect(kill).toHaveBeenCalledTimes(1);
    } finally {
      kill.mockRestore();
      for (const pid of livingChildren()) process.kill(pid, 'SIGKILL');
    }
  });

  test('quotes little of a driver that says much before it ends', async () => {
    enter([`this line makes the fake driver abort ${'and talk '.repeat(10_000)}`]);
    const { problem } = await discoverGpus();
    expect(problem).toMatch(/ended with SIGABRT: fake libcuda: control file/u);
    expect(problem?.length).toBeLessThan(300);
  });

  test('takes a device that the driver lists twice once', async () => {
    const { devices } = enter();
    process.env['CUDA_VISIBLE_DEVICES'] = '1,0,1';
    const { gpus } = await discoverGpus();
    expect(gpus.map(({ uuid, ordinal }) => [uuid, ordinal])).toEqual([
      [devices[1]?.uuid, 0],
      [devices[0]?.uuid, 1],
    ]);
  });

  test('survives a driver that takes its process down', async () => {
    enter(['this line makes the fake driver abort']);
    const { gpus, problem } = await discoverGpus();
    expect(gpus).toEqual([]);
    expect(problem).toMatch(
      /^DISCOVERY_FAILED: the process that asks the driver ended with SIGABRT/u,
    );
  });
});

describe('inspectGpu', () => {
  test('opens a device once and tells which image it would run', async () => {
    const { devices } = enter();
    const info = await inspectGpu({ ordinal: 1, imagesDir: null });
    expect(info).toMatchObject({ uuid: devices[1]?.uuid, image: 'ahead-of-time' });
    expect(fake?.leaks().every(({ contexts, modules }) => contexts + modules === 0)).toBe(true);
  });

  test('says with a code why a device cannot serve', async () => {
    enter();
    expect(await inspectGpu({ ordinal: 7, imagesDir: null })).toMatch(/^DEVICE_MISSING: /u);
  });
});
