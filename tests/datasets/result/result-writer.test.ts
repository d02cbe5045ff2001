import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import { parquetReadObjects } from 'hyparquet';
import { describe, expect, test } from 'vitest';
import { writeResult, type ResultFormat, type ResultRow } from '../../../datasets/result/index.ts';
import {
  collection,
  LayerLab,
  polygonFeature,
  square,
  temporaryFolder,
} from '../layers/support.ts';

const folder = await temporaryFolder();
const lab = new LayerLab(folder);
const columns = ['count', 'sum_value', 'mean_value'];
const rows: readonly ResultRow[] = [
  { id: '01', name: 'plain', count: 3, values: [3, 0.1 + 0.2, 0.1] },
  { id: 'quote"d, and\nlong', name: null, count: 0, values: [0, null, null] },
  { id: 'c', name: 'ä €', count: 2 ** 40, values: [2 ** 40, Number.NaN, -Infinity] },
];

async function write(format: ResultFormat, name = `result.${format}`): Promise<Buffer> {
  const features = rows.map(({ id }, i) => polygonFeature(id, [square(i * 2, 0)]));
  const { geometryPath } = await lab.prepare(collection(...features));
  const file = path.join(folder, name);
  await writeResult({ path: file, format, columns, rows, geometryPath });
  return readFile(file);
}

describe('writeResult', () => {
  test('writes CSV by RFC 4180', async () => {
    expect((await write('csv')).toString('utf8')).toBe(
      'id,name,count,sum_value,mean_value\r\n' +
        '01,plain,3,0.30000000000000004,0.1\r\n' +
        '"quote""d, and\nlong",,0,,\r\n' +
        'c,ä €,1099511627776,NaN,-Infinity\r\n',
    );
  });

  test('writes Arrow and Parquet that other readers understand', async () => {
    const table = tableFromIPC(await write('arrow'));
    expect(table.schema.fields.map(({ name }) => name)).toEqual([
      'id',
      'name',
      'count',
      'sum_value',
      'mean_value',
    ]);
    const fromArrow = table.toArray().map((row) => row?.toJSON() as Record<string, unknown>);
    const bytes = await write('parquet');
    const file = new Uint8Array(bytes).buffer;
    const fromParquet = await parquetReadObjects({ file });
    const expected = rows.map(({ id, name, count, values }) => ({
      id,
      name,
      count: BigInt(count),
      sum_value: values[1],
      mean_value: values[2],
    }));
    expect(fromArrow).toEqual(expected);
    expect(fromParquet).toEqual(expected);
  });

  test('writes GeoJSON with the geometry, and text for what JSON cannot hold', async () => {
    const parsed = JSON.parse((await write('geojson')).toString('utf8')) as {
      features: { id: string; properties: unknown; geometry: unknown }[];
    };
    expect(parsed.features).toHaveLength(3);
    expect(parsed.features[2]).toEqual({
      type: 'Feature',
      id: 'c',
      properties: {
        id: 'c',
        name: 'ä €',
        count: 2 ** 40,
        sum_value: 'NaN',
        mean_value: '-Infinity',
      },
      geometry: { type: 'Polygon', coordinates: [square(4, 0)] },
    });
  });

  test('writes the same bytes for the same rows, and no temporary file stays', async () => {
    for (const format of ['arrow', 'parquet', 'csv', 'geojson'] as const) {
      expect(await write(format, 'again')).toEqual(await write(format, 'first'));
    }
    expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test('refuses clashing columns, odd rows, unknown features and missing geometry', async () => {
    const file = path.join(folder, 'refused');
    const request = { path: file, format: 'csv', columns, rows } as const;
    const refused: [Partial<Parameters<typeof writeResult>[0]>, string][] = [
      [{ columns: ['id', 'a', 'b'] }, 'RESULT_COLUMN_NAME'],
      [{ columns: ['a', 'a', 'b'] }, 'RESULT_COLUMN_NAME'],
      [{ columns: ['a'] }, 'RESULT_VALUES_LENGTH'],
      [{ format: 'geojson' }, 'RESULT_GEOMETRY_MISSING'],
    ];
    for (const [change, code] of refused) {
      await expect(writeResult({ ...request, ...change })).rejects.toMatchObject({ code });
    }
    const { geometryPath } = await lab.prepare(collection(polygonFeature('other', [square(0, 0)])));
    const unknown = writeResult({ ...request, format: 'geojson', geometryPath });
    await expect(unknown).rejects.toMatchObject({ code: 'RESULT_FEATURE_UNKNOWN' });
    expect(await readdir(folder)).not.toContain('refused');
    const missing = writeResult({ ...request, path: path.join(folder, 'no', 'where') });
    await expect(missing).rejects.toMatchObject({ code: 'IO_FAILED' });
  });
});
