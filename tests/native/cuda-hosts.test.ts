// Hosts on which the CUDA library cannot work: it loads anyway, says exactly what is missing, and its
// CPU variants run.
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { NativeError, openDeviceLibrary } from '../../native/index.ts';
import { copyWithout, driverSymbols } from './helpers/driver-symbols.ts';
import { fakeGpus, type FakeGpuOptions, type FakeGpus } from './helpers/fake-gpu.ts';
import { CPU_SYMBOL, GPU_SYMBOL, GpuBench } from './helpers/gpu-chunks.ts';
import { nastyLayers } from './helpers/nasty.ts';

const library = openDeviceLibrary();
const VISIBLE = 'CUDA_VISIBLE_DEVICES';
let cleanUp: (() => void)[] = [];

afterEach(() => {
  for (const step of cleanUp.toReversed()) {
    step();
  }
  cleanUp = [];
});

/** Makes this process believe in fake GPUs until the test ends. */
function host(options: FakeGpuOptions = {}, changes: Record<string, string> = {}): FakeGpus {
  const gpus = fakeGpus(options);
  cleanUp.push(() => gpus.remove(), gpus.enter());
  for (const [name, value] of Object.entries(changes)) {
    const before = process.env[name];
    process.env[name] = value;
    cleanUp.push(() => {
      delete process.env[name];
      Object.assign(process.env, before === undefined ? {} : { [name]: before });
    });
  }
  return gpus;
}

function errorOf(body: () => unknown): NativeError {
  try {
    body();
  } catch (error) {
    expect(error).toBeInstanceOf(NativeError);
    return error as NativeError;
  }
  throw new Error('nothing was thrown');
}

/** What listing and opening say; both must refuse alike. */
function refusal(): NativeError {
  const listed = errorOf(() => library.listDevices());
  const opened = errorOf(() => library.openDevice({ ordinal: 0 }));
  expect(opened.code).toBe(listed.code);
  return listed;
}

/** Lets this process find the fake driver without functions, which is loaded beside others. */
function hide(gpus: FakeGpus, symbols: readonly string[]): void {
  process.env['TILELOOM_CUDA_DRIVER'] = symbols.reduce(
    (whole, symbol, index) =>
      copyWithout(whole, symbol, join(gpus.folder, `driver-${index}-without-${symbol}.so`)),
    gpus.driverPath,
  );
}

/** What a variant of this library answers about points, or its error, and what the CPU library does. */
async function assignOnBoth(symbol: string): Promise<{ expected: unknown; answer: unknown }> {
  const bench = new GpuBench();
  cleanUp.push(() => bench.remove());
  const rules = { boundary: 'half-open', overlap: 'first', wrap: false } as const;
  const [cpuLayer, layer] = await bench.layers(nastyLayers()[0]?.areas ?? [], rules);
  if (layer === undefined || cpuLayer === undefined) {
    throw new Error('the bench gives two layers');
  }
  const x = Float64Array.of(0.5, 3.5, 99);
  const y = Float64Array.of(0.5, 2.5, 99);
  const onCpu = { ...rules, layer: cpuLayer, symbol: CPU_SYMBOL };
  return {
    expected: await bench.cpu.assignPoints(onCpu, x, y),
    answer: await library
      .assignPoints({ ...rules, layer, symbol }, x, y)
      .catch((error: unknown) => error),
  };
}

describe('a host that cannot run CUDA', () => {
  test('has no driver', () => {
    const gpus = host({}, { TILELOOM_CUDA_DRIVER: '/nowhere/libcuda.so' });
    expect(gpus.devices).toHaveLength(1);
    const { code, message } = refusal();
    expect(code).toBe('DEVICE_MISSING');
    expect(message).toContain('has no driver: expected /nowhere/libcuda.so, got: ');
    expect(message).toContain('install the NVIDIA driver, or run on the CPU');
  });

  test('has a driver without a device', () => {
    host({ devices: 0, imageArchitectures: [90] });
    const { code, message } = refusal();
    expect(code).toBe('DEVICE_MISSING');
    expect(message).toContain('CUDA_ERROR_NO_DEVICE (100)');
  });

  for (const hidden of ['', '-1', 'GPU-ffff', '7,0']) {
    test(`hides every device behind ${VISIBLE}=${JSON.stringify(hidden)}`, () => {
      host({ devices: 2 }, { [VISIBLE]: hidden });
      const { code, message } = refusal();
      expect(code).toBe('DEVICE_MISSING');
      expect(message).toContain(`check ${VISIBLE}`);
    });
  }

  test('has a driver that is too old', () => {
    host({ lines: ['driver 11080'] });
    const { code, message } = refusal();
    expect(code).toBe('DEVICE_MISSING');
    expect(message).toContain('too old: expected at least CUDA 12.0, got 11.8');
  });

  test('has a driver without a function, whichever it is', () => {
    const gpus = host();
    const { required } = driverSymbols();
    expect(required.length).toBeGreaterThan(30);
    expect(new Set(required).size).toBe(required.length);
    for (const missing of required) {
      hide(gpus, [missing]);
      const { code, message } = refusal();
      expect(code, missing).toBe('DEVICE_MISSING');
      expect(message).toContain(`has a driver without ${missing}: ${gpus.folder}`);
    }
  });

  test('has a device that is too old for the kernels: listed, not opened', () => {
    host({ devices: [{ capability: 70 }, {}] });
    expect(library.listDevices().gpus.map((gpu) => gpu.capability)).toEqual([70, 90]);
    const { code, message } = errorOf(() => library.openDevice({ ordinal: 0 }));
    expect(code).toBe('DEVICE_MISSING');
    expect(message).toContain('expected compute capability 7.5, got 7.0');
    library.openDevice({ ordinal: 1 }).close();
  });

  test('has fewer devices than the ordinal says', () => {
    host({ devices: 2 });
    const { code, message } = errorOf(() => library.openDevice({ ordinal: 2 }));
    expect(code).toBe('DEVICE_MISSING');
    expect(message).toContain('has no device 2: the driver knows 2');
  });

  test('has a device that another process holds alone', () => {
    const gpus = host({ lines: ['fail cuDevicePrimaryCtxRetain 46'] });
    const { code, message } = errorOf(() => library.openDevice({ ordinal: 0 }));
    expect(code).toBe('DEVICE_MISSING');
    expect(message).toContain('another process may hold the device alone');
    gpus.control([]);
    library.openDevice({ ordinal: 0 }).close();
  });

  test('has devices behind a switch that is not up yet', () => {
    const gpus = host({ lines: ['fail cuInit 802'] });
    const { code, message } = refusal();
    expect(code).toBe('DEVICE_MISSING');
    expect(message).toContain('wait for nvidia-fabricmanager');
    gpus.control([]);
    expect(library.listDevices().gpus).toHaveLength(1);
  });

  test('has an image for other devices, and no NVRTC', () => {
    host({ imageArchitectures: [75, 80] });
    const { code, message } = errorOf(() => library.openDevice({ ordinal: 0 }));
    expect(code).toBe('IMAGE_UNUSABLE');
    expect(message).toContain('no kernels for sm_90');
    expect(message).toContain('(209)');
  });

  test('still runs the variants of the CPU, and says that no device is open', async () => {
    host({}, { TILELOOM_CUDA_DRIVER: '/nowhere/libcuda.so' });
    const { expected, answer } = await assignOnBoth(CPU_SYMBOL);
    expect(answer).toEqual(expected);
    expect((await assignOnBoth(GPU_SYMBOL)).answer).toMatchObject({ code: 'DEVICE_MISSING' });
  });
});

describe('the devices of a host', () => {
  test('are listed as CUDA_VISIBLE_DEVICES orders them', () => {
    const gpus = host({ devices: 3 }, { [VISIBLE]: '' });
    const [first, second, third] = gpus.devices.map((gpu) => gpu.uuid);
    for (const [visible, expected] of [
      ['1', [second]],
      ['2,0', [third, first]],
      [`${third},${first}`, [third, first]],
      ['0,9,1', [first]],
    ] as const) {
      process.env[VISIBLE] = visible;
      expect(library.listDevices().gpus.map((gpu) => gpu.uuid)).toEqual(expected);
    }
    process.env[VISIBLE] = '2';
    const device = library.openDevice({ ordinal: 0 });
    expect(device.info).toMatchObject({ uuid: third, pciBusId: '0000:03:00.0' });
    device.close();
  });

  test('are named by their place on the bus where the driver tells no UUID', () => {
    host({ lines: ['fail cuDeviceGetUuid_v2 1', 'fail cuDeviceTotalMem_v2 1'] });
    expect(library.listDevices().gpus).toMatchObject([
      { uuid: 'GPU-0000:01:00.0', memTotalBytes: null, fp64Ratio: 0.5, multiprocessors: 4 },
    ]);
  });

  test.each([
    [['cuDeviceGetUuid_v2'], { uuid: 'GPU-0000:01:00.0' }],
    [['cuDeviceTotalMem_v2'], { memTotalBytes: null }],
    [
      ['cuDeviceGetUuid_v2', 'cuDeviceTotalMem_v2'],
      { uuid: 'GPU-0000:01:00.0', memTotalBytes: null },
    ],
  ])('are listed and work with a driver that lacks %j', async (lacking, changes) => {
    expect(driverSymbols().optional).toEqual(expect.arrayContaining(lacking));
    const gpus = host();
    const [{ uuid, memoryBytes } = { uuid: '', memoryBytes: 0 }] = gpus.devices;
    hide(gpus, lacking);
    const [gpu, ...more] = library.listDevices().gpus;
    expect(gpu).toMatchObject({ uuid, memTotalBytes: memoryBytes, capability: 90, ...changes });
    expect(more).toEqual([]);
    const device = library.openDevice({ ordinal: 0 });
    cleanUp.push(() => device.close());
    expect(device.info.memTotalBytes).toBe(memoryBytes);
    const { expected, answer } = await assignOnBoth(GPU_SYMBOL);
    expect(answer).toEqual(expected);
    expect(device.statistics().launches).toBeGreaterThan(0);
  });

  test('are listed, all but one, when one does not answer', () => {
    const gpus = host({ devices: 3 });
    const [first, second, third] = gpus.devices.map((gpu) => gpu.uuid);
    gpus.control([`fail cuDeviceGetAttribute 999 device ${second}`]);
    expect(library.listDevices().gpus).toMatchObject([
      { uuid: first, capability: 90 },
      { uuid: 'GPU-1', capability: 0, name: 'device that does not answer' },
      { uuid: third, capability: 90 },
    ]);
    expect(errorOf(() => library.openDevice({ ordinal: 1 })).code).toBe('DEVICE_FAILED');
    const other = library.openDevice({ ordinal: 2 });
    expect(other.info.uuid).toBe(third);
    other.close();
  });
});
