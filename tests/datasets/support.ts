// Owns what the tests of datasets share: temporary folders, small datasets, errors by code.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect } from 'vitest';
import type { ColumnSpec } from '../../datasets/index.ts';
import { DatasetWriter } from '../../datasets/dataset-writer.ts';
import type { Tile } from '../../datasets/tile-values.ts';

/** A folder that goes away after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'tileloom-datasets-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * Expects a failure with a code whose message names what it is about and what was expected and got.
 */
export async function expectCode(
  run: () => unknown,
  code: string,
  mentions: readonly string[] = [],
): Promise<void> {
  const error = await Promise.resolve()
    .then(run)
    .then(
      () => null,
      (caught: unknown) => caught as Error & { code?: string },
    );
  expect(error?.code, error?.stack ?? 'nothing was thrown').toBe(code);
  for (const text of mentions) expect(error?.message).toContain(text);
  expect(error?.message).toMatch(/expected .*got/su);
}

/** All files below a folder with their bytes as hex, by relative name. */
export function folderBytes(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort();
  return Object.fromEntries(
    names.map((name) => [name, readFileSync(path.join(folder, name)).toString('hex')]),
  );
}

export function bitmap(valid: readonly boolean[]): Uint8Array {
  const bits = new Uint8Array(Math.ceil(valid.length / 8));
  valid.forEach((set, row) => {
    if (set) bits[row >> 3] = (bits[row >> 3] ?? 0) | (1 << (row & 7));
  });
  return bits;
}

export const POINT_COLUMNS: readonly ColumnSpec[] = [
  { name: 'lon', type: 'float64' },
  { name: 'lat', type: 'float64' },
  { name: 'when', type: 'timestamp' },
  { name: 'id', type: 'int64' },
  { name: 'value', type: 'float64' },
];

/** A tile of the columns above: nulls in `value` at each third row, from the fourth row on. */
export function pointTile(rows: number, first = 0): Tile {
  const numbers = Array.from({ length: rows }, (_, row) => first + row);
  const valid = numbers.map((row) => row < 3 || row % 3 !== 0);
  const doubles = (pick: (row: number) => number): Float64Array => Float64Array.from(numbers, pick);
  return {
    rows,
    columns: [
      { values: doubles((row) => -100 + row / 10), validity: null },
      { values: doubles((row) => 40 - row / 100), validity: null },
      { values: BigInt64Array.from(numbers, (row) => BigInt(row) * 1000n), validity: null },
      { values: BigInt64Array.from(numbers, (row) => -BigInt(row)), validity: null },
      {
        values: doubles((row) => (row < 3 || row % 3 !== 0 ? row * 1.5 : 0)),
        validity: valid.includes(false) ? bitmap(valid) : null,
      },
    ],
  };
}

export async function writePoints(
  out: string,
  tileSizes: readonly number[],
  options: { readonly force?: boolean; readonly tilesPerFile?: number } = {},
): Promise<void> {
  const writer = await DatasetWriter.create(out, {
    name: 'points',
    crs: 'OGC:CRS84',
    ordered: false,
    tileRows: Math.max(1, ...tileSizes),
    columns: POINT_COLUMNS,
    coordinates: { x: 'lon', y: 'lat' },
    provenance: { tool: 'tileloom', converter: '1', source: 'test', options: {} },
    force: options.force ?? false,
    ...(options.tilesPerFile === undefined ? {} : { tilesPerFile: options.tilesPerFile }),
  });
  let first = 0;
  for (const rows of tileSizes) {
    await writer.append(pointTile(rows, first));
    first += rows;
  }
  await writer.finish();
}
