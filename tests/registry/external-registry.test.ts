import { describe, expect, test } from 'vitest';
import { REGISTRY, findVariant, parseExternalRegistry } from '../../registry/index.ts';

const VARIANT = {
  ...findVariant(REGISTRY, 'assign/grid-scalar@1'),
  id: 'assign/mine@1',
  name: 'mine',
  library: 'external',
};

function parse(variant: object): unknown {
  const document = {
    schema: 'tileloom.external-registry/1',
    libraryPath: 'mine.so',
    variants: [variant],
  };
  return parseExternalRegistry(JSON.stringify(document), 'mine.json').variants[0];
}

describe('parseExternalRegistry', () => {
  test('takes what the registry itself declares', () => {
    expect(parse(VARIANT)).toEqual(VARIANT);
    for (const variant of REGISTRY.operations.flatMap((operation) => operation.variants)) {
      expect(parse(variant)).toEqual(variant);
    }
  });

  test.each([
    ['', 'is not JSON'],
    ['[]', 'expected an object, got []'],
    ['null', 'expected an object, got null'],
    ['{}', 'lacks "variants"'],
    [
      '{"schema":"tileloom.external-registry/2","variants":[]}',
      'expected one of tileloom.external-registry/1',
    ],
    [
      '{"schema":"tileloom.external-registry/1","variants":[7]}',
      'variants[0]: expected an object, got 7',
    ],
  ])('refuses %j', (text, message) => {
    expect(() => parseExternalRegistry(text, 'x.json')).toThrow(message);
  });

  test.each([
    [{ runtime: 'tpu' }, '"runtime": expected one of cpu, gpu, got "tpu"'],
    [{ isa: ['AVX2!'] }, '"isa": expected a list of instruction sets'],
    [{ version: 1.5 }, '"version": expected a whole number from 1, got 1.5'],
    [{ sourceDigest: 'abc' }, '"sourceDigest": expected 64 lower-case hex digits'],
    [{ symbol: 'system("rm")' }, '"symbol": expected a C identifier'],
    [{ id: 'mine' }, '"id": expected operation/name@version'],
    [{ maxRows: -1 }, '"maxRows": expected a whole number from 0 or null, got -1'],
    [{ runtme: 'cpu' }, 'unknown key "runtme"; did you mean "runtime"?'],
    [{ memory: { fixedBytes: 1, bytesPerRow: 1 } }, 'memory lacks "indexFactor"'],
    [
      { throughput: { ...VARIANT.throughput, rowsPerSecondRandom: 0 } },
      '"rowsPerSecondRandom": expected a number above 0, got 0',
    ],
  ])('names the field that is wrong: %j', (changes, message) => {
    expect(() => parse({ ...VARIANT, ...changes })).toThrow(message);
  });

  test('reports every problem at once', () => {
    const changes = { runtime: 'tpu', supportsMixed: 'yes', tags: 'simd' };
    expect(() => parse({ ...VARIANT, ...changes })).toThrow(/runtime.*supportsMixed.*tags/u);
  });
});
