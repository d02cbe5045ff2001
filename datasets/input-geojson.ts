// Owns reading points from GeoJSON (RFC 7946): a FeatureCollection, or features one after another
// (RFC 8142, one per line). Holds one feature and one block at a time, however long the file is.
import { isEngineError } from '../core/index.ts';
import { CRS84, normaliseCrs } from './crs.ts';
import { DatasetError, fileError } from './errors.ts';
import type { ColumnSpec } from './format.ts';
import {
  madeNames,
  valueError,
  type Block,
  type BlockColumn,
  type InputReader,
  type InputRequest,
} from './input.ts';
import { fileSource } from './layers/byte-source.ts';
import { JsonReader } from './layers/json-reader.ts';

const BLOCK_ROWS = 8192;
/** Features whose properties decide the columns when none are named. */
const SAMPLE_FEATURES = 1000;

interface Feature {
  readonly geometry: unknown;
  readonly properties: Readonly<Record<string, unknown>>;
}

/** @throws {DatasetError} `GEOJSON_INVALID`, `GEOMETRY_NOT_POINT`, `CRS_…`, `INPUT_VALUE` */
export async function openGeoJson(file: string, request: InputRequest): Promise<InputReader> {
  if (request.x !== null || request.y !== null) {
    throw new DatasetError(
      'OPTION_INVALID',
      `${file} is GeoJSON, its coordinates are in geometries: expected no options x and y, ` +
        `got ${request.x ?? ''}, ${request.y ?? ''}; leave them out`,
      { details: { path: file } },
    );
  }
  const { crs, names } = guarded(file, () => sample(file, request));
  const [x, y] = madeNames(crs);
  const columns: ColumnSpec[] = [x, y, ...names.filter((name) => name !== x && name !== y)].map(
    (name) => ({ name, type: 'float64' }),
  );
  return Promise.resolve({
    schema: { columns, crs, rows: null },
    blocks: () => readBlocks(file, columns, crs),
    close: () => Promise.resolve(),
  });
}

/** Looks at the first features: the CRS member, and which properties are numbers. */
function sample(file: string, request: InputRequest): { crs: string; names: string[] } {
  const found = { crs: CRS84 };
  const names = new Set<string>();
  let features = 0;
  for (const feature of readFeatures(file, (crs) => (found.crs = crs))) {
    for (const [name, value] of Object.entries(feature.properties)) {
      if (typeof value === 'number') names.add(name);
    }
    features += 1;
    if (features >= SAMPLE_FEATURES) break;
  }
  return { crs: found.crs, names: request.columns === null ? [...names] : [...request.columns] };
}

async function* readBlocks(
  file: string,
  columns: readonly ColumnSpec[],
  crs: string,
): AsyncGenerator<Block> {
  const features = readFeatures(file, (late) => {
    if (late !== crs) throw lateCrs(file, crs, late);
  });
  let firstRow = 0;
  for (;;) {
    const block = guarded(file, () => nextBlock(file, features, columns, firstRow));
    if (block === null) return;
    yield block;
    firstRow += block.rows;
    // Parsing is synchronous; other work gets its turn between blocks.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function nextBlock(
  file: string,
  features: Iterator<Feature>,
  columns: readonly ColumnSpec[],
  firstRow: number,
): Block | null {
  const values = columns.map(() => new Float64Array(BLOCK_ROWS));
  const nulls = columns.map(() => new Uint8Array(BLOCK_ROWS));
  let rows = 0;
  while (rows < BLOCK_ROWS) {
    const next = features.next();
    if (next.done === true) break;
    const point = pointOf(file, next.value.geometry, firstRow + rows);
    columns.forEach(({ name }, index) => {
      const value =
        index < 2
          ? point?.[index]
          : numberOf(file, next.value.properties[name], name, firstRow + rows);
      const [numbers, flags] = [values[index], nulls[index]];
      if (numbers === undefined || flags === undefined) return;
      if (value === undefined || value === null) flags[rows] = 1;
      else numbers[rows] = value;
    });
    rows += 1;
  }
  if (rows === 0) return null;
  const block = values.map((numbers, index): BlockColumn => {
    const flags = nulls[index]?.subarray(0, rows) ?? null;
    return { values: numbers.subarray(0, rows), nulls: flags?.includes(1) === true ? flags : null };
  });
  return { rows, columns: block };
}

function pointOf(file: string, geometry: unknown, row: number): readonly [number, number] | null {
  if (geometry === null || geometry === undefined) return null;
  const { type, coordinates } = geometry as { type?: unknown; coordinates?: unknown };
  if (type !== 'Point') {
    throw new DatasetError(
      'GEOMETRY_NOT_POINT',
      `feature ${row} of ${file} is not a point: expected Point, got ${String(type)}; ` +
        'a dataset holds points, polygons are layers',
      { details: { path: file, row } },
    );
  }
  const [x, y] = Array.isArray(coordinates) ? (coordinates as unknown[]) : [];
  if (Array.isArray(coordinates) && coordinates.length === 0) return null;
  if (typeof x === 'number' && typeof y === 'number') return [x, y];
  throw invalid(file, `two numbers as coordinates of feature ${row}`, JSON.stringify(coordinates));
}

function numberOf(file: string, value: unknown, column: string, row: number): number | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'number') return value;
  throw valueError(file, { column, row }, 'a number or null', JSON.stringify(value));
}

/** Walks the file once; members of a collection may come in any order. */
function* readFeatures(file: string, onCrs: (crs: string) => void): Generator<Feature> {
  const source = fileSource(file);
  try {
    const reader = new JsonReader(source);
    let first = true;
    while (reader.peekRecord() !== -1) {
      yield* readRecord(file, reader, onCrs);
      first = false;
    }
    if (first) throw invalid(file, 'a FeatureCollection or features', 'white space');
  } finally {
    source.close();
  }
}

function* readRecord(
  file: string,
  reader: JsonReader,
  onCrs: (crs: string) => void,
): Generator<Feature> {
  const members: Record<string, unknown> = {};
  let isCollection = false;
  for (let key = reader.nextKey(true); key !== null; key = reader.nextKey(false)) {
    if (key === 'features') {
      isCollection = true;
      for (let more = reader.nextElement(true); more; more = reader.nextElement(false)) {
        yield featureOf(file, reader.value());
      }
    } else if (['type', 'geometry', 'properties', 'crs'].includes(key)) {
      members[key] = reader.value();
      if (key === 'crs') onCrs(crsOf(file, members[key]));
    } else reader.skip();
  }
  const type = members['type'];
  if (isCollection ? type !== 'FeatureCollection' : type !== 'Feature') {
    throw invalid(file, 'a FeatureCollection or a Feature', `type ${JSON.stringify(type)}`);
  }
  if (!isCollection) yield featureOf(file, members);
}

function featureOf(file: string, value: unknown): Feature {
  const { type, geometry, properties } = (value ?? {}) as Record<string, unknown>;
  if (type !== 'Feature') throw invalid(file, 'a Feature', `type ${JSON.stringify(type)}`);
  return { geometry, properties: (properties ?? {}) as Record<string, unknown> };
}

/** The member of GeoJSON 2008 that RFC 7946 removed; absent means OGC:CRS84. */
function crsOf(file: string, value: unknown): string {
  if (value === null) return CRS84;
  const name = (value as { properties?: { name?: unknown } }).properties?.name;
  if (typeof name === 'string') return normaliseCrs(name);
  throw invalid(file, 'crs.properties.name', JSON.stringify(value).slice(0, 80));
}

/** Errors of the parser, which layers share, get this room's code for data. */
function guarded<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof DatasetError) throw error;
    if (!isEngineError(error)) throw fileError(error, 'reading', file);
    throw new DatasetError('GEOJSON_INVALID', error.message, {
      details: { ...error.details, path: file },
      cause: error,
    });
  }
}

function lateCrs(file: string, expected: string, got: string): DatasetError {
  return new DatasetError(
    'CRS_MISMATCH',
    `${file} names its CRS after its features: expected ${expected} (nothing was named before), ` +
      `got ${got}; move the crs member to the front`,
    { details: { path: file, expected, got } },
  );
}

function invalid(file: string, expected: string, got: string): DatasetError {
  return new DatasetError(
    'GEOJSON_INVALID',
    `${file} is not valid GeoJSON: expected ${expected}, got ${got}; write it again`,
    { details: { path: file, expected, got } },
  );
}
