// Where no GPU is on the host, probe-first@3 decides as probe-first@2 did.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  completeRequest,
  policyById,
  whatIf,
  type PlanDecision,
  type PlanInput,
  type PlanRequest,
  type WorkloadProfile,
} from '../../planner/index.ts';
import { REGISTRY, withWaitingVariants } from '../../registry/index.ts';
import {
  emptyHistory,
  foldOutcome,
  shapeBucket,
  type DeviceSnapshot,
  type GpuMetrics,
} from '../../telemetry/index.ts';
import {
  CPU,
  GIB,
  GPU,
  GPU_SNAPSHOT,
  SNAPSHOT,
  WORK,
  codesOf,
  decide,
  makeInput,
  makePin,
  planned,
} from './fixtures.ts';

const LAYER = 'c0ffee-half-open-first';
const AVX2 = 'assign/grid-avx2@1';
const METRICS: GpuMetrics = {
  powerWatts: null,
  clockEvents: null,
  eccErrors: null,
  pcieGeneration: null,
  resident: [LAYER],
};
const HOLDER: DeviceSnapshot = { ...GPU, slotsBusy: 0, gpu: METRICS };

const count = (max: number) => fc.integer({ min: 0, max });
const orNull = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null });

const cpuHosts = fc
  .record({
    work: fc.record({
      rows: count(2 ** 31),
      remainingRows: count(2 ** 36),
      vertices: count(1e7),
      bytesOutPerRow: count(64),
      indexBytes: count(2 ** 34),
      ordered: fc.boolean(),
      overlap: fc.constantFrom('first', 'all', 'error'),
      layer: fc.constantFrom(LAYER, 'other'),
    }),
    requested: fc.record({
      mode: fc.constantFrom('auto', 'auto', 'cpu', 'gpu'),
      precision: fc.constantFrom('auto', 'auto', 'fp32', 'fp64'),
    }),
    pin: fc.constantFrom(
      null,
      makePin({ aspect: 'runtime', value: 'gpu' }),
      makePin({ aspect: 'variant', value: 'assign/grid-scalar@1' }),
      makePin({ aspect: 'precision', value: 'fp32', ifImpossible: 'fail' }),
      makePin({ aspect: 'chunkRows', value: 1e6 }),
    ),
    limits: fc.record({
      memoryBytesMax: fc.integer({ min: 1, max: 2 ** 34 }),
      chunkRowsMax: orNull(fc.integer({ min: 1, max: 2 ** 30 })),
    }),
    cpu: fc.record({
      utilizationPct: orNull(count(100)),
      slotsBusy: orNull(count(4)),
      throttled: fc.constantFrom(null, false, true),
      quarantine: fc.constantFrom(null, null, null, 'IMAGE_UNUSABLE: x'),
    }),
    rate: orNull(fc.integer({ min: 1, max: 1e9 })),
    cores: fc.integer({ min: 1, max: 128 }),
    ageMs: count(60_000),
    ran: fc.boolean(),
    registry: fc.constantFrom(REGISTRY, withWaitingVariants(REGISTRY)),
  })
  .map(({ pin, cpu, rate, cores, ageMs, ran, registry, ...changes }) => {
    const shape = shapeBucket({ ...WORK, ...changes.work });
    const rows = { rows: rate ?? 0, seconds: 1, predictedSeconds: 1, failed: rate === null };
    const summary = { planId: 'x', variant: AVX2, runtime: 'cpu', deviceId: 'cpu' } as const;
    const sizes = { chunkTiles: 1, chunkRowsHint: 1, predictedSeconds: 1, actualSeconds: 1 };
    const common = {
      ...changes,
      snapshot: { ...SNAPSHOT, cores, ageMs, devices: [{ ...CPU, ...cpu }] },
      pins: { winners: pin === null ? [] : [pin], losers: [] },
      previous: ran ? { ...summary, ...sizes } : null,
      where: { reservedTiles: Math.max(1, Math.ceil(changes.work.rows / WORK.tileRows)) },
      history: foldOutcome(emptyHistory(), {
        ...{ variant: AVX2, deviceClass: CPU.deviceClass, shape },
        ...rows,
      }),
    };
    return (policyId: string): readonly [PlanInput, PlanDecision] => {
      const input = makeInput({ ...common, policyId }, registry);
      return [input, decide(input, registry)];
    };
  });

/** All of a decision but its identity, and but what refusals of @3 say about GPUs that are missing. */
function essence(decision: PlanDecision): unknown {
  const { candidates, reasons, ...rest } = decision;
  const isRefusal = decision.schema === 'tileloom.plan-refusal/1';
  const said = reasons.filter(
    ({ code }) => !isRefusal || (code !== 'GPU_MISSING' && !code.startsWith('RELEASE_BY_')),
  );
  return { ...rest, planId: null, candidates, reasons: said };
}

describe('probe-first@3 on a host without a GPU', () => {
  test('decides as probe-first@2 did, byte for byte but for the identity', () => {
    fc.assert(
      fc.property(cpuHosts, (host) => {
        const [, before] = host('probe-first@2');
        const [, after] = host('probe-first@3');
        expect(essence(after)).toEqual(essence(before));
      }),
      { numRuns: 600, endOnFailure: true },
    );
  });

  test('differs in the digest of the policy alone where nothing is refused', () => {
    const [two, three] = ['probe-first@2', 'probe-first@3'].map((policyId) =>
      planned(makeInput({ policyId })),
    );
    expect({ ...three, planId: two?.planId }).toEqual(two);
    expect(three?.planId).not.toBe(two?.planId);
  });
});

function requestOf(work: Partial<WorkloadProfile>): PlanRequest {
  const {
    pins: _,
    excluded: __,
    snapshot: ___,
    policy,
    registry: ____,
    ...rest
  } = makeInput({
    work: { layer: LAYER, ...work },
  });
  return { ...rest, pins: [], excluded: [], policyId: policy.id };
}

describe('residency', () => {
  const { policy, registry } = makeInput();
  const residencyWith = (devices: readonly DeviceSnapshot[], work = {}): string =>
    completeRequest(requestOf(work), { ...GPU_SNAPSHOT, devices }, { policy, registry }).work
      .residency;

  test.each([
    ['a GPU in service that holds the layer', [CPU, HOLDER], {}, 'device'],
    ['the second of two', [CPU, GPU, { ...HOLDER, deviceId: 'GPU-2' }], {}, 'device'],
    ['a GPU that holds another layer', [CPU, HOLDER], { layer: 'other' }, 'host'],
    ['a GPU out of service', [CPU, { ...HOLDER, quarantine: 'DEVICE_LOST: 719' }], {}, 'host'],
    ['a GPU without metrics, as in old records', [CPU, GPU], {}, 'host'],
    ['no GPU', [CPU], {}, 'host'],
    ['no GPU, where the request says so itself', [CPU], { residency: 'device' }, 'device'],
  ] as const)('with %s', (_, devices, work, expected) => {
    expect(residencyWith(devices, work)).toBe(expected);
  });

  test('of a work without a key is what the request says', () => {
    const { layer: _, ...work } = requestOf({}).work;
    const request = { ...requestOf({}), work };
    const snapshot = { ...GPU_SNAPSHOT, devices: [CPU, HOLDER] };
    expect(completeRequest(request, snapshot, { policy, registry }).work).toEqual(work);
  });

  test('is the same when a record is completed again, also from its JSON', () => {
    const snapshot = { ...GPU_SNAPSHOT, devices: [CPU, HOLDER] };
    const once = completeRequest(requestOf({}), snapshot, { policy, registry });
    const again = JSON.parse(JSON.stringify([requestOf({}), snapshot])) as [PlanRequest, never];
    expect(completeRequest(...again, { policy, registry })).toEqual(once);
  });
});

describe('what if', () => {
  const two = { ...GPU_SNAPSHOT, devices: [CPU, HOLDER, { ...HOLDER, deviceId: 'GPU-2' }] };
  const rows = { rows: 100_000_000, remainingRows: 100_000_000, layer: LAYER };
  const input = makeInput({
    snapshot: two,
    work: { ...rows, residency: 'device' },
    where: { reservedTiles: 1_526 },
  });
  const ask = (...edits: readonly (readonly [string, unknown])[]) =>
    whatIf(
      { input, decision: decide(input) },
      { edits: edits.map(([path, value]) => ({ path, value })) },
      { policy: policyById(input.policy.id), registry: REGISTRY },
    );

  test('one GPU were broken, or both', () => {
    expect(ask(['snapshot.devices.1.quarantine', 'DEVICE_LOST: 700']).decision).toMatchObject({
      deviceId: 'GPU-2',
    });
    const { decision, input: asked } = ask(
      ['snapshot.devices.1.quarantine', 'DEVICE_LOST: 700'],
      ['snapshot.devices.2.quarantine', 'IMAGE_UNUSABLE: sm_75'],
    );
    expect(decision).toMatchObject({ runtime: 'cpu' });
    expect(codesOf(decision)).toContain('DEVICE_OUT_OF_SERVICE');
    expect(asked.work.residency).toBe('host');
  });

  test('the second GPU were the idle one', () => {
    const { changed, decision } = ask(['snapshot.devices.1.slotsBusy', 1]);
    expect(decision).toMatchObject({ deviceId: 'GPU-2' });
    expect(changed).toEqual(['deviceId']);
  });

  test('no device held the index', () => {
    const { input: asked } = ask(
      ['snapshot.devices.1.gpu.resident', []],
      ['snapshot.devices.2.gpu.resident', []],
    );
    expect(asked.work.residency).toBe('host');
    const forced = ask(['snapshot.devices.1.gpu.resident', []], ['work.residency', 'host']);
    expect(forced.input.work.residency).toBe('host');
  });

  test('its memory had errors or were full', () => {
    const broken = ask(['snapshot.devices.1.gpu.eccErrors', 3]);
    expect(broken.decision).toMatchObject({ deviceId: 'GPU-2' });
    const full = ask(
      ['snapshot.devices.1.memTotalBytes', GIB / 1024],
      ['snapshot.devices.2.throttled', true],
    );
    expect(full.decision).toMatchObject({ runtime: 'cpu' });
  });
});
