import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  WAITING_VARIANTS,
  REGISTRY,
  findVariant,
  makeRegistry,
  nearestName,
  variantsOf,
  withWaitingVariants,
  withExternalVariants,
  type VariantSpec,
} from '../../registry/index.ts';

const GRID = findVariant(REGISTRY, 'assign/grid-scalar@1');

function external(name: string, changes: Partial<VariantSpec> = {}): VariantSpec {
  return { ...GRID, id: `assign/${name}@1`, name, library: 'external', ...changes };
}

/** Canonical JSON written a second time, for the digest test only. */
function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}

describe('REGISTRY', () => {
  test('declares the variants that the product ships', () => {
    const rows = REGISTRY.operations.flatMap(({ variants }) =>
      variants.map((each) => `${each.id} ${each.runtime} ${each.library} ${each.symbol}`),
    );
    expect(rows).toEqual([
      'assign/grid-avx2@1 cpu cpu tl_assign__grid__fp64__avx2',
      'assign/grid-scalar@1 cpu cpu tl_assign__grid__fp64__scalar',
      'assign/brute-exact@1 cpu cpu tl_assign__brute__fp64__scalar',
      'assign/cuda-grid-fp64@1 gpu cuda tl_assign__grid__fp64__cuda',
      'aggregate/fused-exact@1 cpu cpu tl_chunk_run',
    ]);
  });

  test('every variant is exact and takes every boundary and overlap rule', () => {
    for (const variant of REGISTRY.operations.flatMap((operation) => operation.variants)) {
      expect(variant.numericClass).toBe('exact');
      expect(variant.boundaries).toEqual(['half-open', 'covers', 'contains']);
      expect(variant.overlaps).toEqual(['first', 'all', 'error']);
    }
  });

  test('only the AVX2 variant asks for instruction sets, only brute force does without an index', () => {
    const cpu = variantsOf(REGISTRY, 'assign').filter((variant) => variant.runtime === 'cpu');
    expect(cpu.map((variant) => [variant.name, variant.isa, variant.needsIndex])).toEqual([
      ['grid-avx2', ['avx2', 'fma'], true],
      ['grid-scalar', [], true],
      ['brute-exact', [], false],
    ]);
  });

  test('is frozen through and through', () => {
    const frozen = (value: unknown): boolean =>
      typeof value !== 'object' ||
      value === null ||
      (Object.isFrozen(value) && Object.values(value).every(frozen));
    expect(frozen(REGISTRY)).toBe(true);
  });

  test('its digest is SHA-256 of its canonical JSON without the digest', () => {
    const { digest, ...content } = REGISTRY;
    expect(digest).toBe(createHash('sha256').update(sortedJson(content)).digest('hex'));
  });
});

describe('variants that wait for a device record', () => {
  test('are in no default registry and are reached by id where they are asked for', () => {
    expect(WAITING_VARIANTS.map(({ id, symbol }) => `${id} ${symbol}`)).toEqual([
      'assign/cuda-grid-fp32@1 tl_assign__grid__fp32__cuda',
    ]);
    const extended = withWaitingVariants(REGISTRY);
    for (const { id } of WAITING_VARIANTS) {
      expect(() => findVariant(REGISTRY, id)).toThrow('is not in registry');
      expect(findVariant(extended, id)).toMatchObject({ id, numericClass: 'exact' });
    }
    expect(extended.digest).not.toBe(REGISTRY.digest);
  });
});

describe('declared speeds', () => {
  test('only GPU variants have copies to pay, and all of them do', () => {
    const variants = withWaitingVariants(REGISTRY).operations.flatMap(({ variants: all }) => all);
    for (const { runtime, throughput } of variants) {
      expect((throughput.uploadBytesPerSecond ?? 0) > 0).toBe(runtime === 'gpu');
    }
  });
});

describe('look-ups', () => {
  test.each([
    ['assign/grid-avx3@1', 'assign/grid-avx2@1'],
    ['grid-avx2', 'assign/grid-avx2@1'],
    ['assign/grid-scalar', 'assign/grid-scalar@1'],
    ['brute-exact@1', 'assign/brute-exact@1'],
  ])('"%s" is unknown, but near "%s"', (id, nearest) => {
    expect(() => findVariant(REGISTRY, id)).toThrow(`did you mean "${nearest}"?`);
  });

  test('a name like none gets no suggestion', () => {
    expect(() => findVariant(REGISTRY, 'zzzzzzzz')).toThrow(/expected one of [^;]*$/u);
    expect(() => variantsOf(REGISTRY, 'agregate')).toThrow('did you mean "aggregate"?');
  });

  test.each([
    ['asign', ['assign', 'aggregate'], 'assign'],
    ['ASSIGN', ['assign'], 'assign'],
    ['chunkRosw', ['chunkRows'], 'chunkRows'],
    ['xyz', ['assign'], null],
    ['', ['a'], 'a'],
    ['anything', [], null],
  ])('nearestName(%j, %j) is %j', (name, known, expected) => {
    expect(nearestName(name, known)).toBe(expected);
  });
});

describe('withExternalVariants', () => {
  test('appends variants and changes the digest, not the original', () => {
    const before = REGISTRY.digest;
    const extended = withExternalVariants(REGISTRY, [external('crash')]);
    expect(findVariant(extended, 'assign/crash@1').library).toBe('external');
    expect(variantsOf(extended, 'assign').at(-1)?.name).toBe('crash');
    expect(extended.digest).not.toBe(before);
    expect(() => findVariant(REGISTRY, 'assign/crash@1')).toThrow('is not in registry');
    expect(withExternalVariants(REGISTRY, [external('crash')]).digest).toBe(extended.digest);
  });

  test('nothing to add leaves the registry as it is', () => {
    expect(withExternalVariants(REGISTRY, [])).toBe(REGISTRY);
  });

  test.each([
    ['a taken id', [external('x'), external('x')], 'REGISTRY_VARIANT_DUPLICATE'],
    ['a built-in id', [GRID], 'REGISTRY_VARIANT_DUPLICATE'],
    ['an id that does not match', [external('x', { version: 2 })], 'REGISTRY_DOCUMENT_INVALID'],
    [
      'an unknown operation',
      [external('x', { id: 'buffer/x@1', operation: 'buffer' })],
      'REGISTRY_OPERATION_UNKNOWN',
    ],
  ])('refuses %s', (_, variants, code) => {
    expect(() => withExternalVariants(REGISTRY, variants)).toThrow(
      expect.objectContaining({ code }) as Error,
    );
  });

  test('an empty registry has a digest too', () => {
    expect(makeRegistry([], 1).digest).toMatch(/^[0-9a-f]{64}$/u);
  });
});
