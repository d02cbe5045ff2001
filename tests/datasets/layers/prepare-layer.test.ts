import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { prepareLayer, readGeometry } from '../../../datasets/layers/index.ts';
import {
  collection,
  feature,
  LayerLab,
  layerSpec,
  polygonFeature,
  square,
  temporaryFolder,
} from './support.ts';

const lab = new LayerLab(await temporaryFolder());

const bowTie = [
  [0, 0],
  [2, 2],
  [2, 0],
  [0, 2],
  [0, 0],
];

describe('prepareLayer reads', () => {
  test('a FeatureCollection with holes, parts and names', async () => {
    const hole = square(1, 1, 1).toReversed();
    const content = JSON.stringify({
      // Members in an unusual order, with foreign ones.
      features: [
        {
          geometry: { coordinates: [square(0, 0, 3), hole], type: 'Polygon' },
          properties: { name: 'A "quoted" ä', id: 'a', deep: { coordinates: [[[[1]]]] } },
          type: 'Feature',
        },
        feature(7, { type: 'MultiPolygon', coordinates: [[square(5, 5)], [square(7, 7)]] }),
      ],
      type: 'FeatureCollection',
    });
    const prepared = await lab.prepare(content);
    expect(prepared).toMatchObject({
      features: 2,
      parts: 3,
      rings: 4,
      vertices: 20,
      meanVertices: 10,
      bbox: [0, 0, 8, 8],
      maxAbs: 8,
      families: ['polygon'],
      warnings: [],
    });
    const geometry = await readGeometry(prepared.geometryPath);
    expect(geometry.meta).toEqual({
      crs: 'OGC:CRS84',
      ids: ['a', '7'],
      names: ['A "quoted" ä', '7'],
      bbox: [0, 0, 8, 8],
      maxAbs: 8,
    });
    expect([...geometry.featureParts]).toEqual([0, 1, 3]);
    expect([...geometry.partRings]).toEqual([0, 2, 3, 4]);
    expect([...geometry.ringVertices]).toEqual([0, 5, 10, 15, 20]);
    expect([...geometry.x.subarray(0, 5)]).toEqual([0, 3, 3, 0, 0]);
  });

  test('a Feature, a bare geometry, newline-delimited and RFC 8142 text alike', async () => {
    const one = { ...(polygonFeature('a', [square(0, 0)]) as object), id: 'a' };
    const two = { ...(polygonFeature('b', [square(2, 0)]) as object), id: 'b' };
    const whole = await lab.prepare(collection(one, two));
    const lines = await lab.prepare(`${JSON.stringify(one)}\n${JSON.stringify(two)}\n`);
    const sequence = await lab.prepare(`\x1e${JSON.stringify(one)}\n\x1e${JSON.stringify(two)}\n`);
    const marked = await lab.prepare(`\ufeff${collection(one, two)}`);
    expect(new Set([whole, lines, sequence, marked].map(({ sha256 }) => sha256)).size).toBe(1);
    expect(await lab.prepare(JSON.stringify(one), { id: '@id' })).toMatchObject({ features: 1 });
    const bare = { type: 'Polygon', id: 5, coordinates: [square(0, 0)] };
    expect((await lab.geometry(JSON.stringify(bare), { id: '@id' })).meta.ids).toEqual(['5']);
  });

  test('a GeometryCollection of polygons as parts', async () => {
    const polygon = (x: number): unknown => ({ type: 'Polygon', coordinates: [square(x, 0)] });
    const nested = { type: 'GeometryCollection', geometries: [polygon(4)] };
    const geometry = { type: 'GeometryCollection', geometries: [polygon(0), polygon(2), nested] };
    expect(await lab.prepare(collection(feature('a', geometry)))).toMatchObject({ parts: 3 });
  });

  test('TopoJSON by object name, and lists the names otherwise', async () => {
    const arcs = [square(0, 0), square(2, 2)];
    const object = (arc: number): unknown => ({
      type: 'GeometryCollection',
      geometries: [{ type: 'Polygon', arcs: [[arc]], properties: { id: `arc${arc}` } }],
    });
    const topology = { arcs, objects: { one: object(0), two: object(1) }, type: 'Topology' };
    const chosen = await lab.geometry(JSON.stringify(topology), { object: 'two' });
    expect(chosen.meta).toMatchObject({ ids: ['arc1'], bbox: [2, 2, 3, 3] });
    const refusal = await lab.refusal(JSON.stringify(topology));
    expect(refusal.code).toBe('LAYER_OBJECT_UNKNOWN');
    expect(refusal.message).toMatch(/one, two.*got none/u);
    expect((await lab.refusal(JSON.stringify(topology), { object: 'x' })).message).toMatch(
      /got x/u,
    );
    const broken = { ...topology, arcs: [] };
    expect(await lab.refusal(JSON.stringify(broken), { object: 'one' })).toMatchObject({
      code: 'LAYER_FORMAT',
    });
  });

  test('turns −0.0 into +0.0', async () => {
    const ring = '[[-0.0,-0],[1,-0.0],[1,1],[-0.0,1],[0,0]]';
    const text = `{"type":"Feature","properties":{"id":1},"geometry":{"type":"Polygon","coordinates":[${ring}]}}`;
    const { x, y } = await lab.geometry(text);
    expect([...x, ...y].some((value) => Object.is(value, -0))).toBe(false);
  });
});

describe('prepareLayer refuses', () => {
  test('all broken features of a file at once, each by name', async () => {
    const text = collection(
      polygonFeature('open', [square(0, 0).slice(0, 4)]),
      polygonFeature('short', [
        [
          [0, 0],
          [1, 1],
          [0, 0],
        ],
      ]),
      polygonFeature('text', [
        [
          [0, 0],
          [1, 'x'],
          [1, 1],
          [0, 0],
        ],
      ] as never),
      polygonFeature('null', [
        [
          [0, 0],
          [1, null],
          [1, 1],
          [0, 0],
        ],
      ] as never),
      polygonFeature('single', [[[0, 0], [1], [1, 1], [0, 0]]]),
      feature('point', { type: 'Point', coordinates: [1, 2] }),
      feature('line', {
        type: 'LineString',
        coordinates: [
          [1, 2],
          [3, 4],
        ],
      }),
      polygonFeature('twice', [square(10, 0)]),
      polygonFeature('twice', [square(12, 0)]),
      polygonFeature(undefined, [square(14, 0)]),
      polygonFeature({ a: 1 }, [square(16, 0)]),
      feature('flat', { type: 'Polygon', coordinates: square(0, 0) }),
      feature('deep', { type: 'Polygon', coordinates: [[square(0, 0)]] }),
      feature('none', { type: 'Polygon' }),
      polygonFeature('far', [square(500_000, 4_000_000, 100)]),
      'not a feature',
    );
    const refusal = await lab.refusal(text);
    expect(refusal.code).toBe('LAYER_INVALID');
    const found = refusal.findings.map(({ code, feature: id }) => [code, id]);
    expect(found).toEqual([
      ['LAYER_COORDINATES_MALFORMED', 'flat'],
      ['LAYER_COORDINATES_MALFORMED', 'deep'],
      ['LAYER_COORDINATES_MALFORMED', 'none'],
      ['LAYER_COORDINATE_INVALID', 'text'],
      ['LAYER_COORDINATE_INVALID', 'null'],
      ['LAYER_COORDINATE_INVALID', 'single'],
      ['LAYER_COORDINATE_OUT_OF_RANGE', 'far'],
      ['LAYER_ID_DUPLICATE', 'twice'],
      ['LAYER_ID_MISSING', '#9'],
      ['LAYER_ID_MISSING', '#10'],
      ['LAYER_NOT_POLYGON', 'point'],
      ['LAYER_NOT_POLYGON', 'line'],
      ['LAYER_NOT_POLYGON', '#15'],
      ['LAYER_RING_TOO_SHORT', 'short'],
      ['LAYER_RING_UNCLOSED', 'open'],
    ]);
    for (const { message } of refusal.findings) expect(message).toMatch(/expected .*, got /u);
    expect(refusal.details).toMatchObject({ LAYER_ID_MISSING: 2 });
  });

  test('NaN and infinities that are not JSON, naming the feature', async () => {
    for (const word of ['NaN', 'Infinity', '-Infinity', '1e999']) {
      const text = collection(polygonFeature('x', [square(0, 0)])).replace('[1,1]', `[1,${word}]`);
      const refusal = await lab.refusal(text);
      expect(refusal.findings).toMatchObject([{ code: 'LAYER_COORDINATE_INVALID', feature: 'x' }]);
    }
  });

  test('a polygon file that is points, with counts but few samples', async () => {
    const points = Array.from({ length: 500 }, (_, i) =>
      feature(i, { type: 'Point', coordinates: [i % 90, 0] }),
    );
    const { findings } = await lab.refusal(collection(...points));
    expect(findings).toHaveLength(21);
    expect(findings.reduce((sum, { count }) => sum + count, 0)).toBe(500);
  });

  test.each([
    ['', 'LAYER_EMPTY', '0 bytes'],
    ['  \n', 'LAYER_EMPTY', 'no value'],
    ['{"type":"FeatureCollection","features":[]}', 'LAYER_EMPTY', 'got 0'],
    ['{"type":"FeatureCollection","features":[,]}', 'LAYER_JSON_INVALID', 'byte 40'],
    ['{"type":"FeatureCollection","features":[', 'LAYER_JSON_INVALID', 'the end of the file'],
    ['[1,2]', 'LAYER_JSON_INVALID', 'byte 0'],
    ['{"a":1}', 'LAYER_FORMAT', 'nothing'],
    ['{"type":"FeatureCollection"}', 'LAYER_FORMAT', 'FeatureCollection'],
    ['{"type":"FeatureCollection","features":[]} {}', 'LAYER_JSON_INVALID', 'after a Feature'],
    [`{"type":"Feature","x":${'['.repeat(2000)}`, 'LAYER_JSON_TOO_DEEP', '1000 levels'],
    ['PAR1 and nothing else', 'LAYER_PARQUET_INVALID', 'footer'],
  ])('the file %j', async (content, code, words) => {
    const refusal = await lab.refusal(content);
    expect([refusal.code, ...refusal.findings.map((finding) => finding.code)]).toContain(code);
    expect(refusal.message).toContain(words);
    expect(refusal.message).toContain(lab.folder);
  });

  test('a missing file and a folder', async () => {
    for (const file of [path.join(lab.folder, 'absent'), lab.folder]) {
      const refused = prepareLayer(layerSpec(), {
        path: file,
        cacheDir: path.join(lab.folder, 'cache'),
        sourceCrs: 'OGC:CRS84',
      });
      await expect(refused).rejects.toMatchObject({ code: 'LAYER_NOT_FOUND' });
    }
  });

  test('another CRS, naming both', async () => {
    const text = collection(polygonFeature('a', [square(0, 0)]));
    const spec = await lab.refusal(text, { crs: 'EPSG:5070' }, 'OGC:CRS84');
    expect(spec.code).toBe('LAYER_CRS_MISMATCH');
    expect(spec.message).toMatch(/EPSG:5070.*OGC:CRS84/u);
    const member = { type: 'name', properties: { name: 'urn:ogc:def:crs:EPSG::3857' } };
    const legacy = text.replace('{', `{"crs":${JSON.stringify(member)},`);
    const file = await lab.refusal(legacy);
    expect(file.code).toBe('LAYER_CRS_MISMATCH');
    expect(file.message).toMatch(/EPSG:3857.*OGC:CRS84/u);
    const same = legacy.replace('EPSG::3857', 'OGC:1.3:CRS84');
    expect(await lab.prepare(same, { crs: 'EPSG:4326' }, 'OGC:CRS84')).toMatchObject({
      features: 1,
    });
  });
});

describe('prepareLayer warns', () => {
  async function codes(...features: unknown[]): Promise<[string, string | null, number][]> {
    const { warnings } = await lab.prepare(collection(...features));
    return warnings.map(({ code, feature: id, count }) => [code, id, count]);
  }

  test('of empty geometry, zero area, and rings that cross or touch themselves', async () => {
    const line = [
      [20, 0],
      [21, 1],
      [22, 2],
      [20, 0],
    ];
    const touching = [
      [30, 0],
      [32, 0],
      [31, 1],
      [32, 2],
      [30, 2],
      [31, 1],
      [30, 0],
    ];
    const spike = [
      [40, 0],
      [42, 0],
      [44, 0],
      [42, 0],
      [42, 2],
      [40, 0],
    ];
    expect(
      await codes(
        feature('null', null),
        feature('empty', { type: 'MultiPolygon', coordinates: [] }),
        polygonFeature('line', [line]),
        polygonFeature('bow', [bowTie.map(([x, y]) => [(x ?? 0) * 2, (y ?? 0) * 3 + (x ?? 0)])]),
        polygonFeature('touch', [touching]),
        polygonFeature('spike', [spike]),
        polygonFeature('fine', [square(50, 0)]),
      ),
    ).toEqual([
      ['LAYER_GEOMETRY_EMPTY', 'null', 1],
      ['LAYER_GEOMETRY_EMPTY', 'empty', 1],
      ['LAYER_RING_SELF_INTERSECTS', 'spike', 1],
      ['LAYER_RING_SELF_TOUCHES', 'touch', 1],
      ['LAYER_RING_ZERO_AREA', 'line', 1],
      ['LAYER_RING_ZERO_AREA', 'bow', 1],
    ]);
    const skewed = [
      [0, 0],
      [2, 2],
      [2, 0],
      [0, 3],
      [0, 0],
    ];
    expect(await codes(polygonFeature('bow', [skewed]))).toEqual([
      ['LAYER_RING_SELF_INTERSECTS', 'bow', 1],
    ]);
  });

  test('of parts whose even-odd region is not shell minus holes', async () => {
    expect(
      await codes(
        polygonFeature('good', [square(0, 0, 9), square(1, 1), square(3, 3), square(4, 4)]),
        polygonFeature('outside', [square(20, 0, 2), square(25, 0)]),
        polygonFeature('nested', [square(30, 0, 9), square(31, 1, 5), square(32, 2)]),
        polygonFeature('across', [square(40, 0, 2), square(41, 1, 2)]),
        polygonFeature('same', [square(50, 0, 2), square(50, 0, 2)]),
      ),
    ).toEqual([
      ['LAYER_EVEN_ODD_DIFFERS', 'outside', 1],
      ['LAYER_EVEN_ODD_DIFFERS', 'nested', 1],
      ['LAYER_EVEN_ODD_DIFFERS', 'across', 1],
    ]);
  });

  test('of T-junctions, also rounded ones, and of overlaps, but not of a matched partition', async () => {
    const matched = [
      polygonFeature('a', [square(0, 0)]),
      polygonFeature('b', [square(1, 0)]),
      polygonFeature('c', [square(0, 1)]),
    ];
    expect(await codes(...matched)).toEqual([]);
    for (const nudge of [0, 1e-12, -1e-7]) {
      const split = [
        [3, 0],
        [3 + nudge, 0.4],
        [3, 1],
        [4, 1],
        [4, 0],
        [3, 0],
      ];
      expect(
        await codes(polygonFeature('whole', [square(2, 0)]), polygonFeature('split', [split])),
      ).toEqual([
        ['LAYER_BORDER_UNMATCHED', 'whole', 1],
        ['LAYER_BORDER_UNMATCHED', 'split', 2],
      ]);
    }
    expect(
      (
        await codes(polygonFeature('a', [square(0, 0, 2)]), polygonFeature('b', [square(1, 1, 2)]))
      ).map(([code, id, count]) => `${code} ${id} ${count}`),
    ).toEqual(['LAYER_BORDER_UNMATCHED a 2', 'LAYER_BORDER_UNMATCHED b 2']);
  });

  test('of hostile rings that no near-linear check can finish, in bounded time', async () => {
    const star = Array.from({ length: 12_001 }, (_, i) => {
      const angle = (((i % 12_000) * 5_999) / 12_000) * 2 * Math.PI;
      return [Math.cos(angle) * 80, Math.sin(angle) * 80];
    });
    const found = await codes(polygonFeature('star', [star]));
    expect(found.map(([code]) => code)).toContain('LAYER_RING_SELF_INTERSECTS');
  });
});

describe('the layer cache', () => {
  const text = collection(polygonFeature('a', [square(0, 0)]), polygonFeature('b', [bowTie]));

  test('gives the same bytes again, keeps warnings, and keys by options', async () => {
    const first = await lab.prepare(text.replace('[2,0]', '[2,0.5]'));
    const again = await lab.prepare(text.replace('[2,0]', '[2,0.5]'));
    expect(again).toEqual(first);
    expect(first.warnings.length).toBeGreaterThan(0);
    const other = await lab.prepare(text.replace('[2,0]', '[2,0.5]'), { pole: { a: 'north' } });
    expect(other.geometryPath).not.toBe(first.geometryPath);
    expect(other.sha256).toBe(first.sha256);
  });

  test('makes a corrupt or torn entry again', async () => {
    const first = await lab.prepare(text);
    const bytes = await readFile(first.geometryPath);
    for (const broken of [
      bytes.subarray(0, 200),
      Buffer.alloc(0),
      Buffer.from(bytes).fill(1, 300, 301),
    ]) {
      await writeFile(first.geometryPath, broken);
      expect(await lab.prepare(text)).toEqual(first);
      expect(await readFile(first.geometryPath)).toEqual(bytes);
    }
    await writeFile(first.geometryPath.replace('.tlgeom', '.json'), '{');
    expect(await lab.prepare(text)).toEqual(first);
  });

  test('is safe with several preparers at once and leaves no temporary files', async () => {
    const unique = text.replaceAll('"b"', '"concurrent"');
    const all = await Promise.all(Array.from({ length: 6 }, () => lab.prepare(unique)));
    for (const prepared of all) expect(prepared).toEqual(all[0]);
    const names = await readdir(path.join(lab.folder, 'cache'));
    expect(names.filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });
});
