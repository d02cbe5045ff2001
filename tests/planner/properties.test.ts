import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson } from '../../core/index.ts';
import {
  planIdOf,
  resolvePins,
  type Pin,
  type PlanInput,
  type WorkloadProfile,
} from '../../planner/index.ts';
import { REGISTRY, withExternalVariants, type VariantSpec } from '../../registry/index.ts';
import {
  emptyHistory,
  foldOutcome,
  shapeBucket,
  type DeviceSnapshot,
} from '../../telemetry/index.ts';
import { CPU, GPU, SNAPSHOT, decide, makeInput, makePin, planned, rejectsOf } from './fixtures.ts';

// Shrinking whole plan inputs takes minutes and tells no more than the first counterexample.
fc.configureGlobal({ endOnFailure: true });

const KNOWN_VARIANTS = REGISTRY.operations[0]?.variants.map((variant) => variant.id) ?? [];
const CUDA = 'assign/cuda-grid-fp64@1';
const count = (max: number) => fc.integer({ min: 0, max });
const orNull = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null });
const bytes = count(2 ** 36);

const work: fc.Arbitrary<Partial<WorkloadProfile>> = fc.record({
  rows: count(2 ** 31),
  remainingRows: count(2 ** 36),
  tileRows: fc.integer({ min: 1, max: 65_536 }),
  boundary: fc.constantFrom('half-open', 'covers', 'contains'),
  overlap: fc.constantFrom('first', 'all', 'error'),
  families: fc.subarray(['point', 'polygon', 'multipolygon', 'linestring'] as const),
  mixed: fc.boolean(),
  vertices: count(1e7),
  meanVertices: fc.double({ min: 0, max: 1e6, noNaN: true }),
  shape: fc.constantFrom('pairwise', 'broadcast-right', 'scalar-right'),
  residency: fc.constantFrom('host', 'device'),
  bytesPerRow: count(64),
  bytesOutPerRow: count(64),
  indexBytes: bytes,
  layer: fc.constantFrom('layer-1', 'layer-3'),
  streaming: fc.boolean(),
  chunkIndex: count(3),
  ordered: fc.boolean(),
  maxAbsCoordinate: orNull(fc.double({ min: 0, max: 1e8, noNaN: true })),
  coordinateSpan: orNull(fc.double({ min: 0, max: 1e8, noNaN: true })),
  workUnits: orNull(count(2 ** 31)),
});

const device = (base: DeviceSnapshot): fc.Arbitrary<DeviceSnapshot> =>
  fc
    .record({
      utilizationPct: orNull(count(100)),
      memFreeBytes: orNull(bytes),
      fp64Ratio: orNull(fc.constantFrom(0.5, 0.25, 1 / 32)),
      slotsBusy: orNull(count(4)),
      throttled: fc.constantFrom(null, false, false, true),
      quarantine: fc.constantFrom(null, null, 'IMAGE_UNUSABLE: sm_75 only', 'fault '.repeat(99)),
    })
    .map((changes) => ({ ...base, ...changes }));

const gpu = (deviceId: string): fc.Arbitrary<DeviceSnapshot> =>
  fc
    .tuple(
      device({ ...GPU, deviceId }),
      fc.record({
        powerWatts: fc.constant(null),
        clockEvents: fc.constant(null),
        eccErrors: fc.constantFrom(null, 0, 0, 2),
        pcieGeneration: fc.constant(5),
        resident: fc.subarray(['layer-1', 'layer-2']),
      }),
    )
    .map(([snapshot, metrics]) => ({ ...snapshot, gpu: metrics }));

const pin: fc.Arbitrary<Pin> = fc
  .oneof(
    fc.record({ aspect: fc.constant('runtime'), value: fc.constantFrom('cpu', 'gpu') }),
    fc.record({
      aspect: fc.constant('variant'),
      value: fc.constantFrom(...KNOWN_VARIANTS, 'assign/x@1'),
    }),
    fc.record({ aspect: fc.constant('precision'), value: fc.constantFrom('fp32', 'fp64') }),
    fc.record({ aspect: fc.constant('chunkRows'), value: fc.integer({ min: 1, max: 2 ** 31 }) }),
    fc.record({
      aspect: fc.constant('device'),
      value: fc.constantFrom('cpu', 'GPU-1', 'GPU-2', 'GPU-9'),
    }),
    fc.record({ aspect: fc.constant('host'), value: fc.constantFrom('host-1', 'host-2') }),
  )
  .chain((base) =>
    fc
      .record({
        id: fc.uuid(),
        epoch: count(9),
        scope: fc.oneof(
          fc.constant({ kind: 'run' } as const),
          fc.record({
            kind: fc.constant('tiles' as const),
            firstTile: count(40),
            lastTile: count(40),
          }),
        ),
        ifImpossible: fc.constantFrom('hold' as const, 'fail' as const),
      })
      .map((rest) => makePin({ ...base, ...rest } as Pin)),
  );

const input: fc.Arbitrary<PlanInput> = fc
  .record({
    work,
    pins: fc.array(pin, { maxLength: 4 }),
    policyId: fc.constantFrom('probe-first@1', 'probe-first@2', 'probe-first@3'),
    requested: fc.record({
      mode: fc.constantFrom('auto' as const, 'auto' as const, 'cpu' as const, 'gpu' as const),
      precision: fc.constantFrom(
        'auto' as const,
        'auto' as const,
        'fp32' as const,
        'fp64' as const,
      ),
    }),
    where: fc.record({ firstTile: count(40), reservedTiles: fc.integer({ min: 1, max: 5_000 }) }),
    limits: fc.record({
      memoryBytesMax: fc.integer({ min: 1, max: 2 ** 36 }),
      chunkSecondsTarget: fc.double({ min: 0.001, max: 100, noNaN: true }),
      chunkRowsMax: orNull(fc.integer({ min: 1, max: 2 ** 30 })),
    }),
    devices: fc.tuple(device(CPU), gpu('GPU-1'), gpu('GPU-2'), count(2)),
    ageMs: count(60_000),
    cores: fc.integer({ min: 1, max: 128 }),
    memAvailableBytes: orNull(bytes),
    isa: fc.constantFrom(SNAPSHOT.isa, []),
    rate: orNull(count(1e9)),
    measured: fc.constantFrom(['assign/grid-avx2@1', 'cpu-avx2'], [CUDA, GPU.deviceClass]),
  })
  .map(({ pins, devices, ageMs, cores, memAvailableBytes, isa, rate, measured, ...changes }) => {
    const [cpu, first, second, gpus] = devices;
    const here = [cpu, first, second].slice(0, 1 + gpus);
    const snapshot = { ...SNAPSHOT, ageMs, cores, memAvailableBytes, isa, devices: here };
    // A reservation never has more rows than its tiles hold.
    const tileRows = changes.work.tileRows ?? 1;
    const reserved = Math.min(changes.work.rows ?? 0, changes.where.reservedTiles * tileRows);
    const base = makeInput({ ...changes, snapshot, work: { ...changes.work, rows: reserved } });
    const rows = rate ?? 0;
    const shape = shapeBucket(base.work);
    const [variant = '', deviceClass = ''] = measured;
    const outcome = { variant, deviceClass, shape, rows, seconds: 1 };
    return {
      ...base,
      pins: resolvePins(pins, base.where, base.work, 0),
      history: foldOutcome(emptyHistory(), {
        ...outcome,
        predictedSeconds: 1,
        failed: rate === null,
      }),
    };
  });

describe('plan', () => {
  test('takes at least one tile, never more than reserved, never past a border', () => {
    fc.assert(
      fc.property(input, (given) => {
        const decision = decide(given);
        if (decision.schema === 'tileloom.plan/1') {
          const border = given.pins.tilesUntilChange ?? Infinity;
          expect(Number.isInteger(decision.chunkTiles)).toBe(true);
          expect(decision.chunkTiles).toBeGreaterThanOrEqual(1);
          expect(decision.chunkTiles).toBeLessThanOrEqual(
            Math.min(given.where.reservedTiles, border),
          );
          expect(Number.isFinite(decision.chunkRowsHint)).toBe(true);
        }
      }),
      { numRuns: 400 },
    );
  });

  test('honours every pin or refuses', () => {
    fc.assert(
      fc.property(input, (given) => {
        const decision = decide(given);
        if (decision.schema !== 'tileloom.plan/1') {
          return;
        }
        const actual: Record<string, unknown> = {
          runtime: decision.runtime,
          variant: decision.variant,
          precision: decision.precision.compute,
          device: decision.deviceId,
          host: given.snapshot.host,
        };
        for (const { aspect, value, id } of given.pins.winners) {
          if (aspect === 'chunkRows') {
            const wanted = Math.max(1, Math.floor(Number(value) / given.work.tileRows));
            const border = given.pins.tilesUntilChange ?? Infinity;
            const tiles = Math.min(wanted, given.where.reservedTiles, border);
            expect(decision.chunkTiles).toBe(tiles);
          } else {
            expect(actual[aspect]).toBe(value);
          }
          const cited = decision.reasons.filter((each) => each.params?.['pin'] === id);
          expect(cited.map((each) => each.code)).toEqual(['PIN_APPLIED']);
        }
      }),
      { numRuns: 400 },
    );
  });

  test('keeps the predicted peak and the rows of full tiles within the limits', () => {
    fc.assert(
      fc.property(input, (given) => {
        const decision = decide(given);
        if (decision.schema !== 'tileloom.plan/1' || decision.chunkTiles === 1) {
          return;
        }
        const { memoryBytesMax, chunkRowsMax } = given.limits;
        // The process itself is not about the limit; on a GPU nothing of it counts.
        const process = decision.runtime === 'cpu' ? 104 * 2 ** 20 : 0;
        expect(decision.predicted.peakBytes - process).toBeLessThanOrEqual(memoryBytesMax);
        if (given.work.rows > 0) {
          expect(decision.chunkTiles * given.work.tileRows).toBeLessThanOrEqual(
            chunkRowsMax ?? Infinity,
          );
        }
      }),
      { numRuns: 400 },
    );
  });

  test('gives the same bytes for the same input, also after a round trip through JSON', () => {
    fc.assert(
      fc.property(input, (given) => {
        const first = canonicalJson(decide(given));
        const again = JSON.parse(JSON.stringify(given)) as PlanInput;
        expect(canonicalJson(decide(again))).toBe(first);
        expect(canonicalJson(JSON.parse(first))).toBe(first);
      }),
      { numRuns: 200 },
    );
  });

  test('looks at every variant of the operation and says why, or how many are left out', () => {
    fc.assert(
      fc.property(input, (given) => {
        const decision = decide(given);
        if (decision.candidates.length > 0) {
          const left = decision.reasons.find(({ code }) => code === 'CANDIDATES_OMITTED');
          const omitted = Number(left?.params?.['count'] ?? 0);
          const shown = Object.keys(rejectsOf(decision));
          expect(shown).toEqual(KNOWN_VARIANTS.filter((variant) => shown.includes(variant)));
          expect(shown.length + omitted).toBe(KNOWN_VARIANTS.length);
          expect(shown.length).toBeGreaterThanOrEqual(3);
        }
        for (const candidate of decision.candidates) {
          expect(candidate.score === null).toBe(candidate.reject !== undefined);
        }
        if (decision.schema === 'tileloom.plan-refusal/1') {
          expect(decision.reasons.some((each) => each.code.startsWith('RELEASE_BY_'))).toBe(true);
        }
      }),
      { numRuns: 400 },
    );
  });

  test('stays below 2 KiB', () => {
    fc.assert(
      fc.property(input, (given) => {
        expect(canonicalJson(decide(given)).length).toBeLessThanOrEqual(2_048);
      }),
      { numRuns: 400 },
    );
  });
});

describe('size and identity', () => {
  test('forty external variants do not make a plan larger than 2 KiB', () => {
    const [template] = REGISTRY.operations[0]?.variants ?? [];
    const extra = Array.from({ length: 40 }, (_, index): VariantSpec => {
      const name = `external-${String(index)}`;
      return { ...(template as VariantSpec), id: `assign/${name}@1`, name, library: 'external' };
    });
    const registry = withExternalVariants(REGISTRY, extra);
    const plan = planned(makeInput({}, registry), registry);
    expect(canonicalJson(plan).length).toBeLessThanOrEqual(2_048);
    expect(plan.candidates.some((each) => each.variant === plan.variant)).toBe(true);
    expect(plan.reasons).toContainEqual({ code: 'CANDIDATES_OMITTED', params: { count: 36 } });
  });

  test('the plan id is the digest of input and decision', () => {
    const given = makeInput();
    const { planId, ...decision } = planned(given);
    expect(planId).toBe(planIdOf(given, decision));
    expect(planned({ ...given, where: { ...given.where, epoch: 2 } }).planId).not.toBe(planId);
  });

  test('the plan id of a fixed input and registry is stable', () => {
    const given = makeInput({ registry: { digest: 'fixed' } });
    const { planId: _, ...decision } = planned(makeInput());
    expect(planIdOf(given, decision)).toMatchInlineSnapshot(
      `"aeff78d110a129cd5a3ad5539585b4fb0c143e79805702b35a84abbdd160cf91"`,
    );
  });
});
