// What a worker tells the planner of its GPUs, through the probe: with real plans on it.
import { describe, expect, test } from 'vitest';
import type { ExecutorClient } from '../../executor/index.ts';
import { createHostProbe, type NvmlReader } from '../../telemetry/probes/index.ts';
import type { DeviceSnapshot } from '../../telemetry/index.ts';
import { gpuStates, type WorkerDevice } from '../../worker/devices.ts';
import { CPU, GIB, rejectsOf } from '../planner/fixtures.ts';
import { CUDA, measured, onHost } from '../planner/gpu-fixtures.ts';

const UUID = 'GPU-5a1f0c9e-7d3b-4e0a-9a55-0c8f0a9d1d11';

const DEVICE: WorkerDevice = {
  deviceId: UUID,
  deviceClass: 'gpu-sm90',
  executor: { quarantine: null, resident: [] } as unknown as ExecutorClient,
  gpu: {
    ...{ ordinal: 0, uuid: UUID, pciBusId: '0000:3b:00.0', name: 'NVIDIA H200', capability: 90 },
    ...{ multiprocessors: 132, memTotalBytes: 140 * GIB, fp64Ratio: 0.5 },
  },
};

/** A reader that finds the device used by so much. */
function nvmlWith(utilizationPct: number | null): NvmlReader {
  const reading = {
    ...{ uuid: UUID, name: 'NVIDIA H200', deviceClass: 'gpu-sm90', utilizationPct },
    ...{ memTotalBytes: 140 * GIB, memFreeBytes: 100 * GIB, temperatureC: 40, powerWatts: 300 },
    ...{ clockEvents: [], eccErrors: 0, pcieGeneration: 5, unread: {} },
  };
  return {
    read: async () => ({ kind: 'read', devices: [reading] }),
    close: () => undefined,
  };
}

interface Told {
  readonly utilizationPct?: number | null;
  readonly busy?: number;
  readonly memoryBytesMax?: number | null;
}

/** The device as a snapshot of the worker shows it. */
async function toldOf({ utilizationPct = 0, busy = 0, memoryBytesMax = null }: Told) {
  const probe = createHostProbe({
    host: 'h',
    nvml: nvmlWith(utilizationPct),
    gpus: () => gpuStates([DEVICE], () => busy, memoryBytesMax),
  });
  const { devices } = await probe.read();
  return devices.find(({ deviceId }) => deviceId === UUID) as DeviceSnapshot;
}

describe('a GPU of a worker', () => {
  test.each([
    [0, 'gpu'],
    [39.9, 'gpu'],
    [40, 'cpu'],
    [100, 'cpu'],
    [null, 'cpu'],
  ])(
    'that has a chunk and is used by %s percent: the next one goes to the %s',
    async (used, runtime) => {
      // 1.7 times as fast as the CPU: worth waiting for half a chunk, not for a whole one.
      const history = measured({ cpu: 100e6, gpu: 170e6 });
      const busy = await toldOf({ utilizationPct: used, busy: 1 });
      expect(onHost([CPU, busy], { history }).runtime).toBe(runtime);
      const idle = await toldOf({ utilizationPct: used });
      expect(onHost([CPU, idle], { history }).runtime).toBe('gpu');
    },
  );

  test('is not planned for where the worker may not take the memory that the layer needs', async () => {
    const history = measured({ cpu: 100e6, gpu: 900e6 });
    const small = await toldOf({ memoryBytesMax: 64 * 2 ** 20 });
    expect(rejectsOf(onHost([CPU, small], { history }))[CUDA]).toBe('MEMORY_EXCEEDED');
    const large = await toldOf({ memoryBytesMax: 4 * GIB });
    expect(onHost([CPU, large], { history }).variant).toBe(CUDA);
  });
});
