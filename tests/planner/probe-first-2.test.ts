import { describe, expect, test } from 'vitest';
import {
  REGISTRY,
  withWaitingVariants,
  withExternalVariants,
  type Registry,
} from '../../registry/index.ts';
import { emptyHistory, foldOutcome, shapeBucket } from '../../telemetry/index.ts';
import {
  CPU,
  GIB,
  GPU,
  GPU_SNAPSHOT,
  SNAPSHOT,
  WORK,
  codesOf,
  makeInput as makeAnyInput,
  makeVariant,
  planned,
  rejectsOf,
  testRegistry,
  type InputChanges,
} from './fixtures.ts';

function makeInput(changes: InputChanges = {}, registry: Registry = REGISTRY) {
  return makeAnyInput({ policyId: 'probe-first@2', ...changes }, registry);
}

/** fp32 has a variant only where those that wait for a device record are asked for. */
const ALL = withWaitingVariants(REGISTRY);

function historyOf(rowsPerSecond: number, variant = 'assign/grid-avx2@1') {
  return foldOutcome(emptyHistory(), {
    variant,
    deviceClass: 'cpu-avx2',
    shape: shapeBucket(WORK),
    rows: rowsPerSecond * 4,
    seconds: 4,
    predictedSeconds: 2,
    failed: false,
  });
}

const RATE = 50_000_000;
const KNOWN = { history: historyOf(RATE), where: { reservedTiles: 100_000 } };
const FULL_TILES = { work: { rows: 100_000 * 65_536, remainingRows: 1e12 } };

describe('choice of a CPU variant', () => {
  test('normal work prefers grid-avx2 over grid-scalar over brute-exact', () => {
    const { candidates, variant } = planned(makeInput());
    const scores = ['grid-avx2', 'grid-scalar', 'brute-exact'].map(
      (name) => candidates.find((each) => each.variant === `assign/${name}@1`)?.score ?? NaN,
    );
    expect(variant).toBe('assign/grid-avx2@1');
    expect(scores[0]).toBeGreaterThan(scores[1] ?? NaN);
    expect(scores[1]).toBeGreaterThan(scores[2] ?? NaN);
  });

  test('without AVX2 or without FMA the scalar grid runs', () => {
    for (const isa of [[], ['avx2'], ['fma']]) {
      const plan = planned(makeInput({ snapshot: { ...SNAPSHOT, isa } }));
      expect(plan.variant).toBe('assign/grid-scalar@1');
      expect(rejectsOf(plan)['assign/grid-avx2@1']).toBe('ISA_MISSING');
    }
  });

  test('where the index does not fit, brute force still plans', () => {
    const plan = planned(makeInput({ work: { indexBytes: 3 * GIB } }));
    expect(plan.variant).toBe('assign/brute-exact@1');
    expect(rejectsOf(plan)['assign/grid-avx2@1']).toBe('MEMORY_EXCEEDED');
  });

  test.each([
    ['a few rows on a small layer', 1_000, 20, 'assign/brute-exact@1'],
    ['a few rows on a large layer', 1_000, 190_000, 'assign/grid-avx2@1'],
    ['many rows on a small layer', 10_000_000, 20, 'assign/grid-avx2@1'],
  ])('%s go to the right variant', (_, rows, vertices, variant) => {
    expect(planned(makeInput({ work: { rows, remainingRows: rows, vertices } })).variant).toBe(
      variant,
    );
  });

  test('GPU variants are rejected where there is no device', () => {
    const plan = planned(makeInput());
    expect(plan.runtime).toBe('cpu');
    expect(rejectsOf(plan)).toMatchObject({ 'assign/cuda-grid-fp64@1': 'NO_DEVICE' });
    expect(codesOf(plan)).toEqual(expect.arrayContaining(['TELEMETRY_UNAVAILABLE', 'NO_GPU']));
  });

  test('a failed variant is left out on that device of that host only', () => {
    const failed = { variant: 'assign/grid-avx2@1', deviceId: 'cpu', failure: 'SIGSEGV' };
    const here = planned(makeInput({ excluded: [{ ...failed, host: 'host-1' }] }));
    const there = planned(makeInput({ excluded: [{ ...failed, host: 'host-2' }] }));
    expect(here.variant).toBe('assign/grid-scalar@1');
    expect(rejectsOf(here)['assign/grid-avx2@1']).toBe('EXCLUDED_AFTER_FAILURE');
    expect(there.variant).toBe('assign/grid-avx2@1');
  });

  test('measured speed replaces declared speed and corrects that of the other variants', () => {
    const slow = historyOf(1_000_000);
    const plan = planned(makeInput({ history: slow }));
    expect(plan.variant).toBe('assign/grid-avx2@1');
    expect(plan.reasons).toContainEqual({
      code: 'RATE_HISTORY',
      params: { rowsPerSecond: 1_000_000, chunks: 1 },
    });
    const excluded = [
      { variant: 'assign/grid-avx2@1', deviceId: 'cpu', host: 'host-1', failure: 'x' },
    ];
    expect(codesOf(planned(makeInput({ history: slow, excluded })))).toContain('RATE_CALIBRATED');
  });

  test('the variant that ran before keeps its place against an equal one', () => {
    const registry = testRegistry([makeVariant({ name: 'a' }), makeVariant({ name: 'b' })]);
    const previous = {
      planId: 'x',
      variant: 'test/b@1',
      runtime: 'cpu',
      deviceId: 'cpu',
      chunkTiles: 1,
      chunkRowsHint: 1,
      predictedSeconds: 1,
      actualSeconds: 1,
    } as const;
    const input = makeInput({ previous, work: { operation: 'test' } }, registry);
    expect(planned(input, registry).variant).toBe('test/b@1');
  });

  test('an external variant takes part, and only where it is pinned if it is not exact', () => {
    const [template] = REGISTRY.operations[0]?.variants ?? [];
    const base = { ...(template ?? makeVariant({ name: 'x' })), library: 'external' } as const;
    const registry = withExternalVariants(REGISTRY, [
      {
        ...base,
        id: 'assign/fast-guess@1',
        name: 'fast-guess',
        numericClass: 'compensated',
        throughput: { ...base.throughput, rowsPerSecondOrdered: 1e12 },
      },
    ]);
    const plan = planned(makeInput({}, registry), registry);
    expect(rejectsOf(plan)['assign/fast-guess@1']).toBe('NUMERIC_CLASS_NOT_EXACT');
  });
});

describe('choice of a GPU variant', () => {
  test.each([
    [0.5, 'assign/cuda-grid-fp64@1', 'fp64', 'PRECISION_NATIVE_FP64'],
    [0.25, 'assign/cuda-grid-fp64@1', 'fp64', 'PRECISION_NATIVE_FP64'],
    [1 / 64, 'assign/cuda-grid-fp32@1', 'fp32', 'PRECISION_SLOW_FP64'],
    [null, 'assign/cuda-grid-fp32@1', 'fp32', 'PRECISION_SLOW_FP64'],
  ] as const)('fp64 at %s of fp32 speed takes %s', (fp64Ratio, variant, compute, code) => {
    const snapshot = { ...GPU_SNAPSHOT, devices: [CPU, { ...GPU, fp64Ratio }] };
    const plan = planned(makeInput({ snapshot }, ALL), ALL);
    expect([plan.variant, plan.precision.compute]).toEqual([variant, compute]);
    expect(codesOf(plan)).toContain(code);
  });

  test('the less busy of two equal devices gets the work', () => {
    const devices = [CPU, { ...GPU, slotsBusy: 2 }, { ...GPU, deviceId: 'GPU-2', slotsBusy: 1 }];
    expect(planned(makeInput({ snapshot: { ...GPU_SNAPSHOT, devices } })).deviceId).toBe('GPU-2');
  });

  test('a quarantined GPU is no GPU', () => {
    const devices = [CPU, { ...GPU, quarantine: 'sticky CUDA error' }];
    const plan = planned(makeInput({ snapshot: { ...GPU_SNAPSHOT, devices } }));
    expect(plan.runtime).toBe('cpu');
    expect(rejectsOf(plan)['assign/cuda-grid-fp64@1']).toBe('DEVICE_QUARANTINED');
  });

  test('work that no GPU variant can do is planned for the CPU, and the plan says so', () => {
    const place = { deviceId: 'GPU-1', host: 'host-1' };
    const excluded = [{ variant: 'assign/cuda-grid-fp64@1', ...place, failure: 'CUDA fault' }];
    const plan = planned(makeInput({ snapshot: GPU_SNAPSHOT, excluded }));
    expect(plan.runtime).toBe('cpu');
    expect(codesOf(plan)).toContain('RUNTIME_SWITCHED');
  });

  test('where no variant computes in fp32 an automatic choice uses fp64', () => {
    const registry = testRegistry([
      makeVariant({ name: 'gpu', runtime: 'gpu', precisionModes: ['fp64'] }),
    ]);
    const snapshot = { ...GPU_SNAPSHOT, devices: [{ ...GPU, fp64Ratio: null }] };
    const plan = planned(makeInput({ snapshot, work: { operation: 'test' } }, registry), registry);
    expect(plan.precision.compute).toBe('fp64');
    expect(codesOf(plan)).toContain('PRECISION_NO_VARIANT');
  });
});

describe('chunk size', () => {
  test('a chunk takes its target seconds at the measured speed', () => {
    const plan = planned(makeInput({ ...KNOWN, ...FULL_TILES }));
    expect(plan.chunkTiles).toBe(Math.floor((RATE * 2) / 65_536));
    expect(plan.predicted.seconds).toBeCloseTo(2, 1);
    expect(codesOf(plan)).toContain('CHUNK_BY_TIME');
  });

  test('the first chunk of a variant is a probe, while its hint is already a full chunk', () => {
    const plan = planned(makeInput());
    expect(plan.chunkTiles).toBe(4);
    expect(plan.chunkRowsHint).toBeGreaterThan(10_000_000);
    expect(codesOf(plan)).toContain('CHUNK_PROBE');
  });

  test.each([
    ['host memory 90 % full', { memAvailableBytes: 1.6 * GIB }, 0.25],
    ['host memory 80 % full', { memAvailableBytes: 3.2 * GIB }, 1],
    ['host memory unknown', { memAvailableBytes: null }, 1],
  ])('with %s the rows are scaled', (_, changes, factor) => {
    const snapshot = { ...SNAPSHOT, ...changes };
    const plan = planned(makeInput({ ...KNOWN, ...FULL_TILES, snapshot }));
    expect(plan.chunkRowsHint).toBe(RATE * 2 * factor);
  });

  test('metrics of a stale snapshot count as unknown', () => {
    const snapshot = { ...SNAPSHOT, memAvailableBytes: 0, ageMs: 30_001 };
    const plan = planned(makeInput({ ...KNOWN, ...FULL_TILES, snapshot }));
    expect(codesOf(plan)).toContain('TELEMETRY_STALE');
    expect(codesOf(plan)).not.toContain('CHUNK_MEMORY_PRESSURE');
  });

  test('a larger chunk needs no more memory on a CPU, with per-row output neither', () => {
    const limits = { memoryBytesMax: 256 * 1024 ** 2 };
    for (const bytesOutPerRow of [0, 4, 100]) {
      const full = planned(
        makeInput({ ...KNOWN, work: { ...FULL_TILES.work, bytesOutPerRow }, limits }),
      );
      expect(codesOf(full)).not.toContain('CHUNK_BY_MEMORY');
      expect(full.chunkTiles).toBe(Math.floor((RATE * 2) / 65_536));
    }
  });

  test('the predicted peak is what executors with two cores were measured to take', () => {
    // VmHWM of an executor over counties, 1 and 2 measures: 190 to 240 MB, Node's 100 MB included.
    const { predicted } = planned(makeInput({ ...KNOWN, ...FULL_TILES }));
    expect(predicted.peakBytes).toBeGreaterThan(190e6);
    expect(predicted.peakBytes).toBeLessThan(260e6);
  });

  test('batches become smaller before a limit refuses the chunk', () => {
    const peakAt = (mebibytes: number): number =>
      planned(
        makeInput({ ...KNOWN, ...FULL_TILES, limits: { memoryBytesMax: mebibytes * 2 ** 20 } }),
      ).predicted.peakBytes;
    expect(peakAt(80)).toBeLessThan(peakAt(200));
    expect(peakAt(200)).toBe(peakAt(2_000));
    expect(peakAt(80) - 104 * 2 ** 20).toBeLessThanOrEqual(80 * 2 ** 20);
  });

  test('a chunk that does not fit a GPU is cut to what does', () => {
    const devices = [CPU, { ...GPU, memFreeBytes: 2 * GIB }];
    const snapshot = { ...GPU_SNAPSHOT, devices };
    const history = foldOutcome(emptyHistory(), {
      variant: 'assign/cuda-grid-fp64@1',
      deviceClass: GPU.deviceClass,
      shape: shapeBucket(makeInput().work),
      ...{ rows: RATE, seconds: 1, predictedSeconds: 1, failed: false },
    });
    const large = { work: { rows: 1e9, remainingRows: 1e12 }, where: { reservedTiles: 20_000 } };
    const plan = planned(makeInput({ history, ...large, snapshot }));
    expect(codesOf(plan)).toContain('CHUNK_BY_MEMORY');
    expect(plan.predicted.peakBytes).toBeLessThanOrEqual(GIB);
  });

  test('after an out-of-memory failure no chunk has more rows than what was left', () => {
    const limits = { chunkRowsMax: 200_000 };
    const plan = planned(makeInput({ ...KNOWN, ...FULL_TILES, limits }));
    expect(plan.chunkTiles).toBe(3);
    expect(codesOf(plan)).toContain('CHUNK_AFTER_OOM');
  });

  test('a cap below one tile still takes one tile', () => {
    const plan = planned(makeInput({ ...KNOWN, limits: { chunkRowsMax: 10 } }));
    expect(plan.chunkTiles).toBe(1);
    expect(codesOf(plan)).toContain('CHUNK_ONE_TILE');
  });

  test('near the end chunks shrink to a quarter of what remains, then to a floor', () => {
    const tiles: number[] = [];
    let remaining = 12_000;
    while (remaining > 0) {
      const rows = remaining * 65_536;
      const where = { reservedTiles: remaining };
      const work = { rows, remainingRows: rows };
      const plan = planned(makeInput({ history: KNOWN.history, where, work }));
      tiles.push(plan.chunkTiles);
      remaining -= plan.chunkTiles;
    }
    const full = Math.floor((RATE * 2) / 65_536);
    expect(tiles[0]).toBe(full);
    expect(tiles.every((each, index) => index === 0 || each <= (tiles[index - 1] ?? 0))).toBe(true);
    expect(tiles.filter((each) => each < full).length).toBeLessThan(12);
    expect(Math.min(...tiles.slice(0, -1))).toBeGreaterThanOrEqual(Math.floor(full / 4));
  });

  test('an empty range is one chunk', () => {
    const plan = planned(makeInput({ work: { rows: 0, remainingRows: 0 } }));
    expect(plan.chunkTiles).toBe(16);
    expect(codesOf(plan)).toContain('CHUNK_EMPTY');
  });

  test('a variant with a row limit gets chunks within it', () => {
    const registry = testRegistry([makeVariant({ name: 'small', maxRows: 200_000 })]);
    const plan = planned(makeInput({ work: { operation: 'test' } }, registry), registry);
    expect(plan.chunkTiles).toBe(3);
    expect(codesOf(plan)).toContain('CHUNK_BY_VARIANT');
  });
});
