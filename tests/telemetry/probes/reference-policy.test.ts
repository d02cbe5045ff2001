// What the reference's planner does on evidence of NVML (reference/adaptive-runtime.md §2), with
// snapshots that come from the real probe over the fake library instead of from tables.
import { describe, expect, test } from 'vitest';
import { createHostProbe, type GpuDeviceState } from '../../../telemetry/probes/index.ts';
import { withoutMetrics, type TelemetrySnapshot } from '../../../telemetry/index.ts';
import type { Plan } from '../../../planner/index.ts';
import {
  codesOf,
  makeInput,
  makeVariant,
  planned,
  testRegistry,
  type InputChanges,
} from '../../planner/fixtures.ts';
import { GIB, UUID_A, UUID_B, fakeNvml, gpuLines, gpuState, readerOf } from './fake-nvml.ts';

const REGISTRY = testRegistry(
  [makeVariant({ name: 'cpu', runtime: 'cpu' }), makeVariant({ name: 'gpu', runtime: 'gpu' })],
  'predicate',
);

type Readings = Parameters<typeof gpuLines>[1];

/** One snapshot of a host with GPU A, or with those given, where NVML has these lines. */
async function snapshotOf(
  lines: readonly string[],
  gpus: readonly GpuDeviceState[] = [gpuState()],
): Promise<TelemetrySnapshot> {
  const nvml = readerOf(fakeNvml(lines));
  return createHostProbe({ host: 'host-1', nvml, gpus: () => gpus }).read();
}

function planOn(snapshot: TelemetrySnapshot, rows: number, changes: InputChanges = {}): Plan {
  const input = makeInput(
    {
      policyId: 'probe-first@1',
      snapshot,
      ...changes,
      where: { reservedTiles: 1_000_000 },
      limits: { memoryBytesMax: 1_000 * GIB },
      work: {
        operation: 'test',
        kernelClass: 'predicate',
        rows,
        remainingRows: rows,
        tileRows: 1_000,
        chunkIndex: 0,
        ...changes.work,
      },
    },
    REGISTRY,
  );
  return planned(input, REGISTRY);
}

const planWith = async (readings: Readings, rows = 1_000_000): Promise<Plan> =>
  planOn(await snapshotOf(gpuLines(UUID_A, readings)), rows);

const memory = (usedBytes: number, totalBytes: number): string =>
  `${String(totalBytes)} 0 ${String(totalBytes - usedBytes)} ${String(usedBytes)}`;

describe('telemetry', () => {
  test('the values of NVML reach the planner unchanged', async () => {
    const snapshot = await snapshotOf(gpuLines(UUID_A));
    expect(snapshot.devices[1]).toMatchObject({
      ...{ utilizationPct: 63, memTotalBytes: 140 * GIB, memFreeBytes: 100 * GIB },
    });
    expect(codesOf(planOn(snapshot, 1_000_000))).not.toContain('TELEMETRY_UNAVAILABLE');
  });

  test('without NVML the GPU is used by static heuristics, and the plan says why', async () => {
    const environment = { ...process.env, TILELOOM_NVML: '/nowhere/nvml.so' };
    const nvml = readerOf(fakeNvml([]), { environment });
    const gpus = () => [gpuState()];
    const plan = planOn(await createHostProbe({ host: 'host-1', nvml, gpus }).read(), 1_000_000);
    expect(plan).toMatchObject({ runtime: 'gpu', chunkRowsHint: 100_000 });
    expect(plan.reasons[0]).toEqual({
      code: 'TELEMETRY_UNAVAILABLE',
      params: { why: 'no /nowhere/nvml.so on this host (TILELOOM_NVML)' },
    });
  });

  test('a driver that hangs costs the telemetry of one plan, not the GPU', async () => {
    const fake = fakeNvml([...gpuLines(UUID_A, { utilization: '0 0' }), 'hang nvmlDeviceGetName']);
    const nvml = readerOf(fake, { readMs: 2_000 });
    const gpus = () => [gpuState()];
    const plan = planOn(await createHostProbe({ host: 'host-1', nvml, gpus }).read(), 1_000_000);
    expect(plan).toMatchObject({ runtime: 'gpu', chunkRowsHint: 100_000 });
    expect(codesOf(plan)).toContain('TELEMETRY_UNAVAILABLE');
  });
});

describe('chunks', () => {
  test.each([
    ['0 0', 250_000, 'CHUNK_HINT_IDLE'],
    ['39 0', 250_000, 'CHUNK_HINT_IDLE'],
    // The memory controller may be as busy as it likes: it is neither use nor pressure.
    ['39 100', 250_000, 'CHUNK_HINT_IDLE'],
    ['40 0', 100_000, 'CHUNK_HINT_DEFAULT'],
    ['100 100', 100_000, 'CHUNK_HINT_DEFAULT'],
  ])('of a device with utilisation %s have %i rows', async (utilization, rows, code) => {
    const plan = await planWith({ utilization });
    expect(plan.runtime).toBe('gpu');
    expect(plan.chunkRowsHint).toBe(rows);
    expect(codesOf(plan)).toContain(code);
  });

  test.each([
    ['92 %', 92, 25_000, 'CHUNK_HINT_PRESSURE'],
    ['85 %', 85, 25_000, 'CHUNK_HINT_PRESSURE'],
    ['84 %', 84, 100_000, 'CHUNK_HINT_DEFAULT'],
  ])(
    'of a device with %s of its bytes occupied have the right size',
    async (_, used, rows, code) => {
      const plan = await planWith({ memory: memory(used * GIB, 100 * GIB) });
      expect(plan.chunkRowsHint).toBe(rows);
      expect(codesOf(plan)).toContain(code);
    },
  );

  test('of an idle device under pressure are small: pressure goes first', async () => {
    const readings = { utilization: '0 0', memory: memory(92 * GIB, 100 * GIB) };
    expect((await planWith(readings)).chunkRowsHint).toBe(25_000);
  });

  test.each([
    ['utilisation', { utilization: null }],
    ['utilisation that cannot be', { utilization: '4294967295 0' }],
    ['memory', { memory: null, utilization: '60 0' }],
  ])(
    'of a device with unknown %s have the default size: unknown is not idle',
    async (_, readings) => {
      const plan = await planWith(readings);
      expect(plan.chunkRowsHint).toBe(100_000);
      expect(codesOf(plan)).toContain('CHUNK_HINT_DEFAULT');
    },
  );

  test('of little work are not enlarged by an idle device', async () => {
    expect((await planWith({ utilization: '0 0' }, 90_000)).chunkRowsHint).toBe(90_000);
  });

  test('go by the chosen device, not by the first one that NVML knows', async () => {
    const idle = gpuLines(UUID_B, { utilization: '0 0' });
    const full = gpuLines(UUID_A, { utilization: '95 0', memory: memory(92 * GIB, 100 * GIB) });
    const snapshot = await snapshotOf([...idle, ...full]);
    expect(snapshot.devices).toHaveLength(2);
    expect(planOn(snapshot, 1_000_000).chunkRowsHint).toBe(25_000);
  });
});

describe('a snapshot without its metrics', () => {
  test('is planned as if NVML had told nothing', async () => {
    const bare = withoutMetrics(await snapshotOf(gpuLines(UUID_A, { utilization: '0 0' })));
    expect(bare.devices[1]).toMatchObject({
      ...{ deviceId: UUID_A, utilizationPct: null, memFreeBytes: null, fp64Ratio: 0.5 },
      gpu: { powerWatts: null, clockEvents: null, eccErrors: null, pcieGeneration: null },
    });
    expect(planOn(bare, 1_000_000).chunkRowsHint).toBe(100_000);
  });
});
