// Owns reading points from Parquet: GeoParquet 1.0 and 1.1 with WKB points, or plain coordinate columns.
// Holds the wanted columns of one row group at a time. Logical types are stripped before decoding, so
// hyparquet hands over physical values and nothing is rounded or turned into dates on the way.
import { open, type FileHandle } from 'node:fs/promises';
import {
  parquetMetadataAsync,
  parquetRead,
  type AsyncBuffer,
  type DecodedArray,
  type FileMetaData,
  type SchemaElement,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { crsOfProjJson } from './crs.ts';
import { DatasetError, fileError } from './errors.ts';
import type { ColumnSpec, ColumnType } from './format.ts';
import {
  coordinateNames,
  madeNames,
  requireName,
  valueError,
  type Block,
  type BlockColumn,
  type InputReader,
  type InputRequest,
  type InputSchema,
} from './input.ts';
import { readWkbPoint } from './wkb-point.ts';

/** Decoded bytes that one row group may need; the memory bound of reading Parquet. */
export const ROW_GROUP_BYTES_MAX = 2 ** 30;
/** A WKB point as a JavaScript object costs far more than its 21 bytes. */
const WKB_BYTES = 160;

interface Plan {
  readonly geometry: string | null;
  readonly columns: readonly PlannedColumn[];
  readonly schema: InputSchema;
}

interface PlannedColumn extends ColumnSpec {
  readonly unsigned: 0 | 32 | 64;
  /** Physical units per millisecond of a timestamp. */
  readonly perMillisecond: bigint;
}

/** @throws {DatasetError} `PARQUET_CORRUPT`, `PARQUET_UNSUPPORTED`, `EDGES_SPHERICAL`, `CRS_…` */
export async function openParquet(file: string, request: InputRequest): Promise<InputReader> {
  const handle = await open(file, 'r').catch((error: unknown) => {
    throw fileError(error, 'opening', file);
  });
  try {
    // Planning is guarded too: a footer that lies about a field's type surfaces where the field is used.
    return await guarded(file, async () => {
      const { size } = await handle.stat();
      const buffer = asyncBuffer(handle, size);
      const metadata = await parquetMetadataAsync(buffer, { geoparquet: false });
      checkFooter(file, metadata, size);
      const plan = planColumns(file, metadata, request);
      checkRowGroups(file, metadata, plan);
      return {
        schema: plan.schema,
        blocks: () => readBlocks({ file, buffer, metadata: physical(metadata), plan }),
        close: () => handle.close(),
      };
    });
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function asyncBuffer(handle: FileHandle, size: number): AsyncBuffer {
  return {
    byteLength: size,
    slice: async (start, end = size) => {
      if (start < 0 || end > size || end < start) {
        throw new RangeError(`bytes ${start} to ${end} of ${size} do not exist`);
      }
      const out = new Uint8Array(end - start);
      const { bytesRead } = await handle.read(out, 0, out.length, start);
      if (bytesRead !== out.length) throw new RangeError(`bytes ${start} to ${end} are missing`);
      return out.buffer;
    },
  };
}

/** Footers that lie: rows that do not add up, chunks outside the file. */
function checkFooter(file: string, metadata: FileMetaData, size: number): void {
  const inGroups = metadata.row_groups.reduce((sum, group) => sum + group.num_rows, 0n);
  if (inGroups !== metadata.num_rows || metadata.num_rows < 0n) {
    throw corrupt(file, `${metadata.num_rows} rows in its row groups`, `${inGroups}`);
  }
  metadata.row_groups.forEach((group, index) => {
    if (group.num_rows < 0n) throw corrupt(file, 'row groups with rows', `${group.num_rows}`);
    for (const { meta_data: chunk } of group.columns) {
      if (chunk === undefined) throw corrupt(file, `column chunks in row group ${index}`, 'none');
      const start = chunk.dictionary_page_offset ?? chunk.data_page_offset;
      const end = Number(start) + Number(chunk.total_compressed_size);
      if (Number(start) < 4 || chunk.total_compressed_size < 0n || end > size) {
        const name = chunk.path_in_schema.join('.');
        throw corrupt(
          file,
          `column "${name}" of row group ${index} within ${size} bytes`,
          `${end}`,
        );
      }
    }
  });
}

function checkRowGroups(file: string, metadata: FileMetaData, plan: Plan): void {
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

function planColumns(file: string, metadata: FileMetaData, request: InputRequest): Plan {
  const roots = topLevel(metadata.schema);
  const names = roots.map(({ name }) => name);
  const geo = geoMetadata(file, metadata);
  const usesGeometry = geo !== null && request.x === null && request.y === null;
  const crs = usesGeometry ? geometryCrs(file, geo, request) : null;
  const [x, y] = usesGeometry
    ? madeNames(crs ?? request.crs)
    : coordinateNames(file, request, names);
  const byName = new Map(roots.map((element) => [element.name, element]));
  const planned = (name: string): PlannedColumn | null => {
    const element = byName.get(name);
    return element === undefined ? null : plannedColumn(element);
  };
  const wanted =
    request.columns?.map((name) => requireName(file, name, names)) ??
    names.filter((name) => planned(name) !== null);
  const others = wanted
    .filter((name) => name !== x && name !== y && name !== geo?.primary)
    .map((name) => planned(name) ?? unsupported(file, byName.get(name), name));
  const coordinates = [x, y].map((name): PlannedColumn => {
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

function plannedColumn(element: SchemaElement): PlannedColumn | null {
  const { name, type, converted_type: converted, logical_type: logical } = element;
  if (element.num_children !== undefined || element.repetition_type === 'REPEATED') return null;
  const column = (
    kind: ColumnType,
    unsigned: 0 | 32 | 64 = 0,
    perMillisecond = 1n,
  ): PlannedColumn => ({
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
    throw corrupt(file, 'JSON in its "geo" metadata', String((error as Error).message), error);
  }
  const primary = geo.primary_column;
  const column = typeof primary === 'string' ? geo.columns?.[primary] : undefined;
  if (typeof primary !== 'string' || column === undefined) {
    throw corrupt(file, 'a described primary_column in its "geo" metadata', String(primary));
  }
  const { encoding, edges, crs, geometry_types: types } = column;
  return { primary, encoding, edges, crs, types: Array.isArray(types) ? types : [] };
}

/** Refuses what is not planar WKB points; returns the CRS. */
function geometryCrs(file: string, geo: GeoMetadata, request: InputRequest): string | null {
  if (geo.edges !== undefined && geo.edges !== 'planar') {
    throw new DatasetError(
      'EDGES_SPHERICAL',
      `${file} has edges that are not planar: expected edges "planar", got "${String(geo.edges)}"; ` +
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
  if (other !== undefined) throw notPoint(file, null, String(other));
  // An explicit null means that nobody knows; then the user's word is taken.
  if (geo.crs === null && request.crs !== null) return null;
  return crsOfProjJson(geo.crs);
}

/** Metadata without logical types: values come out as they are stored. */
function physical(metadata: FileMetaData): FileMetaData {
  const schema = metadata.schema.map((element) => {
    const { logical_type: _logical, converted_type: _converted, ...rest } = element;
    return rest;
  });
  return { ...metadata, schema };
}

interface Source {
  readonly file: string;
  readonly buffer: AsyncBuffer;
  readonly metadata: FileMetaData;
  readonly plan: Plan;
}

async function* readBlocks(source: Source): AsyncGenerator<Block> {
  let firstRow = 0;
  for (const group of source.metadata.row_groups) {
    const rows = Number(group.num_rows);
    if (rows > 0) yield await readGroup(source, firstRow, rows);
    firstRow += rows;
  }
}

async function readGroup(source: Source, firstRow: number, rows: number): Promise<Block> {
  const { file, buffer, metadata, plan } = source;
  const stored = plan.geometry === null ? plan.columns : plan.columns.slice(2);
  const names = stored.map(({ name }) => name);
  if (plan.geometry !== null) names.unshift(plan.geometry);
  const pieces = new Map<string, DecodedArray[]>(names.map((name) => [name, []]));
  await guarded(file, () =>
    parquetRead({
      file: buffer,
      metadata,
      columns: names,
      rowStart: firstRow,
      rowEnd: firstRow + rows,
      utf8: false,
      geoparquet: false,
      compressors,
      onChunk: ({ columnName, columnData }) => pieces.get(columnName)?.push(columnData),
    }),
  );
  for (const [name, list] of pieces) {
    const got = list.reduce((sum, piece) => sum + piece.length, 0);
    if (got !== rows) throw corrupt(file, `${rows} rows of column "${name}"`, `${got}`);
  }
  const columns: BlockColumn[] = [];
  if (plan.geometry !== null)
    columns.push(...decodePoints(file, pieces.get(plan.geometry) ?? [], firstRow, rows));
  for (const column of stored) {
    columns.push(
      decodeColumn(file, column, { pieces: pieces.get(column.name) ?? [], firstRow, rows }),
    );
  }
  return { rows, columns };
}

function decodePoints(
  file: string,
  pieces: readonly DecodedArray[],
  firstRow: number,
  rows: number,
): [BlockColumn, BlockColumn] {
  const [x, y] = [new Float64Array(rows), new Float64Array(rows)];
  const nulls = new Uint8Array(rows);
  const point = { x: 0, y: 0 };
  let row = 0;
  for (const piece of pieces) {
    const values = piece as ArrayLike<Uint8Array | null | undefined>;
    for (let index = 0; index < values.length; index += 1) {
      const value = values[index];
      if (value === null || value === undefined) nulls[row] = 1;
      else {
        const problem = readWkbPoint(value, point);
        if (problem !== null) throw notPoint(file, firstRow + row, problem);
        x[row] = point.x;
        y[row] = point.y;
      }
      row += 1;
    }
  }
  const some = nulls.includes(1) ? nulls : null;
  return [
    { values: x, nulls: some },
    { values: y, nulls: some },
  ];
}

function decodeColumn(
  file: string,
  column: PlannedColumn,
  from: {
    readonly pieces: readonly DecodedArray[];
    readonly firstRow: number;
    readonly rows: number;
  },
): BlockColumn {
  const isFloat = column.type === 'float64';
  const values = isFloat ? new Float64Array(from.rows) : new BigInt64Array(from.rows);
  const nulls = new Uint8Array(from.rows);
  let row = 0;
  let someNull = false;
  for (const piece of from.pieces) {
    if (
      values instanceof Float64Array &&
      (piece instanceof Float64Array || piece instanceof Float32Array)
    ) {
      values.set(piece, row);
      row += piece.length;
      continue;
    }
    for (let index = 0; index < piece.length; index += 1) {
      const value = piece[index] as number | bigint | null | undefined;
      if (value === null || value === undefined) {
        nulls[row] = 1;
        someNull = true;
      } else if (values instanceof Float64Array) values[row] = Number(value);
      else values[row] = integerOf(file, column, value, from.firstRow + row);
      row += 1;
    }
  }
  return { values, nulls: someNull ? nulls : null };
}

function integerOf(
  file: string,
  column: PlannedColumn,
  value: number | bigint,
  row: number,
): bigint {
  const whole = BigInt(value);
  if (column.unsigned === 32 && whole < 0n) return whole + 4_294_967_296n;
  if (column.unsigned === 64 && whole < 0n) {
    const place = { column: column.name, row };
    throw valueError(file, place, 'at most 9223372036854775807', String(BigInt.asUintN(64, whole)));
  }
  return floorDivide(whole, column.perMillisecond);
}

/** Rounds towards minus infinity, so that times before 1970 fall into their own millisecond. */
export function floorDivide(value: bigint, divisor: bigint): bigint {
  if (divisor === 1n) return value;
  const quotient = value / divisor;
  return value < 0n && quotient * divisor !== value ? quotient - 1n : quotient;
}

async function guarded<T>(file: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof DatasetError) throw error;
    const wrapped = fileError(error, 'reading', file);
    if (wrapped instanceof DatasetError) throw wrapped;
    throw corrupt(file, 'readable Parquet', wrapped.message, error);
  }
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

function notPoint(file: string, row: number | null, got: string): DatasetError {
  const subject = row === null ? file : `row ${row} of ${file}`;
  return new DatasetError(
    'GEOMETRY_NOT_POINT',
    `${subject} is not a point: expected Point, got ${got}; a dataset holds points, polygons are layers`,
    { details: { path: file, row } },
  );
}

function corrupt(file: string, expected: string, got: string, cause?: unknown): DatasetError {
  return new DatasetError(
    'PARQUET_CORRUPT',
    `${file} is not valid Parquet: expected ${expected}, got ${got}; write it again`,
    { details: { path: file, expected, got }, cause },
  );
}
