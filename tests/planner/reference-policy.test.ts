// The behaviours that the reference's tests assert (reference/adaptive-runtime.md §2), as tables.
import { describe, expect, test } from 'vitest';
import { policyById } from '../../planner/index.ts';
import type { KernelClass, OperationSpec } from '../../registry/index.ts';
import { crossoverUnits } from '../../planner/index.ts';
import {
  CPU,
  GPU,
  GPU_SNAPSHOT,
  codesOf,
  makeInput,
  makeVariant,
  planned,
  refused,
  rejectsOf,
  testRegistry,
  type InputChanges,
} from './fixtures.ts';

const CPU_VARIANT = makeVariant({ name: 'cpu', runtime: 'cpu' });
const GPU_VARIANT = makeVariant({ name: 'gpu', runtime: 'gpu' });
const CLASSES = ['coarse', 'metric', 'predicate', 'constructive'] as const;

function registryOf(kernelClass: KernelClass) {
  return testRegistry(
    [
      { ...CPU_VARIANT, kernelClass },
      { ...GPU_VARIANT, kernelClass },
    ],
    kernelClass,
  );
}

function planReference(kernelClass: KernelClass, rows: number, changes: InputChanges = {}) {
  const registry = registryOf(kernelClass);
  const input = makeInput(
    {
      policyId: 'probe-first@1',
      snapshot: GPU_SNAPSHOT,
      ...changes,
      where: { reservedTiles: 1_000_000, ...changes.where },
      work: {
        operation: 'test',
        kernelClass,
        rows,
        remainingRows: rows,
        tileRows: 1_000,
        chunkIndex: 0,
        ...changes.work,
      },
    },
    registry,
  );
  return planned(input, registry);
}

const withGpu = (gpu: Partial<typeof GPU>): typeof GPU_SNAPSHOT => ({
  ...GPU_SNAPSHOT,
  devices: [CPU, { ...GPU, ...gpu }],
});

const UNKNOWN = {
  utilizationPct: null,
  memTotalBytes: null,
  memFreeBytes: null,
  temperatureC: null,
  throttled: null,
};

describe('telemetry', () => {
  test('a GPU without telemetry is usable and the plan says it used static heuristics', () => {
    const snapshot = {
      ...withGpu(UNKNOWN),
      backend: 'unavailable' as const,
      reason: 'NVML is not loaded',
    };
    const plan = planReference('predicate', 1_000_000, { snapshot });
    expect(plan.runtime).toBe('gpu');
    expect(plan.reasons[0]).toEqual({
      code: 'TELEMETRY_UNAVAILABLE',
      params: { why: 'NVML is not loaded' },
    });
  });

  test('with NVML values no reason speaks of missing telemetry', () => {
    expect(codesOf(planReference('predicate', 1_000_000))).not.toContain('TELEMETRY_UNAVAILABLE');
  });

  test('an unknown utilisation is not an idle device', () => {
    const idle = planReference('predicate', 1_000_000, {
      snapshot: withGpu({ utilizationPct: 0 }),
    });
    const unknown = planReference('predicate', 1_000_000, { snapshot: withGpu(UNKNOWN) });
    expect(idle.chunkRowsHint).toBe(250_000);
    expect(unknown.chunkRowsHint).toBe(100_000);
  });
});

describe('crossover', () => {
  test.each([
    ['coarse', 1_000, 256],
    ['metric', 5_000, 500],
    ['predicate', 10_000, 1_000],
    ['constructive', 50_000, 500],
  ] as const)(
    '%s goes to the GPU from %i pairwise rows and %i broadcast rows on',
    (kernelClass, pairwise, broadcast) => {
      for (const [shape, threshold] of [
        ['pairwise', pairwise],
        ['broadcast-right', broadcast],
        ['scalar-right', broadcast],
      ] as const) {
        const runtimes = [threshold - 1, threshold, threshold + 1].map(
          (rows) => planReference(kernelClass, rows, { work: { shape } }).runtime,
        );
        expect(runtimes).toEqual(['cpu', 'gpu', 'gpu']);
      }
    },
  );

  test.each([
    ['normalize', 500],
    ['centroid', 500],
    ['area', 500],
    ['length', 500],
    ['make-valid', 2_000],
    ['segment-classify', 4_096],
    ['linestring-buffer', 5_000],
    ['point-clip', 10_000],
    ['clip-mask-filter', 50_000],
    ['point-buffer', 0],
    ['index-build', 0],
    ['bbox-candidates', 0],
    ['grid-candidates', 0],
    ['box-query', 0],
    ['knn', 0],
    ['within', 0],
  ])('%s has its own threshold of %i rows, whatever its class', (name, threshold) => {
    const { crossover } = policyById('probe-first@1').data;
    for (const kernelClass of CLASSES) {
      const operation: OperationSpec = {
        name,
        summary: '',
        kernelClass,
        crossover: null,
        variants: [],
      };
      expect(crossoverUnits(crossover, operation, 'pairwise')).toBe(threshold);
      expect(crossoverUnits(crossover, operation, 'broadcast-right')).toBe(
        Math.floor(threshold / 10),
      );
    }
  });

  test("an operation's own crossover in the registry goes before the class default", () => {
    const { crossover } = policyById('probe-first@1').data;
    const operation: OperationSpec = {
      name: 'assign',
      summary: '',
      kernelClass: 'predicate',
      crossover: { pairwiseMinRows: 7, broadcastMinRows: 3 },
      variants: [],
    };
    expect(crossoverUnits(crossover, operation, 'pairwise')).toBe(7);
    expect(crossoverUnits(crossover, operation, 'scalar-right')).toBe(3);
  });

  test('2,000 broadcast rows go to the GPU where 2,000 pairwise rows stay on the CPU', () => {
    expect(planReference('predicate', 2_000, { work: { shape: 'broadcast-right' } }).runtime).toBe(
      'gpu',
    );
    expect(planReference('predicate', 2_000).runtime).toBe('cpu');
  });

  test('a predicate on 1,000 rows stays on the CPU in fp64', () => {
    const plan = planReference('predicate', 1_000);
    expect(plan.runtime).toBe('cpu');
    expect(plan.precision.compute).toBe('fp64');
    expect(rejectsOf(plan)['test/gpu@1']).toBe('RUNTIME_NOT_CHOSEN');
  });

  test.each([
    [100, 'cpu'],
    [60_000, 'gpu'],
  ])('constructive work on %i rows goes to the %s', (rows, runtime) => {
    expect(planReference('constructive', rows).runtime).toBe(runtime);
  });

  test('ten rows with many candidate pairs are dispatched by their pairs, and the reason names the unit', () => {
    const plan = planReference('predicate', 10, { work: { workUnits: 40_000 } });
    expect(plan.runtime).toBe('gpu');
    expect(plan.reasons).toContainEqual({
      code: 'CROSSOVER_REACHED',
      params: { units: 40_000, unit: 'work units', threshold: 10_000 },
    });
  });
});

describe('explicit choices', () => {
  test.each(CLASSES)(
    'an explicit GPU takes a single row of %s work past the crossover',
    (kernelClass) => {
      const requested = { mode: 'gpu', precision: 'auto' } as const;
      const plan = planReference(kernelClass, 1, { requested });
      expect(plan.runtime).toBe('gpu');
      expect(codesOf(plan)).toContain('MODE_REQUESTED');
    },
  );

  test('an explicit GPU without a device fails instead of running elsewhere', () => {
    const registry = registryOf('predicate');
    const changes: InputChanges = {
      policyId: 'probe-first@1',
      requested: { mode: 'gpu', precision: 'auto' },
      work: { operation: 'test' },
    };
    const refusal = refused(makeInput(changes, registry), registry);
    expect(refusal.code).toBe('REQUEST_IMPOSSIBLE');
    expect(refusal.onRefusal).toBe('fail');
    expect(rejectsOf(refusal)['test/gpu@1']).toBe('NO_DEVICE');
  });

  test('one device-resident row stays on the device, but an explicit CPU still wins', () => {
    const work = { residency: 'device' } as const;
    const sticky = planReference('predicate', 1, { work });
    expect(sticky.runtime).toBe('gpu');
    expect(codesOf(sticky)).toContain('DEVICE_RESIDENT');
    const requested = { mode: 'cpu', precision: 'auto' } as const;
    expect(planReference('predicate', 1, { work, requested }).runtime).toBe('cpu');
  });

  test('asking for another precision keeps the device and its profile', () => {
    const auto = planReference('predicate', 60_000);
    const fp32 = planReference('predicate', 60_000, {
      requested: { mode: 'auto', precision: 'fp32' },
    });
    expect([auto.precision.compute, fp32.precision.compute]).toEqual(['fp64', 'fp32']);
    expect([fp32.runtime, fp32.deviceId]).toEqual([auto.runtime, auto.deviceId]);
  });
});

describe('variants', () => {
  const points = makeVariant({ name: 'points', geometryFamilies: ['point'] });
  const general = makeVariant({ name: 'general' });

  test.each([
    ['point', 'test/points@1'],
    ['polygon', 'test/general@1'],
  ] as const)('a %s chunk goes to %s', (family, variant) => {
    const registry = testRegistry([general, points]);
    const work = { operation: 'test', families: [family], mixed: false };
    const plan = planned(makeInput({ policyId: 'probe-first@1', work }, registry), registry);
    expect(plan.variant).toBe(variant);
  });

  test.each([
    [63, 'test/lane@1'],
    [64, 'test/team@1'],
  ])('with %i vertices per feature %s wins', (meanVertices, variant) => {
    const registry = testRegistry([
      makeVariant({ name: 'lane' }),
      makeVariant({ name: 'team', tags: ['cooperative'] }),
    ]);
    const work = { operation: 'test', meanVertices };
    const plan = planned(makeInput({ policyId: 'probe-first@1', work }, registry), registry);
    expect(plan.variant).toBe(variant);
  });

  test('ties go to the variant registered first', () => {
    const registry = testRegistry([makeVariant({ name: 'b' }), makeVariant({ name: 'a' })]);
    const plan = planned(
      makeInput({ policyId: 'probe-first@1', work: { operation: 'test' } }, registry),
      registry,
    );
    expect(plan.variant).toBe('test/b@1');
    expect(codesOf(plan)).toContain('VARIANT_TIE');
  });

  test.each([
    [{ class: 4, families: 9, residency: 1, mixed: 2, granularity: 2 }, {}],
    [{ families: 9, residency: 1, mixed: 2, granularity: 2 }, { kernelClass: 'metric' }],
    [{ class: 4, families: 1, residency: 1, mixed: 2, granularity: 2 }, { geometryFamilies: [] }],
    [{ class: 4, families: 9, mixed: 2, granularity: 2 }, { preferredResidency: 'device' }],
  ] as const)('the score is made of %j', (terms, changes) => {
    const variant = makeVariant({
      name: 'one',
      geometryFamilies: ['polygon', 'multipolygon'],
      preferredResidency: 'host',
      ...changes,
    });
    const registry = testRegistry([variant]);
    const input = makeInput({ policyId: 'probe-first@1', work: { operation: 'test' } }, registry);
    const [candidate] = planned(input, registry).candidates;
    expect(candidate?.terms).toEqual(terms);
    expect(candidate?.score).toBe(Object.values(terms).reduce((sum, term) => sum + term, 0));
  });
});

describe('chunks', () => {
  test.each([
    ['92 % full memory', { memFreeBytes: 0.08 * 128 * 1024 ** 3 }, 25_000, 'CHUNK_HINT_PRESSURE'],
    ['a device below 40 %', { utilizationPct: 39 }, 250_000, 'CHUNK_HINT_IDLE'],
    ['a device at 40 %', { utilizationPct: 40 }, 100_000, 'CHUNK_HINT_DEFAULT'],
  ] as const)('with %s a million rows go in chunks of the right size', (_, gpu, rows, code) => {
    const plan = planReference('predicate', 1_000_000, { snapshot: withGpu(gpu) });
    expect(plan.chunkRowsHint).toBe(rows);
    expect(codesOf(plan)).toContain(code);
  });

  test('an idle device does not enlarge the chunks of little work', () => {
    const plan = planReference('predicate', 90_000, { snapshot: withGpu({ utilizationPct: 0 }) });
    expect(plan.chunkRowsHint).toBe(90_000);
  });

  test('without a GPU all rows are one chunk, and no rows give a hint of none', () => {
    const snapshot = { ...GPU_SNAPSHOT, devices: [CPU] };
    expect(planReference('predicate', 777_000, { snapshot }).chunkRowsHint).toBe(777_000);
    expect(planReference('predicate', 0, { snapshot }).chunkRowsHint).toBe(0);
  });

  test.each([
    ['the first streaming chunk on a GPU', 0, true, 'gpu', true],
    ['a later chunk', 1, true, 'gpu', false],
    ['work that does not stream', 0, false, 'gpu', false],
    ['a chunk on the CPU', 0, true, 'cpu', false],
  ] as const)('%s asks for a new plan after it: %#', (_, chunkIndex, streaming, mode, expected) => {
    const plan = planReference('predicate', 1_000_000, {
      requested: { mode, precision: 'auto' },
      work: { chunkIndex, streaming },
    });
    expect(codesOf(plan).includes('REPLAN_AFTER_PROBE')).toBe(expected);
  });
});
