// The GPU part of a snapshot: the worker's GPUs with NVML's metrics, through the real child process and
// a fake library; ages and sharing with a reader that counts.
import { describe, expect, test } from 'vitest';
import { canonicalJson } from '../../../core/index.ts';
import {
  MACHINE,
  createHostProbe,
  type HostProbeOptions,
  type NvmlReader,
  type NvmlReading,
} from '../../../telemetry/probes/index.ts';
import type { DeviceSnapshot, TelemetrySnapshot } from '../../../telemetry/index.ts';
import {
  GIB,
  UUID_A,
  UUID_B,
  fakeNvml,
  gpuLines,
  gpuState,
  readerOf,
  untilRead,
} from './fake-nvml.ts';

const A = gpuState({ resident: ['0123456789abcdef-half-open-first'] });
const B = gpuState({ uuid: UUID_B, pciBusId: '0000:af:00.0', slotsBusy: 1 });
const METRICS = { powerWatts: 412, clockEvents: ['sw-power-cap'], eccErrors: 0, pcieGeneration: 5 };

const read = (
  lines: readonly string[],
  options: Omit<HostProbeOptions, 'host'>,
): Promise<TelemetrySnapshot> =>
  createHostProbe({ host: 'h', nvml: readerOf(fakeNvml(lines)), ...options }).read();

const gpusOf = ({ devices }: TelemetrySnapshot): readonly DeviceSnapshot[] =>
  devices.filter(({ kind }) => kind === 'gpu');

describe('a GPU of the worker', () => {
  test('appears with what the worker knows and what NVML reads', async () => {
    const found = await read([...gpuLines(UUID_B), ...gpuLines(UUID_A)], { gpus: () => [A, B] });
    expect(found).toMatchObject({ backend: 'nvml', reason: null });
    expect(found.devices.map(({ deviceId }) => deviceId)).toEqual(['cpu', UUID_A, UUID_B]);
    expect(gpusOf(found)[0]).toEqual({
      deviceId: UUID_A,
      kind: 'gpu',
      name: 'NVIDIA H200',
      deviceClass: 'gpu-sm90',
      utilizationPct: 63,
      memTotalBytes: 140 * GIB,
      memFreeBytes: 100 * GIB,
      fp64Ratio: 0.5,
      temperatureC: 45,
      throttled: false,
      slotsBusy: 0,
      slots: 2,
      quarantine: null,
      gpu: { ...METRICS, resident: A.resident },
    });
    expect(gpusOf(found)[1]).toMatchObject({ slotsBusy: 1, gpu: { ...METRICS, resident: [] } });
  });

  test('appears without metrics where NVML does not know it, and others of the host do not', async () => {
    const found = await read(gpuLines(UUID_B), { gpus: () => [A] });
    expect(found.backend).toBe('nvml');
    expect(gpusOf(found)).toHaveLength(1);
    expect(gpusOf(found)[0]).toMatchObject({
      ...{ deviceId: UUID_A, memTotalBytes: 139 * GIB, memFreeBytes: null, throttled: null },
      gpu: { powerWatts: null, resident: A.resident, unread: { all: 'not-found' } },
    });
  });

  test.each([
    ['0x8', true],
    ['0x40', true],
    ['0x80', true],
    ['0x48', true],
    ['0x4', false],
    ['0x1', false],
    ['0x20', false],
    ['0', false],
    [null, null],
  ])('with the clock events %s is throttled: %s', async (clocks, throttled) => {
    const [gpu] = gpusOf(await read(gpuLines(UUID_A, { clocks }), { gpus: () => [A] }));
    expect(gpu?.throttled).toBe(throttled);
  });

  test('tells of a missing metric why, and of nothing else', async () => {
    const lines = gpuLines(UUID_A, { ecc: null, pcie: null });
    const [gpu] = gpusOf(await read(lines, { gpus: () => [A] }));
    expect(gpu?.gpu).toEqual({
      ...METRICS,
      ...{ eccErrors: null, pcieGeneration: null, resident: A.resident },
      unread: { eccErrors: 'not-supported', pcieGeneration: 'not-supported' },
    });
  });

  test.each([
    [15, 'DEVICE_LOST: NVML says that the GPU is lost'],
    [16, 'DEVICE_LOST: NVML says that the GPU needs a reset'],
  ])('that fails with %i is out of service, the other one is not', async (status, quarantine) => {
    const lines = [
      ...[...gpuLines(UUID_A), ...gpuLines(UUID_B)],
      `fail ${UUID_A} nvmlDeviceGetPowerUsage ${String(status)}`,
    ];
    const gpus = gpusOf(await read(lines, { gpus: () => [A, B] }));
    expect(gpus.map((gpu) => gpu.quarantine)).toEqual([quarantine, null]);
    expect(gpus[1]).toMatchObject({ utilizationPct: 63 });
    const state = { ...A, quarantine: 'IMAGE_UNUSABLE: no image for this device' };
    expect(gpusOf(await read(lines, { gpus: () => [state] }))[0]?.quarantine).toBe(
      state.quarantine,
    );
  });

  test('stays in service where NVML says only that some GPU of the host is lost', async () => {
    const lookUps = ['nvmlDeviceGetHandleByUUID', 'nvmlDeviceGetHandleByPciBusId_v2'];
    const lines = [...gpuLines(UUID_A), ...lookUps.map((name) => `fail ${UUID_A} ${name} 15`)];
    const [gpu] = gpusOf(await read(lines, { gpus: () => [A] }));
    expect(gpu).toMatchObject({ quarantine: null, gpu: { unread: { all: 'some-gpu-lost' } } });
  });

  test('of a driver that hangs has no metrics, and the snapshot says why', async () => {
    const fake = fakeNvml(gpuLines(UUID_A));
    const nvml = readerOf(fake, { readMs: 2_000, restartMs: 3_600_000 });
    await untilRead(nvml, [A]);
    const now = { ms: 1_000_000 };
    const environment = { ...MACHINE, nowMs: () => now.ms };
    const probe = createHostProbe({ host: 'h', nvml, environment, gpus: () => [A] });
    expect((await probe.read()).backend).toBe('nvml');
    fake.set([...gpuLines(UUID_A), 'hang nvmlDeviceGetUtilizationRates']);
    now.ms += 5_000;
    const found = await probe.read();
    expect(found).toMatchObject({
      ...{ backend: 'unavailable', reason: 'NVML did not answer within 2000 ms' },
      ...{ takenAt: now.ms, ageMs: 0 },
    });
    expect(gpusOf(found)[0]).toMatchObject({
      ...{ quarantine: null, utilizationPct: null, slots: 2, memTotalBytes: 139 * GIB },
      gpu: { resident: A.resident, unread: { all: 'timeout' } },
    });
  });

  test('without the library is still there, and the snapshot names the library', async () => {
    const environment = { ...process.env, TILELOOM_NVML: '/nowhere/libnvidia-ml.so.1' };
    const nvml = readerOf(fakeNvml([]), { environment });
    const found = await createHostProbe({ host: 'h', nvml, gpus: () => [A] }).read();
    expect(found).toMatchObject({
      backend: 'unavailable',
      reason: 'no /nowhere/libnvidia-ml.so.1 on this host (TILELOOM_NVML)',
    });
    expect(gpusOf(found)[0]?.gpu?.unread).toEqual({ all: 'unavailable' });
  });
});

describe('where CUDA finds no GPU', () => {
  const gpuProblem = 'DEVICE_MISSING: CUDA driver fails with 100 NO_DEVICE';

  test('those of NVML are shown out of service, with the reason', async () => {
    const lines = [...gpuLines(UUID_A), ...gpuLines(UUID_B, { capability: null })];
    const found = await read(lines, { gpus: () => [], gpuProblem });
    expect(found).toMatchObject({ backend: 'nvml', reason: null });
    expect(gpusOf(found)).toMatchObject([
      { deviceId: UUID_A, deviceClass: 'gpu-sm90', quarantine: gpuProblem, utilizationPct: 63 },
      { deviceId: UUID_B, deviceClass: 'gpu', quarantine: gpuProblem },
    ]);
  });

  test('and no NVML either, both are said', async () => {
    const environment = { ...process.env, TILELOOM_NVML: '/nowhere/nvml.so' };
    const nvml = readerOf(fakeNvml([]), { environment });
    const found = await createHostProbe({ host: 'h', nvml, gpuProblem }).read();
    expect(found).toMatchObject({
      backend: 'unavailable',
      reason: `${gpuProblem}; no /nowhere/nvml.so on this host (TILELOOM_NVML)`,
    });
    expect(gpusOf(found)).toEqual([]);
  });

  test('and nothing speaks of one, NVML is not asked', async () => {
    const nvml = countingReader();
    const found = await createHostProbe({ host: 'h', nvml, gpus: () => [] }).read();
    expect(found.backend).toBe('unavailable');
    expect(found.reason).toMatch(/libnvidia-ml/u);
    expect(nvml.asked).toEqual([]);
  });
});

interface CountingReader extends NvmlReader {
  readonly asked: (readonly string[] | null)[];
  closed: boolean;
}

function countingReader(
  answer: () => Promise<NvmlReading> = async () => ({ kind: 'read', devices: [] }),
): CountingReader {
  const asked: (readonly string[] | null)[] = [];
  return {
    asked,
    closed: false,
    read(devices) {
      asked.push(devices?.map(({ uuid }) => uuid) ?? null);
      return answer();
    },
    close() {
      this.closed = true;
    },
  };
}

describe('a reading of NVML', () => {
  const clock = (): { ms: number } & { environment: typeof MACHINE } => {
    const now = { ms: 1_000_000, environment: MACHINE };
    now.environment = { ...MACHINE, nowMs: () => now.ms };
    return now;
  };

  test('serves snapshots for less than a second, which tell its age', async () => {
    const now = clock();
    const nvml = countingReader();
    const gpus = () => [A];
    const probe = createHostProbe({ host: 'h', nvml, gpus, environment: now.environment });
    expect(await probe.read()).toMatchObject({ takenAt: 1_000_000, ageMs: 0 });
    now.ms += 999;
    expect(await probe.read()).toMatchObject({ takenAt: 1_000_000, ageMs: 999 });
    expect(nvml.asked).toHaveLength(1);
    now.ms += 1;
    expect(await probe.read()).toMatchObject({ takenAt: 1_001_000, ageMs: 0 });
    expect(nvml.asked).toHaveLength(2);
    now.ms -= 60_000;
    expect(await probe.read()).toMatchObject({ takenAt: 941_000, ageMs: 0 });
    expect(nvml.asked).toHaveLength(3);
  });

  test('that takes long is as old as its beginning', async () => {
    const now = clock();
    const nvml = countingReader(async () => {
      now.ms += 700;
      return { kind: 'read', devices: [] };
    });
    const gpus = () => [A];
    const probe = createHostProbe({ host: 'h', nvml, gpus, environment: now.environment });
    expect(await probe.read()).toMatchObject({ takenAt: 1_000_000, ageMs: 700 });
  });

  test('is shared by snapshots taken at once, and asked anew for other devices', async () => {
    const now = clock();
    const nvml = countingReader();
    let gpus = [A];
    const probe = createHostProbe({
      ...{ host: 'h', nvml, environment: now.environment },
      gpus: () => gpus,
    });
    await Promise.all([probe.read(), probe.read(), probe.read()]);
    expect(nvml.asked).toEqual([[UUID_A]]);
    gpus = [A, B];
    await probe.read();
    expect(nvml.asked).toEqual([[UUID_A], [UUID_A, UUID_B]]);
  });

  test('is never taken unless a snapshot is', async () => {
    const nvml = countingReader();
    const probe = createHostProbe({ host: 'h', nvml, gpus: () => [A], gpuProblem: 'x' });
    probe.readHost();
    expect(nvml.asked).toEqual([]);
    probe.close();
    expect(nvml.closed).toBe(true);
  });

  test('does not delay what the worker itself knows', async () => {
    const state = { ...A };
    const nvml = countingReader(async () => {
      Object.assign(state, { quarantine: 'DEVICE_LOST: during a chunk', slotsBusy: 2 });
      return { kind: 'read', devices: [] };
    });
    const found = await createHostProbe({ host: 'h', nvml, gpus: () => [state] }).read();
    expect(gpusOf(found)[0]).toMatchObject({
      ...{ quarantine: 'DEVICE_LOST: during a chunk', slotsBusy: 2 },
      gpu: { unread: { all: 'not-read' } },
    });
  });
});

describe('size', () => {
  test('a GPU adds 450 bytes at most, with one layer on it and long names', async () => {
    const name = 'NVIDIA H200 NVL 141GB HBM3e with a name that goes on';
    const gpus = [A, B].map((gpu) => ({ ...gpu, name, resident: A.resident }));
    const found = await read([...gpuLines(UUID_A), ...gpuLines(UUID_B)], { gpus: () => gpus });
    const bytes =
      canonicalJson(found).length -
      canonicalJson({ ...found, devices: found.devices.slice(0, 1) }).length;
    expect(bytes / 2).toBeLessThanOrEqual(450);
  });

  test('long texts and many layers are cut', async () => {
    const state = gpuState({
      quarantine: `DEVICE_FAILED: ${'x'.repeat(5_000)}`,
      resident: Array.from({ length: 40 }, (_, index) => `layer-${String(index)}`),
    });
    const [gpu] = gpusOf(await read(gpuLines(UUID_A), { gpus: () => [state] }));
    expect(gpu?.gpu?.resident).toHaveLength(4);
    expect(gpu?.quarantine).toHaveLength(200);
  });
});
