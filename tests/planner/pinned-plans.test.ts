import { describe, expect, test } from 'vitest';
import { REGISTRY, withWaitingVariants } from '../../registry/index.ts';
import {
  CPU,
  GPU,
  GPU_SNAPSHOT,
  SNAPSHOT,
  codesOf,
  makeInput,
  makePin,
  pinned,
  planned,
  refused,
  rejectsOf,
} from './fixtures.ts';

describe('pins in force', () => {
  test.each([
    ['a runtime against the crossover', { aspect: 'runtime', value: 'cpu' }, 'assign/grid-avx2@1'],
    [
      'a slower variant',
      { aspect: 'variant', value: 'assign/brute-exact@1' },
      'assign/brute-exact@1',
    ],
    [
      'a GPU variant',
      { aspect: 'variant', value: 'assign/cuda-grid-fp64@1' },
      'assign/cuda-grid-fp64@1',
    ],
    ['a precision', { aspect: 'precision', value: 'fp32' }, 'assign/cuda-grid-fp32@1'],
    ['a device', { aspect: 'device', value: 'cpu' }, 'assign/grid-avx2@1'],
    ['this host', { aspect: 'host', value: 'host-1' }, 'assign/cuda-grid-fp64@1'],
  ] as const)('%s is honoured and cited', (_, pin, variant) => {
    const registry = withWaitingVariants(REGISTRY);
    const input = makeInput({ snapshot: GPU_SNAPSHOT, ...pinned(makePin(pin)) }, registry);
    const plan = planned(input, registry);
    expect(plan.variant).toBe(variant);
    expect(plan.reasons).toContainEqual({
      code: 'PIN_APPLIED',
      params: { pin: `pin-${pin.aspect}`, aspect: pin.aspect, value: pin.value },
    });
  });

  test('a runtime pin beats the mode the pipeline asks for', () => {
    const requested = { mode: 'gpu', precision: 'auto' } as const;
    const pins = pinned(makePin({ aspect: 'runtime', value: 'cpu' }));
    expect(planned(makeInput({ snapshot: GPU_SNAPSHOT, requested, ...pins })).runtime).toBe('cpu');
  });

  test.each([
    [131_072, 2],
    [200_000, 3],
    [1, 1],
    [1e12, 16],
  ])('a chunk pinned to %i rows has %i tiles', (value, tiles) => {
    const plan = planned(makeInput(pinned(makePin({ aspect: 'chunkRows', value }))));
    expect(plan.chunkTiles).toBe(tiles);
    expect(plan.chunkRowsHint).toBe(value);
    expect(codesOf(plan)).toContain('CHUNK_PINNED');
  });

  test('a chunk ends where other pins begin', () => {
    const pins = { pins: { winners: [], losers: [], tilesUntilChange: 3 } };
    const plan = planned(makeInput(pins));
    expect(plan.chunkTiles).toBe(3);
    expect(codesOf(plan)).toContain('CHUNK_PIN_BORDER');
  });

  test('losers are named', () => {
    const plan = planned(makeInput({ pins: { winners: [], losers: ['p1', 'p2'] } }));
    expect(plan.reasons).toContainEqual({
      code: 'PIN_OVERRIDDEN',
      params: { count: 2, pins: 'p1, p2' },
    });
  });
});

describe('pins that cannot be honoured', () => {
  test.each(['hold', 'fail'] as const)(
    'make the run %s, by the choice of its author',
    (ifImpossible) => {
      const pin = makePin({ aspect: 'runtime', value: 'gpu', ifImpossible });
      const refusal = refused(makeInput(pinned(pin)));
      expect([refusal.code, refusal.onRefusal]).toEqual(['PIN_IMPOSSIBLE', ifImpossible]);
      expect(rejectsOf(refusal)['assign/cuda-grid-fp64@1']).toBe('NO_DEVICE');
      expect(rejectsOf(refusal)['assign/grid-avx2@1']).toBe('PIN_OTHER_RUNTIME');
      expect(codesOf(refusal)).toEqual(
        expect.arrayContaining(['RELEASE_BY_DEVICE', 'RELEASE_BY_CLEARING_PIN']),
      );
    },
  );

  test.each([
    [
      'a variant without its instruction set',
      { aspect: 'variant', value: 'assign/grid-avx2@1' },
      'RELEASE_BY_OTHER_HOST',
    ],
    [
      'a variant without a device',
      { aspect: 'variant', value: 'assign/cuda-grid-fp64@1' },
      'RELEASE_BY_DEVICE',
    ],
    [
      'an unknown variant',
      { aspect: 'variant', value: 'assign/grid-avx3@1' },
      'PIN_VARIANT_UNKNOWN',
    ],
    ['an unknown device', { aspect: 'device', value: 'GPU-9' }, 'RELEASE_BY_CLEARING_PIN'],
    ['fp32, which nothing computes in', { aspect: 'precision', value: 'fp32' }, 'PIN_IMPOSSIBLE'],
  ] as const)('%s is refused with a remedy', (_, pin, remedy) => {
    const snapshot = { ...SNAPSHOT, isa: [] };
    const refusal = refused(makeInput({ snapshot, ...pinned(makePin(pin)) }));
    expect(refusal.code).toBe('PIN_IMPOSSIBLE');
    expect(codesOf(refusal)).toContain(remedy);
  });

  test('an unknown variant comes with the nearest known one', () => {
    const pin = makePin({ aspect: 'variant', value: 'assign/grid-avx3@1' });
    expect(refused(makeInput(pinned(pin))).reasons).toContainEqual({
      code: 'PIN_VARIANT_UNKNOWN',
      params: { pin: 'pin-variant', value: 'assign/grid-avx3@1', nearest: 'assign/grid-avx2@1' },
    });
  });

  test('only the pin that stands in the way is blamed', () => {
    const good = makePin({ id: 'good', aspect: 'chunkRows', value: 100_000, ifImpossible: 'fail' });
    const bad = makePin({ id: 'bad', aspect: 'runtime', value: 'gpu' });
    const refusal = refused(makeInput(pinned(good, bad)));
    const blamed = refusal.reasons.filter((given) => given.code === 'PIN_IMPOSSIBLE');
    expect(blamed.map((given) => given.params?.['pin'])).toEqual(['bad']);
    expect(refusal.onRefusal).toBe('hold');
  });

  test('pins that contradict each other are refused', () => {
    const pins = pinned(
      makePin({ aspect: 'runtime', value: 'cpu' }),
      makePin({ aspect: 'variant', value: 'assign/cuda-grid-fp64@1' }),
    );
    expect(refused(makeInput({ snapshot: GPU_SNAPSHOT, ...pins })).code).toBe('PIN_IMPOSSIBLE');
  });

  test('a host pin is refused elsewhere', () => {
    const pin = makePin({ aspect: 'host', value: 'host-7' });
    const refusal = refused(makeInput(pinned(pin)));
    expect(refusal.code).toBe('PIN_HOST_ELSEWHERE');
    expect(codesOf(refusal)).toContain('RELEASE_BY_HOST');
  });

  test.each([
    [
      'memory',
      { policyId: 'probe-first@2', snapshot: GPU_SNAPSHOT },
      { memoryBytesMax: 330 * 1024 ** 2 },
      'RELEASE_BY_MEMORY',
    ],
    ['out-of-memory', { snapshot: SNAPSHOT }, { chunkRowsMax: 100_000 }, 'RELEASE_BY_CLEARING_PIN'],
    [
      'out-of-memory',
      { snapshot: { ...GPU_SNAPSHOT, devices: [GPU] } },
      { chunkRowsMax: 100_000 },
      'RELEASE_BY_CLEARING_PIN',
    ],
  ])('a pinned chunk that exceeds %s is refused, not shrunk', (why, changes, limits, remedy) => {
    const pin = makePin({ aspect: 'chunkRows', value: 1_000_000 });
    const refusal = refused(makeInput({ ...changes, limits, ...pinned(pin) }));
    expect(refusal.code).toBe('PIN_CHUNK_TOO_LARGE');
    expect(refusal.reasons.find((given) => given.code === refusal.code)?.params?.['why']).toBe(why);
    expect(codesOf(refusal)).toContain(remedy);
  });
});

describe('other refusals', () => {
  test('a requested precision that cannot be had holds the run and names the way out', () => {
    const requested = { mode: 'auto', precision: 'fp32' } as const;
    const refusal = refused(makeInput({ requested }));
    expect([refusal.code, refusal.onRefusal]).toEqual(['REQUEST_IMPOSSIBLE', 'hold']);
    expect(codesOf(refusal)).toContain('RELEASE_BY_REQUEST');
  });

  test('a memory limit below any variant holds and says how much is needed', () => {
    const refusal = refused(makeInput({ limits: { memoryBytesMax: 1024 } }));
    expect([refusal.code, refusal.onRefusal]).toEqual(['NO_ADMISSIBLE_VARIANT', 'hold']);
    const release = refusal.reasons.find((given) => given.code === 'RELEASE_BY_MEMORY');
    const bytes = Number(release?.params?.['bytes']);
    expect(planned(makeInput({ limits: { memoryBytesMax: bytes } })).schema).toBe(
      'tileloom.plan/1',
    );
    expect(refused(makeInput({ limits: { memoryBytesMax: bytes - 1 } })).code).toBe(refusal.code);
  });

  test('work that no variant of any host can do fails', () => {
    const snapshot = { ...GPU_SNAPSHOT, devices: [CPU, ...GPU_SNAPSHOT.devices.slice(1)] };
    const refusal = refused(makeInput({ snapshot, work: { families: ['linestring'] } }));
    expect(refusal.code).toBe('NO_ADMISSIBLE_VARIANT');
    expect(codesOf(refusal)).toContain('RELEASE_BY_VARIANT');
  });

  test('a host whose every variant failed holds for another one', () => {
    const excluded = ['grid-avx2', 'grid-scalar', 'brute-exact'].map((name) => ({
      variant: `assign/${name}@1`,
      deviceId: 'cpu',
      host: 'host-1',
      failure: 'SIGSEGV',
    }));
    const refusal = refused(makeInput({ excluded }));
    expect(refusal.onRefusal).toBe('hold');
    expect(codesOf(refusal)).toContain('RELEASE_BY_OTHER_HOST');
  });
});
