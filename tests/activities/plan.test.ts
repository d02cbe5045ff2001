// The plan activity, with the fullest calls and answers that a run on a large host can have.
import { describe, expect, test } from 'vitest';
import { createHostActivities, type LeaseBook } from '../../activities/index.ts';
import type { Exclusion, Pin, PlanDecision } from '../../planner/index.ts';
import { REGISTRY, withExternalVariants, type VariantSpec } from '../../registry/index.ts';
import {
  emptyHistory,
  foldOutcome,
  type DeviceSnapshot,
  type TelemetrySnapshot,
} from '../../telemetry/index.ts';
import type { PlanAnswer, PlanCall } from '../../workflows/activity-contract.ts';
import { planCall } from '../../workflows/planning.ts';
import { createLane } from '../../workflows/lane.ts';
import { openShard, reserve } from '../../workflows/shard-state.ts';
import { CPU, GPU, SNAPSHOT } from '../planner/fixtures.ts';
import { LEASE, shardInput } from '../workflows/shard-values.ts';

const LEASES: LeaseBook = {
  claim: () => 'lease',
  hold: () => ({ renew: () => undefined, done: () => undefined }),
  release: () => undefined,
};

const [template] = REGISTRY.operations[0]?.variants ?? [];
const registry = withExternalVariants(REGISTRY, [
  {
    ...(template as VariantSpec),
    id: 'assign/lookup-table-avx512@12',
    name: 'lookup-table-avx512',
    version: 12,
    library: 'external',
  },
]);
const variants = registry.operations[0]?.variants.map(({ id }) => id) ?? [];

const gpu = (index: number): DeviceSnapshot => ({
  ...GPU,
  deviceId: `GPU-5a1f0c9e-7d3b-4e0a-9a55-0c8f0a9d1d1${String(index)}`,
  name: 'NVIDIA H200 NVL 141GB HBM3e',
  utilizationPct: 63.25,
  memTotalBytes: 150_754_820_096,
  memFreeBytes: 149_671_575_552,
  temperatureC: 71,
  throttled: false,
  slotsBusy: 2,
  gpu: {
    powerWatts: 612.5,
    clockEvents: ['sw-power-cap'],
    eccErrors: 0,
    pcieGeneration: 5,
    resident: ['0123456789abcdef-half-open-first'],
    memoryBytesMax: 131_072_000_000,
  },
});
/** docs/decisions/0009 */
const ANSWER_BYTES_MAX = 3_584;
const HOST = 'workstation-in-the-long-corridor-7';
const FULL: TelemetrySnapshot = {
  ...SNAPSHOT,
  host: HOST,
  bootId: '5f0c3f6e-6a52-4a3b-8a55-0c8f0a9d1d11',
  takenAt: 1_799_999_999_999,
  ageMs: 12_345,
  backend: 'nvml',
  reason: null,
  cores: 128,
  load1: 127.53,
  memAvailableBytes: 1_082_331_758_592,
  memLimitBytes: 1_099_511_627_776,
  isa: [
    ...SNAPSHOT.isa,
    'avx512f',
    'avx512bw',
    'avx512dq',
    'avx512vl',
    'avx512cd',
    'avx512vbmi',
    'avx512_vnni',
  ],
  devices: [
    { ...CPU, name: 'AMD EPYC 9654 96-Core Processor @ 2.40GHz', deviceClass: 'cpu-avx512' },
    gpu(1),
    gpu(2),
  ],
};

const pin = (index: number, rest: Pick<Pin, 'aspect' | 'value'>): Pin => ({
  id: `start-${String(index)}`,
  scope: { kind: 'run' },
  reason: `because ${'of a long story, told at length by the operator, '.repeat(10)}`.slice(0, 500),
  author: 'operator-with-a-name@workstation.example.org',
  epoch: 12,
  expiresAt: null,
  chunksLeft: null,
  ifImpossible: 'hold',
  ...rest,
});
const PINS: readonly Pin[] = [
  pin(1, { aspect: 'device', value: gpu(1).deviceId }),
  pin(2, { aspect: 'precision', value: 'fp64' }),
  pin(3, { aspect: 'chunkRows', value: 17_179_869_184 }),
  pin(4, { aspect: 'runtime', value: 'gpu' }),
  pin(5, { aspect: 'host', value: HOST }),
];

/** A call as a lane makes it late in a long run. */
function fullCall(pins: readonly Pin[], excludedDevice = 'cpu'): PlanCall {
  const input = shardInput(1_500_000);
  const history = variants.reduce(
    (before, variant) =>
      foldOutcome(before, {
        variant,
        deviceClass: 'cpu-avx512',
        shape: 'assign/half-open/first/2^20',
        rows: 123_456_789_012,
        seconds: 1_234.567,
        predictedSeconds: 1_111.1,
        failed: false,
      }),
    emptyHistory(),
  );
  const excluded = variants.map((variant) => ({
    variant,
    deviceId: excludedDevice,
    host: HOST,
    failure: 'EXECUTOR_CRASHED',
  }));
  const shard = openShard({
    ...input,
    prepared: { ...input.prepared, work: { ...input.prepared.work, operation: 'assign' } },
    operator: { ...input.operator, pins },
    progress: { ...input.progress, history, excluded, nextChunk: 123_456 },
  });
  const lane = createLane(3);
  const lease = { ...LEASE, host: HOST };
  const reservation = reserve(shard, lane);
  if (reservation === null) throw new Error('nothing to reserve');
  lane.previous = {
    planId: 'f'.repeat(64),
    variant: 'assign/lookup-table-avx512@12',
    runtime: 'cpu',
    deviceId: gpu(1).deviceId,
    chunkTiles: 12_345,
    chunkRowsHint: 809_041_920,
    predictedSeconds: 12.345678,
    actualSeconds: 11.234567,
  };
  return planCall(shard, lane, lease, reservation);
}

const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));

const answer = async (call: PlanCall, snapshot = FULL): Promise<{ decision: PlanDecision }> =>
  createHostActivities({ registry, leases: LEASES, snapshot: () => snapshot }).plan(call);

describe('the plan activity', () => {
  test('a call with every variant excluded and 5 pins with long reasons has 2 KiB at most', () => {
    const call = fullCall(PINS);
    expect(call.request.excluded).toHaveLength(variants.length);
    expect(call.request.pins.map(({ id }) => id)).toEqual(PINS.map(({ id }) => id));
    expect(bytesOf(call)).toBeLessThanOrEqual(2_048);
  });

  test('a call about a suspect that failed on a host with eight GPUs has 2 KiB at most', () => {
    const gpus = [1, 2, 3, 4, 5, 6, 7, 8].map((index) => gpu(index).deviceId);
    const deviceQueues = Object.fromEntries(
      ['cpu', ...gpus].map((id) => [id, `tileloom.${HOST}.${id}`]),
    );
    const variant = 'assign/cuda-grid-fp64@1';
    const fault = {
      variant,
      deviceId: gpus[0] ?? '',
      host: HOST,
      planId: 'p',
      code: 'DEVICE_LOST',
    };
    const cpuFault = { ...fault, variant: 'assign/grid-avx2@1', deviceId: 'cpu' };
    const input = shardInput(1_500_000);
    const suspect = { firstTile: 3, endTile: 4, attempt: 3, faults: [fault, cpuFault] };
    const shard = openShard({ ...input, progress: { ...input.progress, suspects: [suspect] } });
    const lane = createLane(0);
    const reservation = reserve(shard, lane);
    if (reservation === null) throw new Error('nothing to reserve');
    const call = planCall(shard, lane, { ...LEASE, host: HOST, deviceQueues }, reservation);
    expect(call.request.excluded.map(({ deviceId }) => deviceId)).toEqual([...gpus, 'cpu']);
    expect(bytesOf(call)).toBeLessThanOrEqual(2_048);
  });

  test('a call with variants excluded on eight GPUs and the CPU has 2 KiB at most', () => {
    const gpus = [1, 2, 3, 4, 5, 6, 7, 8].map((index) => gpu(index).deviceId);
    const on = (variant: string, deviceId: string): Exclusion => ({
      ...{ variant, deviceId, host: HOST, failure: 'EXECUTOR_CRASHED' },
    });
    const excluded = [
      ...gpus.map((deviceId) => on('assign/cuda-grid-fp64@1', deviceId)),
      ...['assign/grid-avx2@1', 'assign/grid-scalar@1'].map((variant) => on(variant, 'cpu')),
    ];
    const input = shardInput(1_500_000);
    const shard = openShard({ ...input, progress: { ...input.progress, excluded } });
    const lane = createLane(0);
    const reservation = reserve(shard, lane);
    if (reservation === null) throw new Error('nothing to reserve');
    const call = planCall(shard, lane, { ...LEASE, host: HOST }, reservation);
    expect(call.request.excluded.map(({ variant, deviceId }) => [variant, deviceId])).toEqual(
      excluded.map(({ variant, deviceId }) => [variant, deviceId]),
    );
    expect(bytesOf(call)).toBeLessThanOrEqual(2_048);
  });

  test.each([
    ['every device and variant', [], 'none', 'tileloom.plan/1'],
    ['three pins in force', PINS.slice(0, 3), 'none', 'tileloom.plan/1'],
    ['all variants excluded on the CPU', [], 'cpu', 'tileloom.plan/1'],
    ['pins that cannot be honoured', PINS, gpu(1).deviceId, 'tileloom.plan-refusal/1'],
  ] as const)('an answer about %s has 3.5 KiB at most', async (_, pins, excluded, schema) => {
    const found = await answer(fullCall(pins, excluded));
    expect(found.decision.schema).toBe(schema);
    expect(bytesOf(found)).toBeLessThanOrEqual(ANSWER_BYTES_MAX);
  });

  test('an answer of a host without GPUs has 3.5 KiB at most', async () => {
    const [cpu] = FULL.devices;
    const why = 'no libnvidia-ml.so.1 on this host, and no device under /proc/driver/nvidia';
    const devices = cpu === undefined ? [] : [cpu];
    const snapshot = { ...FULL, backend: 'unavailable', reason: why, devices } as const;
    expect(bytesOf(await answer(fullCall([], 'none'), snapshot))).toBeLessThanOrEqual(
      ANSWER_BYTES_MAX,
    );
  });

  test('an answer of a host with eight GPUs leaves out busy ones, never those the call names', async () => {
    const busy = (index: number, slotsBusy: number): DeviceSnapshot => ({
      ...gpu(index),
      slotsBusy,
      gpu: {
        ...{ powerWatts: 612.5, eccErrors: 0, pcieGeneration: 5 },
        clockEvents: ['sw-power-cap', 'hw-thermal'],
        resident: ['0123456789abcdef-half-open-first', '0123456789abcdef-covers-first'],
        unread: { powerWatts: 'not-supported', eccErrors: 'not-supported' },
      },
    });
    const [cpu] = FULL.devices;
    const gpus = [4, 3, 2, 1, 0, 5, 6, 7].map((slotsBusy, index) => busy(index, slotsBusy));
    const snapshot = { ...FULL, devices: [...(cpu === undefined ? [] : [cpu]), ...gpus] };
    const free = (await answer(fullCall([], 'none'), snapshot)) as PlanAnswer;
    expect(bytesOf(free)).toBeLessThanOrEqual(ANSWER_BYTES_MAX);
    const kept = free.snapshot.devices.map(({ deviceId }) => deviceId);
    expect(kept).toContain('cpu');
    // The plan before was made for GPU 1; of the others GPU 4 is idle.
    expect(kept).toContain(gpu(1).deviceId);
    const pinned = pin(1, { aspect: 'device', value: gpu(7).deviceId });
    const held = (await answer(fullCall([pinned], 'none'), snapshot)) as PlanAnswer;
    expect(bytesOf(held)).toBeLessThanOrEqual(ANSWER_BYTES_MAX);
    expect(held.snapshot.devices.map(({ deviceId }) => deviceId)).toContain(gpu(7).deviceId);
    expect(held.snapshot.devices.every((one) => one.gpu?.unread === undefined)).toBe(true);
  });

  test('a pin whose chunks are used up is not in force', async () => {
    const cpu = pin(1, { aspect: 'runtime', value: 'cpu' });
    const spent: readonly Pin[] = [
      cpu,
      { ...pin(2, { aspect: 'runtime', value: 'gpu' }), epoch: 13, chunksLeft: 0 },
      {
        ...pin(3, { aspect: 'variant', value: 'assign/nothing@1' }),
        scope: { kind: 'chunks', count: 5 },
        chunksLeft: 0,
      },
    ];
    const { decision } = await answer(fullCall(spent, 'none'));
    expect(decision).toMatchObject({ schema: 'tileloom.plan/1', runtime: 'cpu' });
    const cited = decision.reasons.filter(({ code }) => code.startsWith('PIN_'));
    expect(cited.map(({ params }) => params?.['pin'])).toEqual(['start-1']);
    const counted = { ...pin(4, { aspect: 'runtime', value: 'gpu' }), epoch: 13, chunksLeft: 1 };
    const found = await answer(fullCall([cpu, counted], 'none'));
    expect(found.decision).toMatchObject({ runtime: 'gpu' });
  });

  test.each([
    ['three aspects', PINS.slice(0, 3)],
    ['all aspects', [...PINS, pin(6, { aspect: 'variant', value: 'assign/cuda-grid-fp64@1' })]],
  ])('an answer with 32 pins of every scope for %s is short', async (_, pins) => {
    const scopes: readonly Pin['scope'][] = [
      { kind: 'run' },
      { kind: 'operation', operation: 'assign' },
      { kind: 'chunks', count: 9 },
      ...Array.from({ length: 8 }, (__, index) => ({
        ...({ kind: 'tiles', firstTile: 0 } as const),
        lastTile: 1_000_000 + index,
      })),
    ];
    const many = scopes
      .flatMap((scope) => pins.map((each) => ({ ...each, scope })))
      .slice(0, 32)
      .map((each, index) => ({ ...each, id: `pin-${String(100 + index)}` }));
    expect(many).toHaveLength(32);
    const found = await answer(fullCall(many, 'none'));
    expect(found.decision.schema).toBe('tileloom.plan/1');
    const cited = found.decision.reasons.filter(({ code }) => code === 'PIN_APPLIED');
    expect(cited).toHaveLength(pins.length);
    expect(bytesOf(found)).toBeLessThanOrEqual(ANSWER_BYTES_MAX);
  });

  test('a host with another registry refuses', async () => {
    const call = { ...fullCall([]), registryDigest: 'a'.repeat(64) };
    await expect(answer(call)).rejects.toMatchObject({ code: 'REGISTRY_DIFFERS' });
  });
});
