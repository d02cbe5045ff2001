// Owns what to read from a Parquet file: its footer is checked against the file, coordinate
// columns or WKB points are found, and each column gets the type that a tile keeps it in.
import type { FileMetaData, SchemaElement } from 'hyparquet';
import { crsOfProjJson } from './crs.ts';
import { DatasetError } from './errors.ts';
import type { ColumnSpec, ColumnType } from './format.ts';
import {
  coordinateNames,
  madeNames,
  requireName,
  type InputRequest,
  type InputSchema,
} from './input.ts';

/** Decoded bytes that one row group may need; the memory bound of reading Parquet. */
export const ROW_GROUP_BYTES_MAX = 2 ** 30;
/** A WKB point as a JavaScript object costs far more than its 21 bytes. */
const WKB_BYTES = 160;

export interface ParquetPlan {
  readonly geometry: string | null;
  readonly columns: readonly ParquetColumn[];
  readonly schema: InputSchema;
}

export interface ParquetColumn extends ColumnSpec {
  readonly unsigned: 0 | 32 | 64;
  /** Physical units per millisecond of a timestamp. */
  readonly perMillisecond: bigint;
}

/** Footers that lie: rows that do not add up, chunks outside the file. */
export function checkFooter(file: string, metadata: FileMetaData, size: number): void {
  const inGroups = metadata.row_groups.reduce((sum, group) => sum + group.num_rows, 0n);
  if (inGroups !== metadata.num_rows || metadata.num_rows < 0n) {
    throw parquetCorrupt(file, `${metadata.num_rows} rows in its row groups`, `${inGroups}`);
  }
  metadata.row_groups.forEach((group, index) => {
    if (group.num_rows < 0n)
      throw parquetCorrupt(file, 'row groups with rows', `${group.num_rows}`);
    for (const { meta_data: chunk } of group.columns) {
      if (chunk === undefined)
        throw parquetCorrupt(file, `column chunks in row group ${index}`, 'none');
      const start = chunk.dictionary_page_offset ?? chunk.data_page_offset;
      const end = Number(start) + Number(chunk.total_compressed_size);
      if (Number(start) < 4 || chunk.total_compressed_size < 0n || end > size) {
        const name = chunk.path_in_schema.join('.');
        throw parquetCorrupt(
          file,
          `column "${name}" of row group ${index} within ${size} bytes`,
          `${end}`,
        );
      }
    }
  });
}

export function checkRowGroups(file: string, metadata: FileMetaData, plan: ParquetPlan): void {
  const perRow = 8 * plan.columns.length + (plan.geometry === null ? 0 : WKB_BYTES);
  metadata.row_groups.forEach((group, index) => {
    const bytes = Number(group.num_rows) * perRow;
    if (bytes <= ROW_GROUP_BYTES_MAX) return;
    throw new DatasetError(
      'PARQUET_UNSUPPORTED',
      `row group ${index} of ${file} is too large to hold in memory: expected at most ` +
        `${ROW_GROUP_BYTES_MAX} bytes, got ${bytes}; write the file with smaller row groups`,
      { details: { path: file, rowGroup: index } },
    );
  });
}

export function planColumns(
  file: string,
  metadata: FileMetaData,
  request: InputRequest,
): ParquetPlan {
  const roots = topLevel(metadata.schema);
  const names = roots.map(({ name }) => name);
  const geo = geoMetadata(file, metadata);
  const usesGeometry = geo !== null && request.x === null && request.y === null;
  const crs = usesGeometry ? geometryCrs(file, geo, request) : null;
  const [x, y] = usesGeometry
    ? madeNames(crs ?? request.crs)
    : coordinateNames(file, request, names);
  const byName = new Map(roots.map((element) => [element.name, element]));
  const planned = (name: string): ParquetColumn | null => {
    const element = byName.get(name);
    return element === undefined ? null : plannedColumn(element);
  };
  const wanted =
    request.columns?.map((name) => requireName(file, name, names)) ??
    names.filter((name) => planned(name) !== null);
  const others = wanted
    .filter((name) => name !== x && name !== y && name !== geo?.primary)
    .map((name) => planned(name) ?? unsupported(file, byName.get(name), name));
  const coordinates = [x, y].map((name): ParquetColumn => {
    const column = usesGeometry ? null : planned(name);
    if (!usesGeometry && column?.type !== 'float64') unsupported(file, byName.get(name), name);
    return { name, type: 'float64', unsigned: 0, perMillisecond: 1n };
  });
  const columns = [...coordinates, ...others];
  const specs = columns.map(({ name, type }) => ({ name, type }));
  const schema = { columns: specs, crs, rows: Number(metadata.num_rows) };
  return { geometry: usesGeometry ? geo.primary : null, columns, schema };
}

/** Top-level fields; a field with children gets its own element, its children are passed over. */
function topLevel(schema: readonly SchemaElement[]): SchemaElement[] {
  const roots: SchemaElement[] = [];
  let at = 1;
  const skip = (): void => {
    const children = schema[at]?.num_children ?? 0;
    at += 1;
    for (let child = 0; child < children && at < schema.length; child += 1) skip();
  };
  while (at < schema.length) {
    const element = schema[at];
    if (element !== undefined) roots.push(element);
    skip();
  }
  return roots;
}

function plannedColumn(element: SchemaElement): ParquetColumn | null {
  const { name, type, converted_type: converted, logical_type: logical } = element;
  if (element.num_children !== undefined || element.repetition_type === 'REPEATED') return null;
  const column = (
    kind: ColumnType,
    unsigned: 0 | 32 | 64 = 0,
    perMillisecond = 1n,
  ): ParquetColumn => ({
    name,
    type: kind,
    unsigned,
    perMillisecond,
  });
  if (type === 'DOUBLE' || type === 'FLOAT') return column('float64');
  if (type !== 'INT32' && type !== 'INT64') return null;
  if (logical?.type === 'TIMESTAMP') {
    const scale = { MILLIS: 1n, MICROS: 1000n, NANOS: 1_000_000n }[logical.unit];
    return column('timestamp', 0, scale);
  }
  if (converted === 'TIMESTAMP_MILLIS') return column('timestamp');
  if (converted === 'TIMESTAMP_MICROS') return column('timestamp', 0, 1000n);
  const isUnsigned =
    converted?.startsWith('UINT') === true || (logical?.type === 'INTEGER' && !logical.isSigned);
  const isPlain =
    logical === undefined
      ? converted === undefined || /^U?INT/u.test(converted)
      : logical.type === 'INTEGER';
  if (!isPlain) return null;
  return column('int64', isUnsigned ? (type === 'INT32' ? 32 : 64) : 0);
}

interface GeoMetadata {
  readonly primary: string;
  readonly encoding: unknown;
  readonly edges: unknown;
  readonly crs: unknown;
  readonly types: readonly unknown[];
}

function geoMetadata(file: string, metadata: FileMetaData): GeoMetadata | null {
  const text = metadata.key_value_metadata?.find(({ key }) => key === 'geo')?.value;
  if (text === undefined) return null;
  let geo: { primary_column?: unknown; columns?: Record<string, Record<string, unknown>> };
  try {
    geo = JSON.parse(text) as typeof geo;
  } catch (error) {
    throw parquetCorrupt(
      file,
      'JSON in its "geo" metadata',
      String((error as Error).message),
      error,
    );
  }
  const primary = geo.primary_column;
  const column = typeof primary === 'string' ? geo.columns?.[primary] : undefined;
  if (typeof primary !== 'string' || column === undefined) {
    throw parquetCorrupt(file, 'a described primary_column in its "geo" metadata', String(primary));
  }
  const { encoding, edges, crs, geometry_types: types } = column;
  return { primary, encoding, edges, crs, types: Array.isArray(types) ? types : [] };
}

/** Refuses what is not planar WKB points; returns the CRS. */
function geometryCrs(file: string, geo: GeoMetadata, request: InputRequest): string | null {
  if (geo.edges !== undefined && geo.edges !== 'planar') {
    throw new DatasetError(
      'EDGES_SPHERICAL',
      `${file} has edges that are not planar: expected edges "planar", got ` +
        `${JSON.stringify(geo.edges)}; ` +
        'tileloom computes in the plane of the CRS',
      { details: { path: file } },
    );
  }
  if (geo.encoding !== 'WKB') {
    throw new DatasetError(
      'PARQUET_UNSUPPORTED',
      `${file} has an unsupported geometry encoding: expected WKB, got ${String(geo.encoding)}; ` +
        'write it as WKB, or name coordinate columns with the options x and y',
      { details: { path: file } },
    );
  }
  const other = geo.types.find((type) => !/^Point(?: Z)?$/u.test(String(type)));
  if (other !== undefined) throw parquetNotPoint(file, null, JSON.stringify(other));
  // An explicit null means that nobody knows; then the user's word is taken.
  if (geo.crs === null && request.crs !== null) return null;
  return crsOfProjJson(geo.crs);
}

function unsupported(file: string, element: SchemaElement | undefined, name: string): never {
  const got = element?.logical_type?.type ?? element?.converted_type ?? element?.type ?? 'a group';
  throw new DatasetError(
    'COLUMN_TYPE',
    `column "${name}" of ${file} has the wrong type: expected a number or a timestamp ` +
      `(coordinates: DOUBLE or FLOAT), got ${got}; leave it out with the option columns`,
    { details: { path: file, column: name } },
  );
}

/** An error about a geometry that is no point. */
export function parquetNotPoint(file: string, row: number | null, got: string): DatasetError {
  const subject = row === null ? file : `row ${row} of ${file}`;
  return new DatasetError(
    'GEOMETRY_NOT_POINT',
    `${subject} is not a point: expected Point, got ${got}; a dataset holds points, ` +
      'polygons are layers',
    { details: { path: file, row } },
  );
}

/** An error about bytes that are not what Parquet promises. */
export function parquetCorrupt(
  file: string,
  expected: string,
  got: string,
  cause?: unknown,
): DatasetError {
  return new DatasetError(
    'PARQUET_CORRUPT',
    `${file} is not valid Parquet: expected ${expected}, got ${got}; write it again`,
    { details: { path: file, expected, got }, cause },
  );
}
