// Owns what a converted file looks like to the converter: a schema and a stream of blocks of
// points. Readers own their format; everything after them is the same for all formats.
import { open } from 'node:fs/promises';
import { isGeographic } from './crs.ts';
import { DatasetError, fileError } from './errors.ts';
import type { ColumnSpec } from './format.ts';

/** Values of one column of one block; slots of nulls hold zero. */
export interface BlockColumn {
  readonly values: Float64Array | BigInt64Array;
  /** One byte per row, 1 = null; null when nothing is null. */
  readonly nulls: Uint8Array | null;
}

/** Some consecutive rows: x, y, then the other columns in the order of the schema. */
export interface Block {
  readonly rows: number;
  readonly columns: readonly BlockColumn[];
}

export interface InputSchema {
  /** x and y first, both float64. */
  readonly columns: readonly ColumnSpec[];
  /** Normalised CRS that the file itself states; null when it is silent. */
  readonly crs: string | null;
  /** Rows, when the file tells. */
  readonly rows: number | null;
}

export interface InputRequest {
  /** Names of coordinate columns; null: found by name, or made from the geometry. */
  readonly x: string | null;
  readonly y: string | null;
  /** Columns to take besides x and y; null: all that a tile can hold. */
  readonly columns: readonly string[] | null;
  /** CRS stated by the user; null: the file's. */
  readonly crs: string | null;
}

export interface InputReader {
  readonly schema: InputSchema;
  /** May be called again to read the file from its beginning. */
  blocks(): AsyncIterable<Block>;
  close(): Promise<void>;
}

export type InputFormat = 'parquet' | 'arrow-file' | 'arrow-stream' | 'geojson';

/**
 * Tells a file's format by its first bytes.
 *
 * @throws {DatasetError} `INPUT_NOT_FOUND`, `INPUT_EMPTY`, `INPUT_FORMAT`
 */
export async function detectFormat(file: string): Promise<InputFormat> {
  const head = await readHead(file);
  const text = head.toString('latin1');
  if (head.length === 0) {
    throw new DatasetError(
      'INPUT_EMPTY',
      `${file} is empty: expected GeoParquet, Parquet, GeoJSON or Arrow, got 0 bytes; check ` +
        'the path',
      { details: { path: file } },
    );
  }
  if (text.startsWith('PAR1')) return 'parquet';
  if (text.startsWith('ARROW1')) return 'arrow-file';
  if (text.startsWith('\xff\xff\xff\xff')) return 'arrow-stream';
  if (/^(?:\xef\xbb\xbf)?[\s\x1e]*\{/u.test(text)) return 'geojson';
  throw new DatasetError(
    'INPUT_FORMAT',
    `${file} has an unknown format: expected GeoParquet, Parquet, GeoJSON or Arrow, ` +
      `got "${text.slice(0, 8).replaceAll(/[^\x20-\x7e]/gu, '.')}"; convert it to one of ` +
      'them first',
    { details: { path: file } },
  );
}

async function readHead(file: string): Promise<Buffer> {
  try {
    const handle = await open(file, 'r');
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(512), 0, 512, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ENOENT') throw fileError(error, 'reading', file);
    throw new DatasetError(
      'INPUT_NOT_FOUND',
      `${file} is missing: expected a file, got nothing; check the path`,
      { details: { path: file }, cause: error },
    );
  }
}

const COORDINATE_NAMES: readonly (readonly [string, string])[] = [
  ['lon', 'lat'],
  ['longitude', 'latitude'],
  ['lng', 'lat'],
  ['long', 'lat'],
  ['x', 'y'],
];

/**
 * Finds the coordinate columns: the named ones, or a well-known pair in any case of letters.
 *
 * @throws {DatasetError} `OPTION_INVALID` when only one is named, `COLUMN_MISSING` when there is
 *   none
 */
export function coordinateNames(
  file: string,
  request: InputRequest,
  names: readonly string[],
): readonly [string, string] {
  const { x, y } = request;
  if ((x === null) !== (y === null)) {
    throw new DatasetError(
      'OPTION_INVALID',
      `one coordinate column is named: expected both x and y, or none, got ${x ?? y ?? ''} alone`,
    );
  }
  if (x !== null && y !== null) return [requireName(file, x, names), requireName(file, y, names)];
  const find = (wanted: string): string | undefined =>
    names.find((name) => name.toLowerCase() === wanted);
  for (const [first, second] of COORDINATE_NAMES) {
    const [foundX, foundY] = [find(first), find(second)];
    if (foundX !== undefined && foundY !== undefined) return [foundX, foundY];
  }
  throw new DatasetError(
    'COLUMN_MISSING',
    `${file} has no coordinate columns: expected lon and lat, got ${names.join(', ')}; ` +
      'name them with the options x and y',
    { details: { path: file } },
  );
}

/** Names of coordinate columns that are made from geometries. */
export function madeNames(crs: string | null): readonly [string, string] {
  return crs === null || isGeographic(crs) ? ['lon', 'lat'] : ['x', 'y'];
}

/** @throws {DatasetError} `COLUMN_MISSING` */
export function requireName(file: string, name: string, names: readonly string[]): string {
  if (names.includes(name)) return name;
  throw new DatasetError(
    'COLUMN_MISSING',
    `${file} has no column "${name}": expected one of ${names.join(', ')}, got "${name}"`,
    { details: { path: file, column: name } },
  );
}

export function valueError(
  file: string,
  place: { readonly column: string; readonly row: number },
  expected: string,
  got: string,
): DatasetError {
  return new DatasetError(
    'INPUT_VALUE',
    `row ${place.row} of ${file} has a value that cannot be kept in column "${place.column}": ` +
      `expected ${expected}, got ${got}; leave the column out or change the value`,
    { details: { path: file, column: place.column, row: place.row } },
  );
}
