// Owns the published table of a run: one row a feature, as Arrow, Parquet, CSV or GeoJSON. The same rows
// give the same bytes: no timestamps, no host names, columns in a fixed order.
import {
  Float64,
  Int64,
  Table,
  tableToIPC,
  Utf8,
  type Vector,
  vectorFromArray,
} from 'apache-arrow';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { geometryToFeatures, readGeometry, type LayerFeature } from '../layers/index.ts';
import { writeAtomically, type Chunks, type WrittenResult } from './atomic-file.ts';
import { ResultError } from './errors.ts';

export type ResultFormat = 'arrow' | 'parquet' | 'csv' | 'geojson';

export interface ResultRow {
  readonly id: string;
  readonly name: string | null;
  /** Points assigned to the feature. */
  readonly count: number;
  /** In the order of the columns; null where no value was counted. */
  readonly values: readonly (number | null)[];
}

export interface ResultRequest {
  readonly path: string;
  readonly format: ResultFormat;
  /**
   * Names of the measures. Every result has `id`, `count` and, when a feature has one, `name` before
   * them; a measure called `count` is that column, not a second one.
   */
  readonly columns: readonly string[];
  /** In layer order. */
  readonly rows: readonly ResultRow[];
  /** `.tlgeom` of the layer: needed for GeoJSON, ignored by the others. */
  readonly geometryPath?: string;
}

/**
 * Writes a result atomically: temporary name, fsync, rename, fsync of the folder. An older file with the
 * name is replaced, so publishing twice is harmless.
 *
 * @throws {ResultError} for columns that collide, or features that the geometry does not have
 * @throws {DatasetError} `DISK_FULL`, `IO_FAILED`
 */
export async function writeResult(request: ResultRequest): Promise<WrittenResult> {
  const chunks = await encode(request, measureColumns(request));
  return writeAtomically(request.path, chunks);
}

/** A measure that becomes a column of its own: its name and its place in `values`. */
interface MeasureColumn {
  readonly name: string;
  readonly at: number;
}

function measureColumns({ columns, rows }: ResultRequest): MeasureColumn[] {
  const clash = columns.find(
    (name, i) => name === 'id' || name === 'name' || columns.indexOf(name) !== i,
  );
  if (clash !== undefined) {
    throw new ResultError(
      'RESULT_COLUMN_NAME',
      `the column "${clash}" cannot be written: expected distinct names other than id and name, ` +
        `got ${columns.join(', ')}; rename it`,
      { details: { column: clash } },
    );
  }
  const odd = rows.find(({ values }) => values.length !== columns.length);
  if (odd !== undefined) {
    throw new ResultError(
      'RESULT_VALUES_LENGTH',
      `feature ${odd.id} cannot be written: expected ${columns.length} values ` +
        `(${columns.join(', ')}), got ${odd.values.length}`,
      { details: { feature: odd.id } },
    );
  }
  return columns.map((name, at) => ({ name, at })).filter(({ name }) => name !== 'count');
}

async function encode(request: ResultRequest, measures: readonly MeasureColumn[]): Promise<Chunks> {
  const { rows, format } = request;
  switch (format) {
    case 'arrow':
      return [encodeArrow(rows, measures)];
    case 'parquet':
      return [encodeParquet(rows, measures)];
    case 'csv':
      return encodeCsv(rows, measures);
    case 'geojson':
      return encodeGeoJson(request, measures);
  }
}

/** Names are a column only when some feature has one. */
function hasNames(rows: readonly ResultRow[]): boolean {
  return rows.some(({ name }) => name !== null);
}

function encodeArrow(rows: readonly ResultRow[], measures: readonly MeasureColumn[]): Uint8Array {
  const columns: Record<string, Vector> = {
    id: vectorFromArray(
      rows.map(({ id }) => id),
      new Utf8(),
    ),
  };
  if (hasNames(rows)) {
    columns['name'] = vectorFromArray(
      rows.map(({ name }) => name),
      new Utf8(),
    );
  }
  columns['count'] = vectorFromArray(
    rows.map(({ count }) => BigInt(count)),
    new Int64(),
  );
  for (const { name, at } of measures) {
    columns[name] = vectorFromArray(
      rows.map(({ values }) => values[at] ?? null),
      new Float64(),
    );
  }
  return tableToIPC(new Table(columns), 'file');
}

function encodeParquet(rows: readonly ResultRow[], measures: readonly MeasureColumn[]): Uint8Array {
  const names = hasNames(rows)
    ? [{ name: 'name', data: rows.map(({ name }) => name), type: 'STRING' as const }]
    : [];
  const buffer = parquetWriteBuffer({
    columnData: [
      { name: 'id', data: rows.map(({ id }) => id), type: 'STRING', nullable: false },
      ...names,
      {
        name: 'count',
        data: BigInt64Array.from(rows, ({ count }) => BigInt(count)),
        type: 'INT64',
        nullable: false,
      },
      ...measures.map(({ name, at }) => ({
        name,
        data: rows.map(({ values }) => values[at] ?? null),
        type: 'DOUBLE' as const,
        nullable: true,
      })),
    ],
  });
  return new Uint8Array(buffer);
}

/** RFC 4180: CRLF, quotes doubled; numbers in their shortest form, null is an empty field. */
function* encodeCsv(
  rows: readonly ResultRow[],
  measures: readonly MeasureColumn[],
): Generator<string> {
  const named = hasNames(rows);
  const header = ['id', ...(named ? ['name'] : []), 'count', ...measures.map(({ name }) => name)];
  yield csvLine(header);
  for (const { id, name, count, values } of rows) {
    const numbers = measures.map(({ at }) => values[at] ?? null);
    yield csvLine([id, ...(named ? [name] : []), count, ...numbers]);
  }
}

function csvLine(fields: readonly (string | number | null)[]): string {
  return `${fields.map(csvField).join(',')}\r\n`;
}

function csvField(value: string | number | null): string {
  if (value === null) return '';
  const text = String(value);
  // Empty text is quoted so that it differs from null.
  return text === '' || /[",\r\n]/u.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

async function encodeGeoJson(
  request: ResultRequest,
  measures: readonly MeasureColumn[],
): Promise<Generator<string>> {
  if (request.geometryPath === undefined) {
    throw new ResultError(
      'RESULT_GEOMETRY_MISSING',
      `${request.path} needs the geometry of its layer: expected geometryPath for GeoJSON, got none`,
      { details: { path: request.path } },
    );
  }
  const geometry = await readGeometry(request.geometryPath);
  const rows = new Map(request.rows.map((row) => [row.id, row]));
  const ids = new Set(geometry.meta.ids);
  const unknown = request.rows.find(({ id }) => !ids.has(id));
  if (unknown !== undefined) {
    throw new ResultError(
      'RESULT_FEATURE_UNKNOWN',
      `feature ${unknown.id} is not in ${request.geometryPath}: expected one of its ` +
        `${ids.size} features, got another id; publish with the layer the run used`,
      { details: { feature: unknown.id, path: request.geometryPath } },
    );
  }
  return geoJsonText(geometryToFeatures(geometry), rows, measures, geometry.meta.crs);
}

function* geoJsonText(
  features: Iterable<LayerFeature>,
  rows: ReadonlyMap<string, ResultRow>,
  measures: readonly MeasureColumn[],
  crs: string,
): Generator<string> {
  // RFC 7946 knows only CRS84; other systems keep the member that older readers understand.
  const member = crs === 'OGC:CRS84' ? '' : `"crs":${JSON.stringify(crsMember(crs))},`;
  yield `{"type":"FeatureCollection",${member}"features":[`;
  let separator = '\n';
  for (const { id, geometry } of features) {
    const row = rows.get(id);
    if (row === undefined) continue;
    const properties = Object.fromEntries<string | number | null>([
      ['id', id],
      ...(row.name === null ? [] : [['name', row.name] as const]),
      ['count', row.count],
      ...measures.map(({ name, at }) => [name, jsonNumber(row.values[at] ?? null)] as const),
    ]);
    const [only, ...others] = geometry?.coordinates ?? [];
    const shape =
      only !== undefined && others.length === 0 ? { type: 'Polygon', coordinates: only } : geometry;
    yield `${separator}${JSON.stringify({ type: 'Feature', id, properties, geometry: shape })}`;
    separator = ',\n';
  }
  yield '\n]}\n';
}

function crsMember(crs: string): unknown {
  const [authority, code] = crs.split(':');
  return { type: 'name', properties: { name: `urn:ogc:def:crs:${authority}::${code}` } };
}

/** JSON has no NaN and no infinities: they become text. */
function jsonNumber(value: number | null): number | string | null {
  return value === null || Number.isFinite(value) ? value : String(value);
}
