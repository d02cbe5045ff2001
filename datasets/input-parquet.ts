// Owns reading points from Parquet: GeoParquet 1.0 and 1.1 with WKB points, or plain coordinate
// columns. Holds the wanted columns of one row group at a time. Logical types are stripped before
// decoding, so hyparquet hands over physical values and nothing is rounded or turned into dates on
// the way.
import { open, type FileHandle } from 'node:fs/promises';
import {
  parquetMetadataAsync,
  parquetRead,
  type AsyncBuffer,
  type DecodedArray,
  type FileMetaData,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { DatasetError, fileError } from './errors.ts';
import {
  valueError,
  type Block,
  type BlockColumn,
  type InputReader,
  type InputRequest,
} from './input.ts';
import {
  checkFooter,
  checkRowGroups,
  parquetCorrupt,
  parquetNotPoint,
  planColumns,
  type ParquetColumn,
  type ParquetPlan,
} from './parquet-plan.ts';
import { readWkbPoint } from './wkb-point.ts';

/** @throws {DatasetError} `PARQUET_CORRUPT`, `PARQUET_UNSUPPORTED`, `EDGES_SPHERICAL`, `CRS_…` */
export async function openParquet(file: string, request: InputRequest): Promise<InputReader> {
  const handle = await open(file, 'r').catch((error: unknown) => {
    throw fileError(error, 'opening', file);
  });
  try {
    // Planning is guarded too: a footer that lies about a field's type surfaces where the field is
    // used.
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
  readonly plan: ParquetPlan;
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
    if (got !== rows) throw parquetCorrupt(file, `${rows} rows of column "${name}"`, `${got}`);
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
        if (problem !== null) throw parquetNotPoint(file, firstRow + row, problem);
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
  column: ParquetColumn,
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
  column: ParquetColumn,
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
    throw parquetCorrupt(file, 'readable Parquet', wrapped.message, error);
  }
}
