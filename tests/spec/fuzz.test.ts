import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SpecError, parseSize, parseSpec, specJsonSchema } from '../../spec/index.ts';
import { EXAMPLE, MINIMAL } from './fixtures.ts';

/** Asserts that a text is either a spec or a SpecError whose problems all have code and position. */
function isHandled(text: string): void {
  try {
    parseSpec(text, { file: 'fuzz.yaml' });
  } catch (error) {
    if (!(error instanceof SpecError)) {
      throw error;
    }
    expect(error.problems.length).toBeGreaterThan(0);
    const lines = text.split('\n').length;
    for (const problem of error.problems) {
      expect(problem.code).toMatch(/^SPEC_[A-Z_]+$/);
      expect(problem.line).toBeGreaterThanOrEqual(1);
      expect(problem.line).toBeLessThanOrEqual(lines);
      expect(problem.column).toBeGreaterThanOrEqual(1);
      expect(problem.message).not.toMatch(/\n\s+at |\[object/);
      expect(problem.excerpt).toContain('^');
    }
  }
}

const JSON_EXAMPLE = JSON.stringify(
  {
    apiVersion: 'tileloom/v1',
    kind: 'Pipeline',
    name: 'small',
    source: { dataset: './points', wrap: true },
    layers: { areas: { file: 'a.geojson', id: 'id', pole: { a: 'north' } } },
    steps: [
      { assign: { layer: 'areas', as: 'area' } },
      { aggregate: { by: 'area', measures: ['count', { sum: 'v' }] } },
    ],
    sink: { path: 'out' },
    plan: { pins: [{ aspect: 'runtime', value: 'cpu' }], cadence: 4 },
    limits: { memory: '1 GiB', shards: null },
  },
  null,
  1,
);

const fragment = fc.oneof(
  fc.string({ maxLength: 6 }),
  fc.constantFrom(
    ...['{', '}', '[', ']', ':', ': ', ',', '"', "'", '- ', '\n', '\n  ', '\t', '#', '&a ', '*a'],
    ...['!!', '|', '>', '? ', '<<: ', '---\n', '%YAML 9\n', '\u0000', '\uFEFF', '\u{1F600}', '\r'],
    ...['__proto__: 1', 'constructor', '.inf', '.nan', '-0', '1e999', 'null', '~', '0x10', 'yes'],
  ),
);

/** A few replacements of short stretches by fragments. */
const edits = fc.array(fc.record({ at: fc.nat(1200), cut: fc.nat(12), put: fragment }), {
  minLength: 1,
  maxLength: 4,
});

describe('parseSpec under mutation', () => {
  test.each([
    ['YAML', EXAMPLE, 4000],
    ['short YAML', MINIMAL, 3000],
    ['JSON', JSON_EXAMPLE, 3000],
  ])('always answers mutated %s with a spec or with codes and positions', (_kind, text, runs) => {
    isHandled(text);
    fc.assert(
      fc.property(edits, (list) => {
        let mutated = text;
        for (const { at, cut, put } of list) {
          const start = at % mutated.length;
          mutated = mutated.slice(0, start) + put + mutated.slice(start + cut);
          if (mutated === '') {
            return;
          }
        }
        isHandled(mutated);
      }),
      { numRuns: runs },
    );
  });

  test('always answers arbitrary JSON values at every key', () => {
    const keys = ['name', 'source', 'layers', 'steps', 'sink', 'plan', 'limits'];
    fc.assert(
      fc.property(fc.constantFrom(...keys), fc.jsonValue({ maxDepth: 4 }), (key, value) => {
        isHandled(JSON.stringify({ ...JSON.parse(JSON_EXAMPLE), [key]: value }));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('parseSize', () => {
  test.each([
    ['2 GiB', 2147483648],
    ['512MiB', 536870912],
    ['1.5 kB', 1500],
    ['7 B', 7],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each(['2', '2 gib', 'GiB', '-1 GiB', '1e3 MB', '99999999999999 TiB', '1 GiB x'])(
    'refuses %s',
    (text) => {
      expect(parseSize(text)).toBeNull();
    },
  );
});

describe('specJsonSchema', () => {
  test('describes the same top-level keys and refuses others', () => {
    const schema = specJsonSchema();
    expect(schema['$schema']).toBe('https://json-schema.org/draft/2020-12/schema');
    expect(schema['additionalProperties']).toBe(false);
    expect(Object.keys(schema['properties'] as object)).toEqual([
      ...['apiVersion', 'kind', 'name', 'source', 'layers', 'steps', 'sink', 'plan', 'limits'],
    ]);
    expect(schema['required']).toEqual([
      ...['apiVersion', 'kind', 'name', 'source', 'layers', 'steps', 'sink'],
    ]);
    expect(JSON.stringify(schema)).toContain('"maxProperties":1');
  });
});
