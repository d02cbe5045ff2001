// Writing, opening and resolving datasets; the independent reader is apache-arrow's own.
import { readFileSync, readdirSync, writeFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import { describe, expect, test } from 'vitest';
import { hash128, openDataset, tileChecksum, type Dataset } from '../../datasets/index.ts';
import { DatasetWriter } from '../../datasets/dataset-writer.ts';
import {
  POINT_COLUMNS,
  expectCode,
  folderBytes,
  pointTile,
  temporaryFolder,
  writePoints,
} from './support.ts';

const folder = temporaryFolder();
let serial = 0;
const fresh = (): string => path.join(folder, `dataset-${(serial += 1)}`);

/** What apache-arrow reads from the record batch of a tile. */
function arrowColumn(dataset: Dataset, tile: number, name: string): unknown[] {
  const file = dataset.manifest.files[dataset.table.file[tile] ?? 0]?.name ?? '';
  const table = tableFromIPC(readFileSync(path.join(dataset.path, file)));
  const batch = table.batches[dataset.table.batch[tile] ?? 0];
  const vector = batch?.getChild(name);
  return Array.from({ length: batch?.numRows ?? 0 }, (_, row) => vector?.get(row) as unknown);
}

describe('openDataset', () => {
  test('gives back what was written, with totals that add up', async () => {
    const out = fresh();
    await writePoints(out, [50, 50, 17], { tilesPerFile: 2 });
    const { manifest, table } = await openDataset(out);
    expect(manifest.rows).toBe(117);
    expect([...table.rows]).toEqual([50, 50, 17]);
    expect([...table.file]).toEqual([0, 0, 1]);
    expect([...table.batch]).toEqual([0, 1, 0]);
    expect(manifest.files.map(({ tiles }) => tiles)).toEqual([2, 1]);
    expect(manifest.bbox).toEqual([-100, 40 - 116 / 100, -100 + 116 / 10, 40]);
    const byName = new Map(manifest.columns.map((column) => [column.name, column]));
    expect(byName.get('id')).toMatchObject({ type: 'int64', min: -116, max: 0, nulls: 0 });
    expect(byName.get('when')).toMatchObject({ type: 'timestamp', min: 0, max: 116_000 });
    expect(byName.get('value')).toMatchObject({ nulls: 38, nans: 0, min: 0, max: 174 });
    expect([...table.minX]).toEqual([-100, -95, -90]);
  });

  test('identifies equal datasets equally and other ones otherwise', async () => {
    const [a, b, c] = [fresh(), fresh(), fresh()];
    await writePoints(a, [10, 10]);
    await writePoints(b, [10, 10]);
    await writePoints(c, [10, 9]);
    expect(folderBytes(a)).toEqual(folderBytes(b));
    expect((await openDataset(a)).digest).toBe((await openDataset(b)).digest);
    expect((await openDataset(a)).digest).not.toBe((await openDataset(c)).digest);
  });

  test('holds datasets without a tile, with empty tiles and with one row', async () => {
    const [none, odd] = [fresh(), fresh()];
    await writePoints(none, []);
    const empty = await openDataset(none);
    expect([empty.manifest.tiles, empty.manifest.rows, empty.manifest.bbox]).toEqual([0, 0, null]);
    await writePoints(odd, [0, 1, 0, 2]);
    const dataset = await openDataset(odd);
    expect([...dataset.table.rows]).toEqual([0, 1, 0, 2]);
    expect(dataset.table.minX[0]).toBe(Infinity);
    const source = dataset.tileSource({ measures: ['value'] });
    expect([0, 1, 2, 3].map((tile) => source.resolve(tile).rows)).toEqual([0, 1, 0, 2]);
    source.close();
  });

  test('counts rows without usable coordinates', async () => {
    const out = fresh();
    const writer = await DatasetWriter.create(out, {
      name: 'odd',
      crs: 'OGC:CRS84',
      ordered: false,
      tileRows: 8,
      columns: POINT_COLUMNS.slice(0, 2),
      coordinates: { x: 'lon', y: 'lat' },
      provenance: { tool: 'tileloom', converter: '1', source: 'test', options: {} },
      force: false,
    });
    await writer.append({
      rows: 5,
      columns: [
        { values: Float64Array.of(1, NaN, Infinity, 0, -0), validity: Uint8Array.of(0b10111) },
        { values: Float64Array.of(1, 2, 3, 4, 5), validity: null },
      ],
    });
    const manifest = await writer.finish();
    expect(manifest.invalidRows).toBe(3);
    expect(manifest.bbox).toEqual([0, 1, 1, 5]);
    expect(manifest.columns[0]).toMatchObject({ nulls: 1, nans: 1, min: 0, max: null });
  });
});

describe('tileSource', () => {
  test('points at bytes that are the values, and at checksums that are theirs', async () => {
    const out = fresh();
    await writePoints(out, [33, 64, 2], { tilesPerFile: 2 });
    const dataset = await openDataset(out);
    const source = dataset.tileSource({ measures: ['value', 'id', 'when'] });
    for (let tile = 0; tile < 3; tile += 1) {
      const input = source.resolve(tile);
      const bytes = readFileSync(input.path);
      for (const column of [input.x, input.y, ...input.measures]) {
        expect(column.dataOffset % 64).toBe(0);
        const end = column.dataOffset + 8 * input.rows;
        const raw = bytes.subarray(column.dataOffset, end);
        const validityBytes = Math.ceil(input.rows / 8);
        const validity =
          column.validityOffset === null
            ? null
            : bytes.subarray(column.validityOffset, column.validityOffset + validityBytes);
        const joined = validity === null ? raw : Buffer.concat([validity, raw]);
        expect(column.xxh3).toBe(hash128(joined));
        const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
        arrowColumn(dataset, tile, column.name).forEach((expected, row) => {
          const bit = ((validity?.[row >> 3] ?? 255) >> (row & 7)) & 1;
          expect(bit === 0).toBe(expected === null);
          if (expected === null) return;
          const got =
            column.type === 'float64'
              ? view.getFloat64(8 * row, true)
              : view.getBigInt64(8 * row, true);
          expect(Number(got)).toBe(Number(expected));
        });
      }
    }
    source.close();
  });

  test('names the tile out of range and the column that is missing', async () => {
    const out = fresh();
    await writePoints(out, [4]);
    const dataset = await openDataset(out);
    const source = dataset.tileSource({ measures: [] });
    await expectCode(() => source.resolve(1), 'TILE_OUT_OF_RANGE', ['tile 1']);
    await expectCode(() => source.resolve(-1), 'TILE_OUT_OF_RANGE');
    await expectCode(() => source.resolve(0.5), 'TILE_OUT_OF_RANGE');
    source.close();
    const missing = (): unknown => dataset.tileSource({ measures: ['nope'] });
    await expectCode(missing, 'COLUMN_MISSING', ['nope', 'value']);
    const integer = (): unknown => dataset.tileSource({ x: 'id', measures: [] });
    await expectCode(integer, 'COLUMN_TYPE', ['id', 'int64']);
  });

  test('keeps working over more files than it holds open', async () => {
    const out = fresh();
    await writePoints(
      out,
      Array.from({ length: 40 }, () => 2),
      { tilesPerFile: 1 },
    );
    const dataset = await openDataset(out);
    const source = dataset.tileSource({ measures: ['value'] });
    const open = (): number => readdirSync('/proc/self/fd').length;
    const before = open();
    for (let round = 0; round < 2; round += 1) {
      for (let tile = 0; tile < 40; tile += 1) expect(source.resolve(tile).rows).toBe(2);
    }
    expect(open() - before).toBeLessThanOrEqual(16);
    source.close();
    expect(open()).toBeLessThanOrEqual(before);
  });

  test('carries 100,000 tiles in a table of typed arrays', async () => {
    const out = fresh();
    await writePoints(
      out,
      Array.from({ length: 100_000 }, (_, tile) => tile % 2),
    );
    const dataset = await openDataset(out);
    expect(dataset.table.tiles).toBe(100_000);
    expect(dataset.manifest.rows).toBe(50_000);
    expect(tileChecksum(dataset.table, 'lon', 0)).toBe('99aa06d3014798d86001c324468d497f');
    const source = dataset.tileSource({ measures: ['id'] });
    expect(source.resolve(99_999).rows).toBe(1);
    source.close();
  });
});

describe('DatasetWriter', () => {
  test('refuses a folder with foreign files, also with force', async () => {
    const out = fresh();
    mkdirSync(out);
    writeFileSync(path.join(out, 'thesis.txt'), 'mine');
    await expectCode(() => writePoints(out, [1]), 'DATASET_EXISTS', ['thesis.txt']);
    await expectCode(() => writePoints(out, [1], { force: true }), 'DATASET_EXISTS');
    writeFileSync(path.join(out, 'dataset.json'), '{"some":"thing"}');
    await expectCode(() => writePoints(out, [1], { force: true }), 'DATASET_EXISTS');
    expect(readdirSync(out).sort()).toEqual(['dataset.json', 'thesis.txt']);
  });

  test('refuses a dataset unless forced, then replaces all of it', async () => {
    const out = fresh();
    await writePoints(out, [5, 5, 5], { tilesPerFile: 1 });
    await expectCode(() => writePoints(out, [1]), 'DATASET_EXISTS', ['--force']);
    await writePoints(out, [1], { force: true });
    expect(readdirSync(out).sort()).toEqual(['data-00000.arrow', 'dataset.json', 'tiles.arrow']);
  });

  test('marks an unfinished dataset, which can be replaced', async () => {
    const out = fresh();
    const writer = await DatasetWriter.create(out, {
      name: 'x',
      crs: 'OGC:CRS84',
      ordered: false,
      tileRows: 10,
      columns: POINT_COLUMNS,
      coordinates: { x: 'lon', y: 'lat' },
      provenance: { tool: 'tileloom', converter: '1', source: 'test', options: {} },
      force: false,
    });
    await writer.append(pointTile(10));
    await expectCode(() => openDataset(out), 'DATASET_UNFINISHED', [out]);
    await expectCode(() => writePoints(out, [3]), 'DATASET_EXISTS', ['unfinished']);
    await writePoints(out, [3], { force: true });
    expect((await openDataset(out)).manifest.rows).toBe(3);
  });

  test('removes its files and its folder when it gives up', async () => {
    const out = fresh();
    const writer = await DatasetWriter.create(out, {
      name: 'x',
      crs: 'OGC:CRS84',
      ordered: false,
      tileRows: 10,
      columns: POINT_COLUMNS,
      coordinates: { x: 'lon', y: 'lat' },
      provenance: { tool: 'tileloom', converter: '1', source: 'test', options: {} },
      force: false,
    });
    await writer.append(pointTile(10));
    await writer.abort();
    expect(readdirSync(folder)).not.toContain(path.basename(out));
  });
});
