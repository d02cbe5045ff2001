// Conversion of each format, with nulls, odd values and bad inputs.
import { readFileSync, readdirSync, writeFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import {
  Dictionary,
  Float32,
  Float64,
  Int16,
  Int32,
  Table,
  TimestampMicrosecond,
  TimestampSecond,
  Uint64,
  Utf8,
  tableToIPC,
  vectorFromArray,
} from 'apache-arrow';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, test } from 'vitest';
import {
  convertDataset,
  hilbertKey,
  inspectDataset,
  openDataset,
  type ConvertOptions,
} from '../../datasets/index.ts';
import { floorDivide } from '../../datasets/input-parquet.ts';
import { isValid } from '../../datasets/tile-values.ts';
import { expectCode, folderBytes, temporaryFolder } from './support.ts';

const folder = temporaryFolder();
let serial = 0;
const fresh = (suffix = ''): string => path.join(folder, `f${(serial += 1)}${suffix}`);

function put(suffix: string, content: string | Uint8Array | ArrayBuffer): string {
  const file = fresh(suffix);
  writeFileSync(file, content instanceof ArrayBuffer ? new Uint8Array(content) : content);
  return file;
}

/** Converts and reads back through tile sources: rows as objects, null where invalid. */
async function converted(
  inputs: readonly string[],
  options: Partial<ConvertOptions> = {},
): Promise<Record<string, number | bigint | null>[]> {
  const out = fresh();
  await convertDataset({ inputs, out, ...options });
  expect((await inspectDataset(out, { verify: true })).verified?.problemCount).toBe(0);
  return readRows(out);
}

async function readRows(out: string): Promise<Record<string, number | bigint | null>[]> {
  const dataset = await openDataset(out);
  const { x, y } = dataset.manifest.coordinates;
  const measures = dataset.manifest.columns
    .map(({ name }) => name)
    .filter((n) => n !== x && n !== y);
  const source = dataset.tileSource({ measures });
  const rows: Record<string, number | bigint | null>[] = [];
  for (let tile = 0; tile < dataset.table.tiles; tile += 1) {
    const input = source.resolve(tile);
    const bytes = readFileSync(input.path);
    for (let row = 0; row < input.rows; row += 1) {
      const entries = [input.x, input.y, ...input.measures].map((column) => {
        const at = column.dataOffset + 8 * row;
        const validity =
          column.validityOffset === null
            ? null
            : new Uint8Array(bytes.subarray(column.validityOffset));
        const value = column.type === 'float64' ? bytes.readDoubleLE(at) : bytes.readBigInt64LE(at);
        return [column.name, isValid(validity, row) ? value : null] as const;
      });
      rows.push(Object.fromEntries(entries));
    }
  }
  source.close();
  return rows;
}

function wkb(
  x: number,
  y: number,
  options: { big?: boolean; type?: number; srid?: boolean } = {},
): Uint8Array {
  const { big = false, type = 1, srid = false } = options;
  const view = new DataView(new ArrayBuffer(srid ? 25 : 21));
  view.setUint8(0, big ? 0 : 1);
  view.setUint32(1, srid ? type | 0x20000000 : type, !big);
  if (srid) view.setUint32(5, 4326, !big);
  view.setFloat64(srid ? 9 : 5, x, !big);
  view.setFloat64(srid ? 17 : 13, y, !big);
  return new Uint8Array(view.buffer);
}

function geoParquet(
  points: readonly (Uint8Array | null)[],
  column: Record<string, unknown> = {},
  more: { name: string; data: unknown[]; type: string }[] = [],
): string {
  const columns = { geometry: { encoding: 'WKB', geometry_types: ['Point'], ...column } };
  const geo = { version: '1.1.0', primary_column: 'geometry', columns };
  const buffer = parquetWriteBuffer({
    columnData: [{ name: 'geometry', data: [...points], type: 'BYTE_ARRAY' }, ...(more as never[])],
    kvMetadata: [{ key: 'geo', value: JSON.stringify(geo) }],
    rowGroupSize: 3,
  });
  return put('.parquet', buffer);
}

describe('GeoParquet', () => {
  test('gives points of both byte orders and dimensions, nulls, and the other numbers', async () => {
    const empty = wkb(NaN, NaN);
    const points = [
      wkb(1, 2),
      wkb(3, 4, { big: true }),
      null,
      empty,
      wkb(5, 6, { type: 1001 }),
      wkb(7, -8, { srid: true }),
    ];
    const file = geoParquet(points, {}, [
      { name: 'v', data: [1.5, null, 2, -0, 5, 6], type: 'DOUBLE' },
      { name: 'n', data: [1, 2, 3, 4, 5, -6], type: 'INT32' },
      { name: 's', data: ['a', 'b', 'c', 'd', 'e', 'f'], type: 'STRING' },
    ]);
    expect(await converted([file])).toEqual([
      { lon: 1, lat: 2, v: 1.5, n: 1n },
      { lon: 3, lat: 4, v: null, n: 2n },
      { lon: null, lat: null, v: 2, n: 3n },
      { lon: NaN, lat: NaN, v: -0, n: 4n },
      { lon: 5, lat: 6, v: 5, n: 5n },
      { lon: 7, lat: -8, v: 6, n: -6n },
    ]);
    expect(await converted([file], { columns: ['n'] })).toHaveLength(6);
    await expectCode(() => converted([file], { columns: ['s'] }), 'COLUMN_TYPE', ['"s"']);
    await expectCode(() => converted([file], { columns: ['q'] }), 'COLUMN_MISSING', ['"q"', file]);
  });

  test('is refused when it is not planar points in the stated CRS', async () => {
    const point = [wkb(1, 2)];
    const spherical = geoParquet(point, { edges: 'spherical' });
    await expectCode(() => converted([spherical]), 'EDGES_SPHERICAL', [spherical]);
    const polygons = geoParquet(point, { geometry_types: ['Polygon'] });
    await expectCode(() => converted([polygons]), 'GEOMETRY_NOT_POINT', ['Polygon']);
    const lies = geoParquet([wkb(1, 2), wkb(1, 2, { type: 3 })]);
    await expectCode(() => converted([lies]), 'GEOMETRY_NOT_POINT', ['row 1', 'Polygon']);
    const torn = geoParquet([wkb(1, 2).subarray(0, 12)]);
    await expectCode(() => converted([torn]), 'GEOMETRY_NOT_POINT', ['12 bytes']);
    const native = geoParquet(point, { encoding: 'point' });
    await expectCode(() => converted([native]), 'PARQUET_UNSUPPORTED', ['WKB']);
    const utm = geoParquet(point, { crs: { id: { authority: 'EPSG', code: 32632 } } });
    await expectCode(() => converted([utm], { crs: 'OGC:CRS84' }), 'CRS_MISMATCH', ['EPSG:32632']);
    expect(Object.keys((await converted([utm]))[0] ?? {})).toEqual(['x', 'y']);
    const unknown = geoParquet(point, { crs: null });
    await expectCode(() => converted([unknown]), 'CRS_UNSUPPORTED');
    expect(await converted([unknown], { crs: 'EPSG:4326' })).toEqual([{ lon: 1, lat: 2 }]);
    const wgs84 = geoParquet(point, { crs: { id: { authority: 'EPSG', code: 4326 } } });
    expect(await converted([wgs84], { crs: 'OGC:CRS84' })).toHaveLength(1);
  });
});

describe('Parquet', () => {
  const plain = (): Uint8Array =>
    new Uint8Array(
      parquetWriteBuffer({
        columnData: [
          { name: 'Longitude', data: [1, 2, 3, 4], type: 'DOUBLE' },
          { name: 'latitude', data: Float32Array.of(0.5, NaN, 1, 2), type: 'FLOAT' },
          { name: 't', data: [new Date(5), new Date(-7), new Date(0), null], type: 'TIMESTAMP' },
          { name: 'id', data: [1n, -2n, 2n ** 62n, 4n], type: 'INT64' },
          { name: 'flag', data: [true, false, true, true], type: 'BOOLEAN' },
        ] as never,
        rowGroupSize: 2,
      }),
    );

  test('gives named or well-known coordinate columns, times and integers', async () => {
    const file = put('.parquet', plain());
    const expected = [
      { Longitude: 1, latitude: 0.5, t: 5n, id: 1n },
      { Longitude: 2, latitude: NaN, t: -7n, id: -2n },
      { Longitude: 3, latitude: 1, t: 0n, id: 2n ** 62n },
      { Longitude: 4, latitude: 2, t: null, id: 4n },
    ];
    expect(await converted([file])).toEqual(expected);
    const swapped = await converted([file], { x: 'latitude', y: 'Longitude', columns: [] });
    expect(swapped[2]).toEqual({ latitude: 1, Longitude: 3 });
    await expectCode(() => converted([file], { x: 'id', y: 'latitude' }), 'COLUMN_TYPE', ['"id"']);
    await expectCode(() => converted([file], { x: 'nope', y: 'latitude' }), 'COLUMN_MISSING', [
      'nope',
    ]);
    await expectCode(() => converted([file], { x: 'Longitude' }), 'OPTION_INVALID');
  });

  test('is refused with a code when truncated anywhere or when its footer lies', async () => {
    const bytes = plain();
    for (let length = 4; length < bytes.length; length += 41) {
      const file = put('.parquet', bytes.subarray(0, length));
      await expectCode(() => converted([file]), 'PARQUET_CORRUPT', [file]);
    }
    const codes = new Set<string>();
    const footer = bytes.length - 8 - new DataView(bytes.buffer).getUint32(bytes.length - 8, true);
    for (let at = footer; at < bytes.length; at += 3) {
      const changed = bytes.slice();
      changed[at] = (changed[at] ?? 0) ^ 0x15;
      await convertDataset({ inputs: [put('.parquet', changed)], out: fresh() }).catch(
        (error: unknown) => {
          codes.add((error as { code?: string }).code ?? String((error as Error).stack));
        },
      );
    }
    const known = [
      'PARQUET_CORRUPT',
      'COLUMN_MISSING',
      'COLUMN_TYPE',
      'INPUT_FORMAT',
      'PARQUET_UNSUPPORTED',
    ];
    for (const code of codes) expect(known).toContain(code);
  });
});

const feature = (x: unknown, y: unknown, properties: unknown): string =>
  JSON.stringify({ type: 'Feature', geometry: { type: 'Point', coordinates: [x, y] }, properties });

describe('GeoJSON', () => {
  test('gives points and the numbers among the properties', async () => {
    const features = [
      feature(1, 2, { pop: 5, name: 'a' }),
      '{"type":"Feature","properties":null,"geometry":null}',
      '{"geometry":{"coordinates":[3,4,5],"type":"Point"},"type":"Feature","properties":{"pop":null}}',
    ];
    const expected = [
      { lon: 1, lat: 2, pop: 5 },
      { lon: null, lat: null, pop: null },
      { lon: 3, lat: 4, pop: null },
    ];
    const text = `{"features": [${features.join(' ,')} ], "type": "FeatureCollection"}`;
    expect(await converted([put('.json', text)])).toEqual(expected);
    expect(await converted([put('.jsonl', features.join('\n'))])).toEqual(expected);
    expect(await converted([put('.seq', features.map((one) => `\x1e${one}\n`).join(''))])).toEqual(
      expected,
    );
  });

  test('streams many features in bounded memory', async () => {
    const file = fresh('.json');
    const rows = 60_000;
    const filler = 'x'.repeat(400);
    const lines = Array.from({ length: rows }, (_, row) => feature(row / 1e3, 1, { row, filler }));
    writeFileSync(file, `{"type":"FeatureCollection","features":[${lines.join(',\n')}]}`);
    const out = fresh();
    const manifest = await convertDataset({ inputs: [file], out, tileRows: 1000 });
    expect([manifest.rows, manifest.tiles, manifest.columns[2]?.max]).toEqual([rows, 60, rows - 1]);
  });

  test('is refused with the number of the feature', async () => {
    const collection = (...features: string[]): string =>
      put('.json', `{"type":"FeatureCollection","features":[${features.join()}]}`);
    const line =
      '{"type":"Feature","properties":{},"geometry":{"type":"LineString","coordinates":[]}}';
    const polygon = collection(feature(1, 2, {}), line);
    await expectCode(() => converted([polygon]), 'GEOMETRY_NOT_POINT', ['feature 1', 'LineString']);
    const words = collection(feature('1', 2, {}));
    await expectCode(() => converted([words]), 'GEOJSON_INVALID', ['feature 0']);
    const text = collection(feature(1, 2, { v: 1 }), feature(1, 2, { v: 'one' }));
    await expectCode(() => converted([text]), 'INPUT_VALUE', ['row 1', '"v"', 'one']);
    const torn = put('.json', '{"type":"FeatureCollection","features":[{"type":"Feature",');
    await expectCode(() => converted([torn]), 'GEOJSON_INVALID', [torn]);
    const other = put('.json', '{"type":"Topology"}');
    await expectCode(() => converted([other]), 'GEOJSON_INVALID', ['Topology']);
    const crs = '"crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:EPSG::3857"}}';
    const mercator = put('.json', `{"type":"FeatureCollection",${crs},"features":[]}`);
    await expectCode(() => converted([mercator], { crs: 'OGC:CRS84' }), 'CRS_MISMATCH', [
      'EPSG:3857',
    ]);
  });
});

const arrowTable = (): Table =>
  new Table({
    lon: vectorFromArray([1, 2, null, 4], new Float64()),
    lat: vectorFromArray([0.5, NaN, 1, -0], new Float32()),
    small: vectorFromArray([1, -2, 3, null], new Int16()),
    us: vectorFromArray([1999, -1, 0, 5], new TimestampMicrosecond()),
    s: vectorFromArray(
      [3, -4, 5, 6].map((n) => n * 1000),
      new TimestampSecond(),
    ),
    word: vectorFromArray(['a', 'b', 'a', 'c'], new Dictionary(new Utf8(), new Int32())),
  });

describe('Arrow', () => {
  test.each(['file', 'stream'] as const)('gives all numbers of a %s', async (kind) => {
    const table = arrowTable();
    const rows = await converted([put('.arrow', tableToIPC(table, kind))]);
    expect(rows.map(({ lon, lat, small }) => [lon, lat, small])).toEqual([
      [1, 0.5, 1n],
      [2, NaN, -2n],
      [null, 1, 3n],
      [4, -0, null],
    ]);
    expect(Object.keys(rows[0] ?? {})).toEqual(['lon', 'lat', 'small', 'us', 's']);
    // apache-arrow takes times in milliseconds and stores them in the unit of the column.
    expect(rows.map((row) => row['us'])).toEqual([1999n, -1n, 0n, 5n]);
    expect(rows.map((row) => row['s'])).toEqual([3000n, -4000n, 5000n, 6000n]);
  });

  test('is refused when torn, foreign or too large for a column', async () => {
    for (const kind of ['file', 'stream'] as const) {
      const bytes = tableToIPC(arrowTable(), kind);
      for (let length = 12; length < bytes.length - 8; length += 53) {
        const file = put('.arrow', bytes.subarray(0, length));
        await convertDataset({ inputs: [file], out: fresh() }).catch((error: unknown) => {
          expect((error as { code?: string }).code, String((error as Error).stack)).toMatch(
            /^ARROW_/u,
          );
        });
      }
    }
    const unsigned = new Table({
      lon: vectorFromArray([1], new Float64()),
      lat: vectorFromArray([2], new Float64()),
      big: vectorFromArray([2n ** 63n], new Uint64()),
    });
    const file = put('.arrow', tableToIPC(unsigned, 'stream'));
    await expectCode(() => converted([file]), 'INPUT_VALUE', ['row 0', '"big"', String(2n ** 63n)]);
    await expectCode(() => converted([file], { columns: ['word'] }), 'COLUMN_MISSING', ['word']);
  });
});

describe('floorDivide', () => {
  test('rounds towards minus infinity', () => {
    expect([7n, -7n, -8n, 0n].map((value) => floorDivide(value, 4n))).toEqual([1n, -2n, -2n, 0n]);
  });
});

describe('convertDataset', () => {
  const lines = (from: number, count: number): string =>
    Array.from({ length: count }, (_, at) => {
      const row = from + at;
      return feature(((row * 7919) % 3600) / 10 - 180, ((row * 104_729) % 1800) / 10 - 90, { row });
    }).join('\n');

  test('expands patterns in byte order and cuts tiles across files', async () => {
    const root = fresh();
    mkdirSync(path.join(root, 'deep'), { recursive: true });
    for (const [name, from] of [
      ['b.json', 5],
      ['B.json', 0],
      ['deep/a.json', 10],
    ] as const) {
      writeFileSync(path.join(root, name), lines(from, 5));
    }
    const rows = await converted([path.join(root, '*.json'), path.join(root, '**/a.json')], {
      tileRows: 4,
    });
    expect(rows.map((row) => row['row'])).toEqual(Array.from({ length: 15 }, (_, row) => row));
    await expectCode(() => converted([path.join(root, '*.csv')]), 'INPUT_NOT_FOUND', ['*.csv']);
    await expectCode(() => converted([path.join(root, 'none.json')]), 'INPUT_NOT_FOUND', [
      'none.json',
    ]);
  });

  test('sorts along the curve in runs of any size to the same bytes', async () => {
    const file = put(
      '.json',
      `${lines(0, 3000)}\n{"type":"Feature","geometry":null,"properties":{"row":-1}}`,
    );
    const outputs: Record<string, string>[] = [];
    for (const sortRunRows of [1, 7, 1000, 1 << 19]) {
      const out = path.join(fresh(), 'same-name');
      await convertDataset({ inputs: [file], out, order: 'curve', tileRows: 512, sortRunRows });
      expect(readdirSync(out).sort()).toEqual(['data-00000.arrow', 'dataset.json', 'tiles.arrow']);
      outputs.push(folderBytes(out));
      if (sortRunRows !== 7) continue;
      const rows = await readRows(out);
      const keys = rows.map(({ lon, lat }) =>
        hilbertKey(Number(lon), Number(lat), [-180, -90, 180, 90]),
      );
      expect(keys).toEqual([...keys].sort((a, b) => a - b));
      expect(new Set(rows.map(({ row }) => row)).size).toBe(3001);
      for (let at = 1; at < rows.length; at += 1) {
        if (keys[at] !== keys[at - 1] || rows[at]?.['lon'] === null) continue;
        expect(Number(rows[at]?.['row'])).toBeGreaterThan(Number(rows[at - 1]?.['row']));
      }
    }
    for (const output of outputs) expect(output).toEqual(outputs[0]);
  });

  test('refuses inputs that do not fit together or that it does not know', async () => {
    const a = put('.json', feature(1, 2, { a: 1 }));
    const b = put('.json', feature(1, 2, { b: 1 }));
    await expectCode(() => converted([a, b]), 'INPUT_FORMAT', [a, b, 'a: float64', 'b: float64']);
    await expectCode(() => converted([put('.csv', 'lon,lat\n1,2\n')]), 'INPUT_FORMAT', ['lon,lat']);
    await expectCode(() => converted([put('.json', '')]), 'INPUT_EMPTY');
    await expectCode(() => converted([a], { tileRows: 0 }), 'OPTION_INVALID', ['tileRows']);
    await expectCode(() => converted([a], { crs: 'moon' }), 'CRS_UNSUPPORTED', ['moon']);
  });

  test('leaves nothing behind when it fails in the middle', async () => {
    const file = put('.json', `${lines(0, 20_000)}\n${feature('x', 1, {})}`);
    const out = fresh();
    const run = (): Promise<unknown> => convertDataset({ inputs: [file], out, tileRows: 100 });
    await expectCode(run, 'GEOJSON_INVALID', ['feature 20000']);
    expect(readdirSync(folder)).not.toContain(path.basename(out));
  });
});
