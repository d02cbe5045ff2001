// NVML through the real child process, over a fake library.
import { describe, expect, test } from 'vitest';
import type {
  NvmlDevice,
  NvmlDeviceReading,
  NvmlReading,
} from '../../../telemetry/probes/index.ts';
import {
  GIB,
  UUID_A,
  UUID_B,
  fakeNvml,
  fakeWithout,
  gpuLines,
  readerOf,
  type FakeNvml,
} from './fake-nvml.ts';

const A: NvmlDevice = { uuid: UUID_A, pciBusId: '0000:3b:00.0' };
const B: NvmlDevice = { uuid: UUID_B, pciBusId: '0000:af:00.0' };

const WHOLE: Omit<NvmlDeviceReading, 'uuid'> = {
  name: 'NVIDIA H200',
  deviceClass: 'gpu-sm90',
  memTotalBytes: 140 * GIB,
  memFreeBytes: 100 * GIB,
  utilizationPct: 63,
  temperatureC: 45,
  powerWatts: 412,
  clockEvents: ['sw-power-cap'],
  eccErrors: 0,
  pcieGeneration: 5,
  unread: {},
};

function devicesOf(reading: NvmlReading): readonly NvmlDeviceReading[] {
  if (reading.kind === 'failed') throw new Error(reading.reason);
  return reading.devices;
}

async function readOne(fake: FakeNvml, device = A): Promise<NvmlDeviceReading> {
  const [first] = devicesOf(await readerOf(fake).read([device]));
  if (first === undefined) throw new Error('no reading');
  return first;
}

describe('a reading', () => {
  test('has every metric of a GPU that tells all', async () => {
    expect(await readOne(fakeNvml(gpuLines(UUID_A)))).toEqual({ uuid: UUID_A, ...WHOLE });
  });

  test.each([
    ['utilization', 'nvmlDeviceGetUtilizationRates', { utilizationPct: null }],
    ['memory', 'nvmlDeviceGetMemoryInfo_v2', { memFreeBytes: null, memTotalBytes: null }],
    ['temperature', 'nvmlDeviceGetTemperature', { temperatureC: null }],
    ['power', 'nvmlDeviceGetPowerUsage', { powerWatts: null }],
    ['clocks', 'nvmlDeviceGetCurrentClocksEventReasons', { clockEvents: null }],
    ['ecc', 'nvmlDeviceGetTotalEccErrors', { eccErrors: null }],
    ['pcie', 'nvmlDeviceGetCurrPcieLinkGeneration', { pcieGeneration: null }],
  ])('without %s has the others and the reason', async (metric, name, missing) => {
    const [key] = Object.keys(missing);
    const expected = (why: string): object => ({
      ...{ uuid: UUID_A, ...WHOLE, ...missing },
      unread: { [String(key)]: why },
    });
    const fake = fakeNvml(gpuLines(UUID_A, { [metric]: null }));
    const reader = readerOf(fake);
    expect(devicesOf(await reader.read([A]))).toEqual([expected('not-supported')]);
    // The other name of the same question must fail as well: a fallback is no second opinion.
    const others = {
      nvmlDeviceGetMemoryInfo_v2: 'nvmlDeviceGetMemoryInfo',
      nvmlDeviceGetTemperature: 'nvmlDeviceGetTemperatureV',
      nvmlDeviceGetCurrentClocksEventReasons: 'nvmlDeviceGetCurrentClocksThrottleReasons',
    } as const;
    const names = [name, ...(name in others ? [others[name as keyof typeof others]] : [])];
    for (const [status, why] of [
      [4, 'no-permission'],
      [15, 'gpu-lost'],
      [777, 'nvml-777'],
    ] as const) {
      const failures = names.map((each) => `fail ${UUID_A} ${each} ${String(status)}`);
      fake.set([...gpuLines(UUID_A), ...failures]);
      expect(devicesOf(await reader.read([A]))).toEqual([expected(why)]);
    }
    const bare = fakeNvml(gpuLines(UUID_A), fakeWithout(...names));
    expect(await readOne(bare)).toEqual(expected('no-symbol'));
  });

  test('uses the older function where the newer one is missing or refuses', async () => {
    const newer = [
      'nvmlDeviceGetMemoryInfo_v2',
      'nvmlDeviceGetCurrentClocksEventReasons',
      'nvmlDeviceGetTemperature',
    ];
    const old = fakeNvml(gpuLines(UUID_A), fakeWithout(...newer));
    expect(await readOne(old)).toEqual({ uuid: UUID_A, ...WHOLE });
    const refusing = newer.map((name) => `fail * ${name} 13`);
    expect(await readOne(fakeNvml([...gpuLines(UUID_A), ...refusing]))).toEqual({
      uuid: UUID_A,
      ...WHOLE,
    });
  });

  test.each([
    ['utilization', '101 0', 'utilizationPct'],
    ['memory', '0 0 0 0', 'memFreeBytes'],
    ['memory', '1000 0 1001 0', 'memFreeBytes'],
    ['memory', '0xffffffffffffffff 0 1 0', 'memFreeBytes'],
    ['temperature', '4294967295', 'temperatureC'],
    ['power', '4294967295', 'powerWatts'],
    ['ecc', '0xffffffffffffffff', 'eccErrors'],
    ['pcie', '4294967295', 'pcieGeneration'],
  ])('takes %s of %s for no number', async (metric, value, key) => {
    const found = await readOne(fakeNvml(gpuLines(UUID_A, { [metric]: value })));
    expect(found).toMatchObject({ [key]: null, unread: { [key]: 'out-of-range' } });
  });

  test('counts memory above 4 GiB and many errors exactly', async () => {
    const memory = '192000000001 3 191000000007 5';
    const found = await readOne(fakeNvml(gpuLines(UUID_A, { memory, ecc: '5000000000' })));
    expect(found).toMatchObject({
      memTotalBytes: 192_000_000_001,
      memFreeBytes: 191_000_000_007,
      eccErrors: 5_000_000_000,
    });
  });

  test.each([
    ['0', []],
    ['0x1', ['idle']],
    ['0x2', ['application-clocks']],
    ['0x8', ['hw-slowdown']],
    ['0x10', ['sync-boost']],
    ['0x20', ['sw-thermal']],
    ['0x48', ['hw-slowdown', 'hw-thermal']],
    ['0x80', ['power-brake']],
    ['0x100', ['display-clocks']],
    ['0x8000000000000004', ['sw-power-cap', 'other']],
  ])('names the clock events %s', async (clocks, names) => {
    expect((await readOne(fakeNvml(gpuLines(UUID_A, { clocks })))).clockEvents).toEqual(names);
  });
});

describe('devices', () => {
  test('are told apart by UUID, in whatever order NVML has them', async () => {
    const lines = [...gpuLines(UUID_B, { utilization: '7 0' }), ...gpuLines(UUID_A)];
    const reader = readerOf(fakeNvml(lines));
    const found = devicesOf(await reader.read([A, B]));
    expect(found.map(({ uuid, utilizationPct }) => [uuid, utilizationPct])).toEqual([
      [UUID_A, 63],
      [UUID_B, 7],
    ]);
    expect(devicesOf(await reader.read([B])).map(({ uuid }) => uuid)).toEqual([UUID_B]);
  });

  test('without a UUID that NVML knows are found by PCI address, never by index', async () => {
    const lines = [...gpuLines(UUID_B, { utilization: '7 0' }), ...gpuLines(UUID_A)];
    const byAddress = { uuid: 'GPU-00000000-0000-0000-0000-000000000000', pciBusId: '0:3B:0.0' };
    const nowhere = { ...byAddress, pciBusId: '0000:01:00.0' };
    const [found, lost] = devicesOf(await readerOf(fakeNvml(lines)).read([byAddress, nowhere]));
    expect(found).toEqual({ ...WHOLE, uuid: byAddress.uuid });
    expect(lost).toMatchObject({ name: null, utilizationPct: null });
    expect(new Set(Object.values(lost?.unread ?? {}))).toEqual(new Set(['not-found']));
  });

  test('of MIG have their own memory, no utilisation, and the rest of their chip', async () => {
    const mig = UUID_A.replace('GPU-', 'MIG-');
    const found = await readOne(
      fakeNvml([
        ...gpuLines(UUID_B, { mig: '1', utilization: null }),
        `device ${mig} 00000000:AF:00.0 NVIDIA H200 MIG 1g.18gb`,
        `parent ${mig} ${UUID_B}`,
        `reading ${mig} memory ${18 * GIB} 0 ${17 * GIB} ${GIB}`,
      ]),
    );
    expect(found).toEqual({
      ...{ uuid: UUID_A, ...WHOLE, name: 'NVIDIA H200 MIG 1g.18gb' },
      ...{ memTotalBytes: 18 * GIB, memFreeBytes: 17 * GIB },
      ...{ utilizationPct: null, unread: { utilizationPct: 'not-supported' } },
    });
  });

  test('that are parts of a GPU found as a whole do not take its figures for theirs', async () => {
    const found = await readOne(fakeNvml(gpuLines(UUID_A, { mig: '1' })));
    expect(found).toMatchObject({
      ...{ utilizationPct: null, memTotalBytes: null, memFreeBytes: null, temperatureC: 45 },
      unread: { utilizationPct: 'mig-parent', memFreeBytes: 'mig-parent' },
    });
  });

  test('are listed whole when all are asked for, lost ones too, MIG devices not', async () => {
    const reader = readerOf(
      fakeNvml([
        ...gpuLines(UUID_B),
        `device MIG-1 00000000:AF:00.0 part`,
        ...gpuLines(UUID_A),
        `fail ${UUID_B} nvmlDeviceGetHandleByIndex_v2 15`,
      ]),
    );
    const found = devicesOf(await reader.read(null));
    expect(found.map(({ uuid }) => uuid)).toEqual(['GPU-unknown-0', UUID_A]);
    expect(found[0]?.unread.utilizationPct).toBe('gpu-lost');
    expect(found[1]).toEqual({ uuid: UUID_A, ...WHOLE });
  });

  // Looking up any device fails with 15 where one of the host has fallen off the bus, says nvml.h.
  const LOOKED_UP = [UUID_A, UUID_B].flatMap((uuid) =>
    ['nvmlDeviceGetHandleByUUID', 'nvmlDeviceGetHandleByPciBusId_v2'].map(
      (name) => `fail ${uuid} ${name} 15`,
    ),
  );
  const METRIC_CALLS = [
    ...['UtilizationRates', 'MemoryInfo', 'MemoryInfo_v2', 'Temperature', 'TemperatureV'],
    ...['PowerUsage', 'CurrentClocksEventReasons', 'CurrentClocksThrottleReasons'],
    ...['TotalEccErrors', 'CurrPcieLinkGeneration'],
  ].map((name) => `nvmlDeviceGet${name}`);
  const BOTH = [...gpuLines(UUID_A), ...gpuLines(UUID_B)];

  test('that are lost do not take the other one with them', async () => {
    const fake = fakeNvml(BOTH);
    const reader = readerOf(fake);
    await reader.read([A, B]);
    const own = METRIC_CALLS.map((name) => `fail ${UUID_A} ${name} 15`);
    fake.set([...BOTH, ...LOOKED_UP, ...own]);
    const [lost, other] = devicesOf(await reader.read([A, B]));
    expect(new Set(Object.values(lost?.unread ?? {}))).toEqual(new Set(['gpu-lost']));
    expect(other).toEqual({ uuid: UUID_B, ...WHOLE });
  });

  test('are not called lost before they were found, when some GPU of the host is', async () => {
    const reader = readerOf(fakeNvml([...BOTH, ...LOOKED_UP]));
    for (const { unread } of devicesOf(await reader.read([A, B]))) {
      expect(new Set(Object.values(unread))).toEqual(new Set(['some-gpu-lost']));
    }
  });
});
