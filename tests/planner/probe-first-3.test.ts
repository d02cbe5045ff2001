import { describe, expect, test } from 'vitest';
import { canonicalJson } from '../../core/index.ts';
import { REGISTRY, findVariant } from '../../registry/index.ts';
import { foldOutcome, shapeBucket, type DeviceSnapshot } from '../../telemetry/index.ts';
import {
  CPU,
  GIB,
  GPU,
  GPU_SNAPSHOT,
  WORK,
  codesOf,
  makeInput,
  makePin,
  pinned,
  refused,
  rejectsOf,
} from './fixtures.ts';
import {
  AVX2,
  CUDA,
  IDLE,
  LARGE,
  METRICS,
  RESERVED,
  SECOND,
  WARM,
  measured,
  onHost,
} from './gpu-fixtures.ts';

const placeOf = (plan: ReturnType<typeof onHost>): string => `${plan.variant} ${plan.deviceId}`;

describe('below the crossover', () => {
  const small = { rows: 9_999, remainingRows: 9_999 };

  test('the CPU runs, whatever was measured', () => {
    const plan = onHost([CPU, IDLE], { work: small, history: measured({ cpu: 1, gpu: 1e9 }) });
    expect(plan.runtime).toBe('cpu');
    expect(codesOf(plan)).toContain('CROSSOVER_BELOW');
  });

  test('the work stays on a device that has its index', () => {
    const work = { ...small, residency: 'device' } as const;
    const plan = onHost([CPU, IDLE, { ...WARM, deviceId: 'GPU-3' }], { work });
    expect(placeOf(plan)).toBe(`${CUDA} GPU-3`);
    expect(codesOf(plan)).toContain('DEVICE_RESIDENT');
  });
});

describe('above the crossover', () => {
  test.each([
    ['a CPU measured faster than the GPU', { cpu: 900e6, gpu: 300e6 }, 'cpu'],
    ['a GPU measured faster than the CPU', { cpu: 100e6, gpu: 300e6 }, 'gpu'],
    // Declared: 246 M rows/s on two cores, 0.86 G on the GPU with its copies.
    ['a GPU measured slower than declared', { cpu: 240e6, gpu: 20e6 }, 'cpu'],
    ['a CPU measured slower than declared', { cpu: 1e6, gpu: 20e6 }, 'gpu'],
  ] as const)('%s: evidence beats declared rates', (_, speeds, runtime) => {
    const plan = onHost([CPU, IDLE], { history: measured(speeds) });
    expect(plan.runtime).toBe(runtime);
    expect(codesOf(plan)).toEqual(expect.arrayContaining(['CROSSOVER_OPEN', 'DONE_FIRST']));
  });

  test('a score is the sum of its pieces, each in points', () => {
    const devices = [CPU, { ...IDLE, slotsBusy: 1 }];
    const { candidates } = onHost(devices, { history: measured({ cpu: 1e6 }) });
    const { terms = {}, score } = candidates.find(({ variant }) => variant === CUDA) ?? {};
    expect(Object.keys(terms).toSorted()).toEqual(['busy', 'copies', 'fixed', 'speed', 'upload']);
    const sum = Object.values(terms).reduce((total, term) => total + term, 0);
    expect(score).toBeCloseTo(sum, 6);
    // Twice the seconds cost ten points.
    expect(terms['busy']).toBeCloseTo(-10, 0);
  });

  test('a cold index costs its upload, in proportion to what remains', () => {
    // 25 GB take a second at the declared 25 GB/s; the CPU takes 0.8 s for 200 M rows.
    const work = { indexBytes: 25e9 };
    const speeds = { cpu: 250e6, gpu: 500e6 };
    const limits = { memoryBytesMax: 64 * GIB };
    const history = measured(speeds, 30);
    const last = { ...work, remainingRows: LARGE.rows };
    expect(onHost([CPU, WARM], { work: last, history, limits }).runtime).toBe('gpu');
    expect(onHost([CPU, IDLE], { work: last, history, limits }).runtime).toBe('cpu');
    expect(onHost([CPU, IDLE], { work, history, limits }).runtime).toBe('gpu');
  });

  test('little work stays where nothing has to be launched', () => {
    const history = measured({ cpu: 200e6, gpu: 900e6 });
    const runtimes = [20_000, 3_000_000, 100_000_000].map(
      (rows) => onHost([CPU, IDLE], { history, work: { rows, remainingRows: rows } }).runtime,
    );
    expect(runtimes).toEqual(['cpu', 'gpu', 'gpu']);
  });

  test('on the chosen GPU a prediction has rows, launches and upload', () => {
    const { throughput } = findVariant(REGISTRY, CUDA);
    const upload = 25e9;
    const plan = onHost([IDLE], { history: measured({ gpu: 500e6 }, 30) });
    const rows = plan.chunkTiles * Math.ceil(LARGE.rows / RESERVED.where.reservedTiles);
    const expected = rows / 500e6 + throughput.fixedSeconds + WORK.indexBytes / upload;
    expect(plan.predicted.seconds).toBeGreaterThan(expected * 0.99);
    expect(plan.predicted.seconds).toBeLessThan(expected * 1.01);
  });
});

describe('busy devices', () => {
  const history = measured({ cpu: 240e6, gpu: 400e6 });
  const busy = (chunks: number): DeviceSnapshot => ({ ...IDLE, slotsBusy: chunks });

  test('lanes spread over GPU 1, GPU 2 and the CPU', () => {
    const devices = [CPU, IDLE, SECOND].map((device) => ({ ...device, slotsBusy: 0 }));
    const taken: string[] = [];
    for (let lane = 0; lane < 4; lane += 1) {
      const { deviceId } = onHost(devices, { history });
      taken.push(deviceId);
      for (const device of devices) if (device.deviceId === deviceId) device.slotsBusy += 1;
    }
    expect(taken).toEqual(['GPU-1', 'GPU-2', 'cpu', 'GPU-1']);
  });

  test('nobody waits for a fast device longer than the slow one takes', () => {
    const slow = measured({ cpu: 100e6, gpu: 400e6 });
    expect(onHost([CPU, busy(2)], { history: slow }).runtime).toBe('gpu');
    expect(onHost([CPU, busy(4)], { history: slow }).runtime).toBe('cpu');
  });

  test('slots overlap on a GPU that is known to be under-used, and on no other', () => {
    const two = { ...busy(1), slots: 2 };
    const place = (utilizationPct: number | null) =>
      onHost([CPU, { ...two, utilizationPct }], { history }).runtime;
    expect([place(39), place(40), place(null)]).toEqual(['gpu', 'cpu', 'cpu']);
  });

  test('a device whose load is unknown goes after one known to be idle', () => {
    const devices = [CPU, { ...IDLE, slotsBusy: null }, SECOND];
    expect(onHost(devices, { history }).deviceId).toBe('GPU-2');
  });
});

describe('probes', () => {
  test('a GPU without history is probed once, then evidence decides', () => {
    const first = onHost([CPU, IDLE], { history: measured({ cpu: 800e6 }) });
    expect(first.runtime).toBe('gpu');
    expect(codesOf(first)).toContain('CHUNK_PROBE');
    expect(first.chunkTiles).toBe(4_194_304 / WORK.tileRows);
    const slow = foldOutcome(measured({ cpu: 800e6 }), {
      variant: CUDA,
      deviceClass: GPU.deviceClass,
      shape: shapeBucket(WORK),
      ...{ rows: 4_194_304, seconds: 0.5, predictedSeconds: 0.01, failed: false },
    });
    expect(onHost([CPU, IDLE], { history: slow }).runtime).toBe('cpu');
  });

  test('a GPU that is declared slower than what was measured is probed all the same', () => {
    const history = measured({ cpu: 2_000e6 });
    const plan = onHost([CPU, IDLE], { history });
    expect(plan.runtime).toBe('gpu');
    expect(codesOf(plan)).toContain('PROBE_DUE');
  });

  test.each([
    ['a GPU that is hopeless by declaration', { history: measured({ cpu: 20_000e6 }) }, IDLE],
    [
      'so little work that a probe is a good part of it',
      { history: measured({ cpu: 900e6 }), work: { rows: 3e7, remainingRows: 3e7 } },
      IDLE,
    ],
    [
      'a GPU that somebody uses, or may use',
      { history: measured({ cpu: 2_000e6 }) },
      { ...IDLE, slotsBusy: 1 },
    ],
    [
      'a GPU of which that is unknown',
      { history: measured({ cpu: 2_000e6 }) },
      { ...IDLE, slotsBusy: null },
    ],
  ] as const)('there is none for %s', (_, changes, gpu) => {
    expect(onHost([CPU, gpu], changes).runtime).toBe('cpu');
  });

  test('one that failed is not repeated', () => {
    const failed = foldOutcome(measured({ cpu: 2_000e6 }), {
      variant: CUDA,
      deviceClass: GPU.deviceClass,
      shape: shapeBucket(WORK),
      ...{ rows: 0, seconds: 0, predictedSeconds: 1, failed: true },
    });
    expect(onHost([CPU, IDLE], { history: failed }).runtime).toBe('cpu');
  });

  test('a CPU that was never measured is probed beside a measured GPU', () => {
    const plan = onHost([{ ...CPU, slotsBusy: 0 }, IDLE], { history: measured({ gpu: 700e6 }) });
    expect(plan.variant).toBe(AVX2);
    expect(codesOf(plan)).toEqual(expect.arrayContaining(['PROBE_DUE', 'CHUNK_PROBE']));
  });

  test('chunks grow by what was measured on the GPU, at most sixteen times', () => {
    const probed = foldOutcome(measured({ cpu: 100e6 }), {
      variant: CUDA,
      deviceClass: GPU.deviceClass,
      shape: shapeBucket(WORK),
      ...{ rows: 8_000_000, seconds: 0.1, predictedSeconds: 0.1, failed: false },
    });
    const plan = onHost([CPU, IDLE], { history: probed });
    expect(plan.chunkRowsHint).toBe(16 * 8_000_000);
    expect(codesOf(plan)).toContain('CHUNK_BY_EVIDENCE');
  });
});

describe('stickiness', () => {
  const previous = (variant: string, deviceId: string) => ({
    previous: {
      planId: 'x',
      variant,
      runtime: variant === CUDA ? ('gpu' as const) : ('cpu' as const),
      deviceId,
      chunkTiles: 1,
      chunkRowsHint: 1,
      predictedSeconds: 1,
      actualSeconds: 1,
    },
  });

  test.each([
    [1.03, 'stays', AVX2],
    [1.08, 'moves', CUDA],
  ])('another device that is %s times as fast: the work %s', (times, _, variant) => {
    const history = measured({ cpu: 300e6, gpu: 300e6 * times }, 30);
    const plan = onHost([CPU, WARM], { history, ...previous(AVX2, 'cpu') });
    expect(plan.variant).toBe(variant);
    expect(codesOf(plan)).toContain(variant === AVX2 ? 'DEVICE_KEPT' : 'DONE_FIRST');
  });

  test('what only the share of an upload decides is no staying', () => {
    const wins = Array.from({ length: 200 }, (_, step) => 300e6 + step * 0.5e6).map((gpu) => {
      const history = measured({ cpu: 300e6, gpu }, 30);
      const work = { rows: 20_000_000, indexBytes: 400_000_000 };
      return onHost([CPU, IDLE], { history, work, ...previous(AVX2, 'cpu') });
    });
    for (const plan of wins.filter(({ variant }) => variant === CUDA)) {
      expect(codesOf(plan)).not.toContain('DEVICE_KEPT');
    }
    expect(new Set(wins.map(({ variant }) => variant))).toEqual(new Set([AVX2, CUDA]));
  });

  test('a lane stays on its own of two equal GPUs', () => {
    const history = measured({ cpu: 100e6, gpu: 300e6 });
    const plan = onHost([CPU, IDLE, SECOND], { history, ...previous(CUDA, 'GPU-2') });
    expect(plan.deviceId).toBe('GPU-2');
  });
});

describe('the state of a GPU', () => {
  const history = measured({ cpu: 100e6, gpu: 900e6 });

  test.each([
    ['IMAGE_UNUSABLE: no image for sm_75', 'NO_IMAGE_FOR_DEVICE'],
    ['DEVICE_MISSING: the driver is too old', 'DRIVER_UNUSABLE'],
    ['DEVICE_LOST: 719 at cuStreamSynchronize', 'DEVICE_QUARANTINED'],
    ['sticky', 'DEVICE_QUARANTINED'],
    ['', 'DEVICE_QUARANTINED'],
  ])('out of service as "%s" rejects it with %s and a reason', (quarantine, code) => {
    const plan = onHost([CPU, { ...IDLE, quarantine }], { history });
    expect(plan.runtime).toBe('cpu');
    expect(rejectsOf(plan)[CUDA]).toBe(code);
    expect(plan.reasons).toContainEqual({
      code: 'DEVICE_OUT_OF_SERVICE',
      params: { device: 'GPU-1', why: quarantine },
    });
  });

  test('long texts and many devices are cut to a bound', () => {
    const devices = Array.from({ length: 9 }, (_, index) => ({
      ...IDLE,
      deviceId: `GPU-${'0123456789'.repeat(4)}${String(index)}`,
      quarantine: `DEVICE_LOST: ${'😀 \n'.repeat(400)}`,
    }));
    const plan = onHost([CPU, ...devices], { history });
    const cited = plan.reasons.filter(({ code }) => code === 'DEVICE_OUT_OF_SERVICE');
    expect(cited).toHaveLength(3);
    expect(plan.reasons).toContainEqual({ code: 'DEVICES_OUT_OF_SERVICE', params: { count: 6 } });
    expect(canonicalJson(plan).length).toBeLessThanOrEqual(2_048);
    for (const { params } of cited) {
      expect(String(params?.['why'])).toMatch(/^DEVICE_LOST: .*…$/u);
      expect(String(params?.['why'])).not.toMatch(/\p{Surrogate}/u);
    }
  });

  test.each([
    ['uncorrected ECC errors', { gpu: { ...METRICS, eccErrors: 1 } }, 'DEVICE_ECC_ERRORS'],
    ['throttled', { throttled: true }, 'DEVICE_THROTTLED'],
    ['no free memory', { memFreeBytes: 10 * 2 ** 20 }, 'DEVICE_MEMORY_EXHAUSTED'],
    ['memory too small for the index', { memTotalBytes: 2 ** 20 }, 'MEMORY_EXCEEDED'],
  ])('%s rejects it with a code', (_, changes, code) => {
    const plan = onHost([CPU, { ...IDLE, ...changes }], { history });
    expect([plan.runtime, rejectsOf(plan)[CUDA]]).toEqual(['cpu', code]);
    const other = onHost([CPU, { ...IDLE, ...changes }, SECOND], { history });
    expect(other.deviceId).toBe('GPU-2');
  });

  test('what could not be read refuses nothing and presses nothing', () => {
    const unknown = {
      ...{ utilizationPct: null, memTotalBytes: null, memFreeBytes: null },
      ...{ temperatureC: null, throttled: null, slotsBusy: null },
      gpu: { ...METRICS, eccErrors: null, clockEvents: null },
    };
    const plan = onHost([CPU, { ...IDLE, ...unknown }], { history });
    expect(plan.runtime).toBe('gpu');
    expect(codesOf(plan)).not.toContain('CHUNK_MEMORY_PRESSURE');
  });

  test.each([
    [0.84, 1],
    [0.8499, 1],
    [0.85, 0.25],
  ])('memory that is %s full makes chunks of %s', (used, factor) => {
    const free = { memTotalBytes: 100 * GIB, memFreeBytes: 100 * GIB * (1 - used) };
    const long = measured({ cpu: 100e6, gpu: 100e6 }, 10);
    const plan = onHost([{ ...WARM, ...free }], { history: long });
    const quiet = onHost([WARM], { history: long });
    expect(plan.chunkRowsHint).toBe(Math.floor(quiet.chunkRowsHint * factor));
  });

  test.each([
    [0.5, 'PRECISION_NATIVE_FP64'],
    [0.25, 'PRECISION_NATIVE_FP64'],
    [1 / 64, 'PRECISION_NO_VARIANT'],
    [null, 'PRECISION_NO_VARIANT'],
  ])('fp64 at %s of fp32 speed computes in fp64, and says why', (fp64Ratio, code) => {
    const plan = onHost([CPU, { ...IDLE, fp64Ratio }], { history });
    expect([plan.runtime, plan.precision.compute]).toEqual(['gpu', 'fp64']);
    expect(codesOf(plan)).toContain(code);
  });

  test('a reason about precision on the GPU is not given for work on the CPU', () => {
    const slow = measured({ cpu: 900e6, gpu: 100e6 });
    const plan = onHost([CPU, { ...IDLE, fp64Ratio: 1 / 64 }], { history: slow });
    expect(codesOf(plan)).not.toContain('PRECISION_NO_VARIANT');
    expect(codesOf(plan)).toContain('PRECISION_CPU');
  });
});

describe('a GPU that is asked for and cannot be had', () => {
  const gpu = { mode: 'gpu', precision: 'auto' } as const;

  test('is named as missing, with the reason of the telemetry', () => {
    const refusal = refused(makeInput({ requested: { ...gpu, ifImpossible: 'fail' } }));
    expect([refusal.code, refusal.onRefusal]).toEqual(['REQUEST_IMPOSSIBLE', 'fail']);
    expect(refusal.reasons).toContainEqual({
      code: 'GPU_MISSING',
      params: { why: 'no libnvidia-ml.so.1 on this host' },
    });
    const pins = pinned(makePin({ aspect: 'runtime', value: 'gpu' }));
    expect(codesOf(refused(makeInput(pins)))).toContain('GPU_MISSING');
  });

  test('is named as missing where the driver lists none', () => {
    const snapshot = { ...GPU_SNAPSHOT, devices: [CPU] };
    expect(refused(makeInput({ snapshot, requested: gpu })).reasons).toContainEqual({
      code: 'GPU_MISSING',
      params: { why: 'the driver lists none' },
    });
  });

  test('is named with the text of each device that is out of service', () => {
    const texts = ['IMAGE_UNUSABLE: no image for sm_70', 'DEVICE_LOST: 700 at cuLaunchKernel'];
    const broken = texts.map((quarantine, at) => ({
      ...IDLE,
      deviceId: `GPU-${String(at)}`,
      quarantine,
    }));
    const snapshot = { ...GPU_SNAPSHOT, devices: [CPU, ...broken] };
    const refusal = refused(makeInput({ snapshot, requested: gpu }));
    const named = refusal.reasons.filter(({ code }) => code === 'DEVICE_OUT_OF_SERVICE');
    expect(named.map(({ params }) => params?.['why'])).toEqual(texts);
    expect(codesOf(refusal)).not.toContain('GPU_MISSING');
  });

  test.each([
    [undefined, 'hold'],
    ['hold', 'hold'],
    ['fail', 'fail'],
  ] as const)('with ifImpossible %s the run will %s', (ifImpossible, outcome) => {
    const requested = ifImpossible === undefined ? gpu : { ...gpu, ifImpossible };
    expect(refused(makeInput({ requested })).onRefusal).toBe(outcome);
  });

  test('holds whatever was asked where only the state of the moment is in the way', () => {
    const snapshot = { ...GPU_SNAPSHOT, devices: [CPU, { ...IDLE, throttled: true }] };
    const refusal = refused(makeInput({ snapshot, requested: { ...gpu, ifImpossible: 'fail' } }));
    expect(refusal.onRefusal).toBe('hold');
    expect(refusal.reasons).toContainEqual({
      code: 'RELEASE_BY_RECOVERY',
      params: { device: 'GPU-1', why: 'DEVICE_THROTTLED' },
    });
  });
});
