import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sha256Hex, canonicalJson } from '../../core/index.ts';
import {
  SpecError,
  absolutiseSpec,
  definePipeline,
  parseSpec,
  renderSpecProblems,
  specDigest,
  type SpecProblem,
} from '../../spec/index.ts';
import { EXAMPLE, MINIMAL } from './fixtures.ts';

function problemsOf(text: string): readonly SpecProblem[] {
  try {
    parseSpec(text, { file: 'spec.yaml' });
  } catch (error) {
    expect(error).toBeInstanceOf(SpecError);
    return (error as SpecError).problems;
  }
  return [];
}

/** Code and position of each problem, as `CODE line:column`. */
function places(text: string): string[] {
  return problemsOf(text).map(
    (problem) => `${problem.code} ${String(problem.line)}:${String(problem.column)}`,
  );
}

describe('parseSpec', () => {
  test('fills in every default', () => {
    expect(parseSpec(MINIMAL, { file: 'spec.yaml' }).spec).toEqual({
      apiVersion: 'tileloom/v1',
      kind: 'Pipeline',
      name: 'small',
      source: { dataset: './points', crs: 'OGC:CRS84', wrap: false },
      layers: {
        areas: {
          file: 'a.geojson',
          id: '@id',
          object: null,
          crs: 'OGC:CRS84',
          antimeridian: 'reject',
          pole: {},
        },
      },
      steps: [
        { kind: 'assign', layer: 'areas', as: 'area', boundary: 'half-open', overlap: 'first' },
        { kind: 'aggregate', by: 'area', measures: [{ kind: 'count' }] },
      ],
      sink: { path: 'out', rows: false, format: 'arrow' },
      plan: {
        mode: 'auto',
        precision: 'auto',
        policy: 'probe-first@3',
        ifImpossible: 'fail',
        cadence: 'every-chunk',
        chunkSecondsTarget: 2,
        pins: [],
      },
      limits: { memoryBytesMax: 2147483648, failedTiles: 0, lanes: 2, shards: null },
    });
  });

  test.each(['hold', 'fail'])(
    'reads what to do where mode or precision cannot be had: %s',
    (wish) => {
      const text = EXAMPLE.replace('mode: auto,', `mode: gpu, ifImpossible: ${wish},`);
      expect(parseSpec(text, { file: 'spec.yaml' }).spec.plan).toMatchObject({
        mode: 'gpu',
        ifImpossible: wish,
      });
      expect(places(text.replace(wish, 'wait'))).toEqual(['SPEC_BAD_VALUE 11:34']);
    },
  );

  test('reads the example of the design', () => {
    const { spec, digest, warnings } = parseSpec(EXAMPLE, { file: 'spec.yaml' });
    expect(spec.steps[1]?.measures).toEqual([
      { kind: 'count' },
      { kind: 'sum', column: 'value' },
      { kind: 'mean', column: 'value' },
    ]);
    expect(warnings).toEqual([]);
    expect(digest).toBe(sha256Hex(canonicalJson(spec)));
    expect(specDigest(spec)).toBe(digest);
  });

  test('gives one digest for YAML and JSON, whatever the order of keys and the spelling of sizes', () => {
    const json = JSON.stringify({
      sink: { path: 'out' },
      limits: { memory: '2048 MiB' },
      steps: [
        { assign: { as: 'area', layer: 'areas' } },
        { aggregate: { measures: ['count'], by: 'area' } },
      ],
      layers: { areas: { id: '@id', file: 'a.geojson' } },
      source: { dataset: './points' },
      name: 'small',
      kind: 'Pipeline',
      apiVersion: 'tileloom/v1',
    });
    const fromJson = parseSpec(json, { file: 'spec.json' });
    expect(fromJson.digest).toBe(parseSpec(MINIMAL, { file: 'spec.yaml' }).digest);
    const indented = JSON.stringify(JSON.parse(json), null, '\t');
    expect(parseSpec(indented, { file: 'spec.json' }).digest).toBe(fromJson.digest);
  });

  test('reports three mistakes at once, each at its place', () => {
    const text = EXAMPLE.replace('layer: counties', 'layer: countys')
      .replace('half-open', 'half-opn')
      .replace('memory', 'memroy');
    expect(places(text)).toEqual([
      'SPEC_UNKNOWN_LAYER 8:22',
      'SPEC_BAD_VALUE 8:53',
      'SPEC_UNKNOWN_KEY 12:11',
    ]);
    expect(problemsOf(text).map((problem) => problem.suggestion)).toEqual([
      'counties',
      'half-open',
      'memory',
    ]);
  });

  test('shows the line with carets under the mistake', () => {
    expect(renderSpecProblems(problemsOf(EXAMPLE.replace('2 GiB', '2 gigs')))).toBe(
      [
        'spec.yaml:12:19: SPEC_BAD_VALUE: limits.memory has a value that cannot be used: ' +
          'expected a size with a unit, such as 2 GiB, got "2 gigs"',
        '   |',
        '12 | limits: { memory: 2 gigs, failedTiles: 0, lanes: 2 }',
        '   |                   ^^^^^^',
      ].join('\n'),
    );
  });

  test('cuts a window out of a JSON text on one line', () => {
    const json = JSON.stringify({ pad: 'x'.repeat(300), apiVersion: 'tileloom/v2' });
    const problem = problemsOf(json).find((one) => one.path === 'apiVersion');
    const [, line = '', carets = ''] = problem?.excerpt.split('\n') ?? [];
    expect(line.length).toBeLessThan(110);
    expect(line.slice(carets.indexOf('^'), carets.lastIndexOf('^') + 1)).toBe('"tileloom/v2"');
  });

  test.each([
    ['nothing', '', ['SPEC_EMPTY 1:1']],
    ['only a comment', '# soon\n', ['SPEC_EMPTY 1:1']],
    ['an unclosed list', 'steps: [', ['SPEC_SYNTAX 1:9']],
    ['an alias without anchor', 'name: *there\n', ['SPEC_SYNTAX 1:7']],
    ['a tag nobody knows', 'name: !!python/object x\n', ['SPEC_SYNTAX 1:7']],
    ['two documents', 'a: 1\n---\nb: 2\n', ['SPEC_SYNTAX 2:1']],
    ['a list', '- 1\n', ['SPEC_WRONG_TYPE 1:1']],
    ['a tab as indentation', 'source:\n\tdataset: x\n', ['SPEC_SYNTAX 2:1']],
  ])('refuses a document that is %s', (_what, text, expected) => {
    expect(places(text)).toEqual(expected);
  });

  test('refuses a text of more than a mebibyte and one nested too deeply', () => {
    expect(places(' '.repeat(1024 * 1024 + 1))).toEqual(['SPEC_TOO_LARGE 1:1']);
    expect(places('['.repeat(20_000))[0]).toMatch(/^SPEC_SYNTAX \d+:\d+$/);
    expect(problemsOf('['.repeat(20_000) + ']'.repeat(20_000)).length).toBeGreaterThan(0);
  });

  test('refuses aliases that blow up', () => {
    const levels = Array.from(
      { length: 12 },
      (_, level) =>
        `a${String(level)}: &a${String(level)} [${Array.from({ length: 9 }, () =>
          level === 0 ? 'x' : `*a${String(level - 1)}`,
        ).join(', ')}]`,
    ).join('\n');
    expect(places(levels)[0]).toBe('SPEC_SYNTAX 1:1');
  });

  test('reports a duplicate key beside what else is wrong', () => {
    expect(places(`${MINIMAL}name: again\nsnk: 1\n`)).toEqual([
      'SPEC_DUPLICATE_KEY 10:1',
      'SPEC_UNKNOWN_KEY 11:1',
    ]);
  });
});

describe('cross-field rules', () => {
  const rule = (from: string, to: string): string[] =>
    problemsOf(MINIMAL.replace(from, to)).map((problem) => problem.code);

  test.each([
    [
      'an aggregate before the assign',
      '  - assign',
      '  - aggregate: { by: area, measures: [count] }\n  - assign',
      ['SPEC_STEP_ORDER'],
    ],
    [
      'two assigns',
      '  - aggregate: { by: area, measures: [count] }',
      '  - assign: { layer: areas, as: other }',
      ['SPEC_STEP_ORDER', 'SPEC_NOTHING_TO_WRITE'],
    ],
    ['by that no step makes', 'by: area', 'by: zone', ['SPEC_BY_MISMATCH']],
    ['a layer that does not exist', 'layer: areas', 'layer: zones', ['SPEC_UNKNOWN_LAYER']],
    [
      'neither rows nor an aggregate',
      '  - aggregate: { by: area, measures: [count] }\n',
      '',
      ['SPEC_NOTHING_TO_WRITE'],
    ],
    ['a measure without column', '[count]', '[sum]', ['SPEC_BAD_VALUE']],
    ['a measure of two functions', '[count]', '[{ sum: a, max: b }]', ['SPEC_BAD_VALUE']],
    [
      'the same measure twice',
      '[count]',
      '[{ sum: a }, count, { sum: a }]',
      ['SPEC_DUPLICATE_MEASURE'],
    ],
    ['a layer in another CRS', 'id: "@id"', 'id: "@id", crs: EPSG:3857', ['SPEC_CRS_MISMATCH']],
    ['memory below 16 MiB', 'sink:', 'limits: { memory: 3 MB }\nsink:', ['SPEC_OUT_OF_RANGE']],
    ['memory without unit', 'sink:', 'limits: { memory: 300 }\nsink:', ['SPEC_WRONG_TYPE']],
    ['no measures', '[count]', '[]', ['SPEC_OUT_OF_RANGE']],
  ])('refuse %s', (_what, from, to, codes) => {
    expect(rule(from, to).toSorted()).toEqual(codes.toSorted());
  });

  test('take EPSG:4326 and OGC:CRS84 as one CRS', () => {
    expect(rule('id: "@id"', 'id: "@id", crs: EPSG:4326')).toEqual([]);
  });

  test('warn of a layer that no step uses', () => {
    const text = MINIMAL.replace('layers: {', 'layers: { spare: { file: b, id: c },');
    expect(parseSpec(text, { file: 's' }).warnings.map((warning) => warning.path)).toEqual([
      'layers.spare',
    ]);
  });
});

describe('definePipeline', () => {
  const pipeline = {
    apiVersion: 'tileloom/v1',
    kind: 'Pipeline',
    name: 'small',
    source: { dataset: './points' },
    layers: { areas: { file: 'a.geojson', id: '@id' } },
    steps: [
      { assign: { layer: 'areas', as: 'area' } },
      { aggregate: { by: 'area', measures: ['count'] } },
    ],
    sink: { path: 'out' },
  } as const;

  test('gives the same spec as the YAML', () => {
    expect(definePipeline(pipeline)).toEqual(parseSpec(MINIMAL, { file: 's' }).spec);
  });

  test('throws every problem at once', () => {
    expect(() => definePipeline({ ...pipeline, name: 'a b', limits: { lanes: 0 } })).toThrow(
      /2 problems/,
    );
  });
});

describe('absolutiseSpec', () => {
  test('makes the dataset, layer files and sink absolute and leaves absolute ones alone', () => {
    const { spec } = parseSpec(MINIMAL.replace('path: out', 'path: /x/out'), { file: 's' });
    const absolute = absolutiseSpec(spec, '/base', (base, path) => resolve(base, path));
    expect([absolute.source.dataset, absolute.layers['areas']?.file, absolute.sink.path]).toEqual([
      '/base/points',
      '/base/a.geojson',
      '/x/out',
    ]);
    expect(spec.source.dataset).toBe('./points');
  });
});
