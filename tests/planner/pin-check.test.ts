// Which pins may be set: judged against the planner itself on hosts that lack nothing.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  checkPins,
  type Pin,
  type PinAspect,
  type PinCheckContext,
  type PinProposal,
  type PinScope,
  type RequestedMode,
  type RequestedPrecision,
} from '../../planner/index.ts';
import {
  REGISTRY,
  withWaitingVariants,
  withExternalVariants,
  type VariantSpec,
} from '../../registry/index.ts';
import { GPU, GPU_SNAPSHOT, WORK, decide, makeInput, makePin } from './fixtures.ts';

const FREE: PinCheckContext = { mode: 'auto', precision: 'auto', work: WORK };

const wish = (
  aspect: PinAspect,
  value: string | number,
  changes: Partial<PinProposal> = {},
): PinProposal => ({
  ...{ aspect, value, scope: { kind: 'run' }, ttlMs: null, ttlChunks: null },
  ...changes,
});
const tiles = (firstTile: number, lastTile: number): PinScope => ({
  kind: 'tiles',
  firstTile,
  lastTile,
});
const check = (
  wishes: readonly PinProposal[],
  current: readonly Pin[] = [],
  context: Partial<PinCheckContext> = {},
  registry = REGISTRY,
): string[] => checkPins(wishes, current, { ...FREE, ...context }, registry);

const SCALAR = wish('variant', 'assign/grid-scalar@1');
const CUDA = wish('variant', 'assign/cuda-grid-fp64@1');

describe('a pin by itself', () => {
  test.each([
    ['variant', 'assign/grid-scalar@1'],
    ['runtime', 'gpu'],
    ['precision', 'fp64'],
    ['chunkRows', 65_536],
    ['device', 'cpu'],
    ['device', 'GPU-5a1f0c9e-7d3b-4e0a-9a55-0c8f0a9d1d11'],
    ['host', 'corridor-7'],
  ] as const)('may be set: %s=%s', (aspect, value) => {
    expect(check([wish(aspect, value)])).toEqual([]);
    expect(check([wish(aspect, value)], [], { work: null })).toEqual([]);
  });

  test('fp32 may be pinned where the registry has a variant for it', () => {
    const fp32 = wish('precision', 'fp32');
    expect(check([fp32], [], {}, withWaitingVariants(REGISTRY))).toEqual([]);
    expect(check([fp32])).toEqual([
      expect.stringMatching(/precision that some variant computes in \(fp64\), got fp32/u),
    ]);
  });

  test.each([
    ['variant', 'assign/grid-scaler@1', 'did you mean assign/grid-scalar@1?'],
    ['variant', 'grid-avx2', 'did you mean assign/grid-avx2@1?'],
    ['variant', 'assign/grid-avx2', 'did you mean assign/grid-avx2@1?'],
    ['variant', 'assign/grid-avx2@2', 'did you mean assign/grid-avx2@1?'],
    ['variant', 'warp-drive', 'see tileloom variant list'],
    ['variant', 'aggregate/fused-exact@1', 'expected a variant of assign, got one of aggregate'],
    ['runtime', 'tpu', 'expected cpu or gpu, got tpu'],
    ['runtime', 'gpus', 'did you mean gpu?'],
    ['precision', 'fp16', 'expected fp32 or fp64, got fp16'],
    ['chunkRows', 0, 'expected a whole number of rows from 1'],
    ['chunkRows', 1.5, 'got 1.5'],
    ['chunkRows', 2 ** 53, 'expected a whole number of rows'],
    ['chunkRows', Number.NaN, 'got NaN'],
    ['chunkRows', '65536', 'expected a whole number of rows'],
    ['device', 'gpu0', 'expected cpu or the UUID of a GPU'],
    ['device', 'CPU', 'expected cpu or'],
    ['device', '', 'expected cpu or'],
    ['host', 'Corridor 7', 'expected a host id'],
    ['host', '../etc', 'expected a host id'],
  ] as const)('is refused: %s=%s', (aspect, value, part) => {
    const [problem, ...others] = check([wish(aspect, value)]);
    expect(others).toEqual([]);
    expect(problem).toMatch(/^pin [a-zA-Z]+=.* cannot be set: expected .+, got .+; .+$/u);
    expect(problem).toContain(part);
    expect(problem?.length).toBeLessThan(400);
  });

  test('is refused in few words, however long the value', () => {
    const [problem = ''] = check([wish('variant', `x${'y'.repeat(5_000)}`)]);
    expect(problem).toContain('yyy… cannot be set');
    expect(problem.length).toBeLessThan(400);
  });

  test.each([
    ['asign', 'did you mean assign?'],
    ['aggregate', 'expected the operation that this run plans, assign'],
  ])('is refused for the scope of an operation that is not planned: %s', (operation, part) => {
    const scope: PinScope = { kind: 'operation', operation };
    expect(check([wish('runtime', 'cpu', { scope })])).toEqual([expect.stringContaining(part)]);
  });

  test('is refused when no variant takes so many rows', () => {
    const [first] = REGISTRY.operations[0]?.variants ?? [];
    const small = { ...(first as VariantSpec), name: 'small', version: 1, maxRows: 100_000 };
    const registry = withExternalVariants(REGISTRY, [{ ...small, id: 'assign/small@1' }]);
    const both = [wish('variant', 'assign/small@1'), wish('chunkRows', 200_000)];
    expect(check(both, [], {}, registry)).toEqual([
      'pin chunkRows=200000 cannot be set: expected at most 100000 rows, which is what the ' +
        'variants take, got 200000; pin fewer rows',
    ]);
    expect(check([wish('chunkRows', 200_000)], [], {}, registry)).toEqual([]);
  });
});

describe('a variant that is not exact', () => {
  const [first] = REGISTRY.operations[0]?.variants ?? [];
  const loose = { ...(first as VariantSpec), name: 'loose', numericClass: 'compensated' } as const;
  const registry = withExternalVariants(REGISTRY, [{ ...loose, id: 'assign/loose@1' }]);
  const pin = wish('variant', 'assign/loose@1');
  const refused = [expect.stringContaining('expected an exact variant')];

  test('is fixed once per run: before the run has begun, for all of it', () => {
    expect(check([pin], [], { work: null }, registry)).toEqual([]);
    expect(check([pin], [], {}, registry)).toEqual(refused);
    for (const changes of [{ scope: tiles(0, 4) }, { ttlMs: 5 }, { ttlChunks: 5 }] as const) {
      expect(check([{ ...pin, ...changes }], [], { work: null }, registry)).toEqual(refused);
    }
  });

  test('stays what it is where the run began with it', () => {
    const from = makePin({ aspect: 'variant', value: 'assign/loose@1', epoch: 0 });
    expect(check([pin], [from], {}, registry)).toEqual([]);
    expect(check([pin], [{ ...from, epoch: 3 }], {}, registry)).toEqual(refused);
  });
});

describe('pins together', () => {
  test('are refused when they contradict a pin in force, which is named', () => {
    const gpu = makePin({ id: 'pin-4', aspect: 'runtime', value: 'gpu' });
    expect(check([SCALAR], [gpu])).toEqual([
      'pin variant=assign/grid-scalar@1 cannot be set: expected runtime gpu, as pin pin-4 ' +
        '(runtime=gpu) fixes, got cpu; clear pin pin-4 first, or set it anew as well',
    ]);
    expect(check([SCALAR, wish('runtime', 'cpu')], [gpu])).toEqual([]);
  });

  test('are refused when they contradict each other', () => {
    expect(check([wish('runtime', 'cpu'), wish('device', 'GPU-1')])).toHaveLength(1);
    expect(check([CUDA, wish('precision', 'fp32')])).toEqual([
      'pin precision=fp32 cannot be set: expected a precision that assign/cuda-grid-fp64@1 computes in ' +
        '(fp64), got fp32; ask for one of the two',
    ]);
  });

  test('are judged only where they would be in force together', () => {
    const cpu = makePin({ aspect: 'runtime', value: 'cpu', scope: tiles(10, 19) });
    expect(check([{ ...CUDA, scope: tiles(20, 29) }], [cpu])).toEqual([]);
    expect(check([{ ...CUDA, scope: tiles(19, 29) }], [cpu])).toHaveLength(1);
    const wide = makePin({ aspect: 'runtime', value: 'cpu' });
    const both = [CUDA, wish('runtime', 'gpu')].map((each) => ({ ...each, scope: tiles(3, 4) }));
    expect(check(both, [wide])).toEqual([]);
  });

  test('are judged, too, as they will be when pins with a limit have ended', () => {
    const hiding = makePin({
      aspect: 'runtime',
      value: 'gpu',
      scope: { kind: 'chunks', count: 3 },
    });
    const cuda = makePin({ aspect: 'variant', value: 'assign/cuda-grid-fp64@1' });
    expect(check([wish('runtime', 'cpu')], [hiding, cuda])).toHaveLength(1);
    expect(check([wish('runtime', 'gpu')], [hiding, cuda])).toEqual([]);
  });

  test('do not answer for pins that contradicted each other before', () => {
    const before = [
      makePin({ aspect: 'runtime', value: 'cpu' }),
      makePin({ aspect: 'variant', value: 'assign/cuda-grid-fp64@1' }),
    ];
    expect(check([wish('chunkRows', 70_000, { scope: tiles(3, 3) })], before)).toEqual([]);
  });

  test('used up or replaced do not count', () => {
    const spent = makePin({ aspect: 'runtime', value: 'gpu', chunksLeft: 0 });
    expect(check([SCALAR], [spent])).toEqual([]);
    expect(check([SCALAR], [makePin({ aspect: 'variant', value: CUDA.value })])).toEqual([]);
  });
});

describe('requested mode and precision', () => {
  test('are outranked by a runtime pin, not by a variant or a device alone', () => {
    expect(check([wish('runtime', 'cpu')], [], { mode: 'gpu' })).toEqual([]);
    expect(check([SCALAR, wish('runtime', 'cpu')], [], { mode: 'gpu' })).toEqual([]);
    expect(check([SCALAR], [], { mode: 'gpu' })).toEqual([
      'pin variant=assign/grid-scalar@1 cannot be set: expected runtime gpu, as plan.mode asks, ' +
        'got cpu; to leave that mode, pin runtime=cpu as well',
    ]);
    expect(check([wish('device', 'cpu')], [], { mode: 'gpu' })).toHaveLength(1);
  });

  test('are outranked by a precision pin', () => {
    expect(check([SCALAR], [], { precision: 'fp32' })).toEqual([
      expect.stringContaining('as plan.precision asks'),
    ]);
    expect(check([SCALAR, wish('precision', 'fp64')], [], { precision: 'fp32' })).toEqual([]);
    expect(check([wish('precision', 'fp32')], [], { mode: 'cpu' })).toEqual([
      expect.stringMatching(/some variant for cpu computes in \(fp64\), got fp32/u),
    ]);
  });
});

describe('against the planner', () => {
  const VARIANTS = REGISTRY.operations[0]?.variants.map(({ id }) => id) ?? [];
  const maybe = <T>(values: readonly T[]): fc.Arbitrary<T | null> =>
    fc.constantFrom(null, ...values);
  const wishes = fc
    .record({
      variant: maybe(VARIANTS),
      runtime: maybe(['cpu', 'gpu']),
      precision: maybe(['fp32', 'fp64']),
      device: maybe(['cpu', GPU.deviceId]),
    })
    .map((values) =>
      Object.entries(values).flatMap(([aspect, value]) =>
        value === null ? [] : [wish(aspect as PinAspect, value)],
      ),
    );
  /** A data-centre GPU, and one on which fp64 is slow: what the one lacks the other has. */
  const HOSTS = [GPU, { ...GPU, fp64Ratio: 1 / 64 }].map((gpu) => ({
    ...GPU_SNAPSHOT,
    devices: [...GPU_SNAPSHOT.devices.filter(({ kind }) => kind === 'cpu'), gpu],
  }));

  test('a set of pins is refused exactly when no host could plan under it', () => {
    const modes = fc.constantFrom<RequestedMode>('auto', 'cpu', 'gpu');
    const precisions = fc.constantFrom<RequestedPrecision>('auto', 'fp32', 'fp64');
    fc.assert(
      fc.property(wishes, modes, precisions, (set, mode, precision) => {
        const explicit = set.some(({ aspect }) => aspect === 'runtime');
        fc.pre(set.length > 0 && (mode === 'auto' || explicit));
        const winners = set.map(({ aspect, value }) => makePin({ aspect, value }));
        const plannable = HOSTS.some(
          (snapshot) =>
            decide(
              makeInput({
                snapshot,
                requested: { mode, precision },
                pins: { winners, losers: [] },
              }),
            ).schema === 'tileloom.plan/1',
        );
        expect(check(set, [], { mode, precision }).length === 0).toBe(plannable);
      }),
      { numRuns: 2_000 },
    );
  });
});
