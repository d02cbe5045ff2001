// Owns reading points from Arrow IPC, files and streams, by apache-arrow; holds one record batch.
// Columns that a tile cannot hold are passed over, so foreign files may have any others.
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import {
  DataType,
  RecordBatchReader,
  TimeUnit,
  type Data,
  type Field,
  type RecordBatch,
  type Schema,
} from 'apache-arrow';
import { ArrowFile } from './arrow-file.ts';
import { checkArrowStream } from './arrow-stream.ts';
import { DatasetError, fileError } from './errors.ts';
import type { ColumnSpec, ColumnType } from './format.ts';
import { floorDivide } from './input-parquet.ts';
import {
  coordinateNames,
  requireName,
  valueError,
  type Block,
  type BlockColumn,
  type InputFormat,
  type InputReader,
  type InputRequest,
} from './input.ts';

interface PlannedColumn extends ColumnSpec {
  /** Value units per millisecond of a timestamp, or milliseconds per unit when it is coarser. */
  readonly perMillisecond: bigint;
  readonly milliseconds: bigint;
}

/** @throws {DatasetError} `ARROW_…`, `COLUMN_MISSING`, `COLUMN_TYPE` */
export async function openArrow(
  file: string,
  format: InputFormat,
  request: InputRequest,
): Promise<InputReader> {
  await checkArrow(file, format);
  const first = await guarded(file, async () => {
    const reader = await openReader(file, format);
    try {
      return reader.schema;
    } finally {
      await reader.cancel();
    }
  });
  const columns = planColumns(file, first, request);
  const schema = columns.map(({ name, type }) => ({ name, type }));
  return {
    schema: { columns: schema, crs: null, rows: null },
    blocks: () => readBlocks(file, format, columns),
    close: () => Promise.resolve(),
  };
}

/** Refuses what is torn, malformed, foreign-endian or compressed before anything is decoded. */
async function checkArrow(file: string, format: InputFormat): Promise<void> {
  if (format === 'arrow-stream') {
    await checkArrowStream(file);
    return;
  }
  const opened = ArrowFile.open(file, { dictionaries: true });
  try {
    for (let batch = 0; batch < opened.batches; batch += 1) opened.layout(batch);
  } finally {
    opened.close();
  }
}

async function openReader(file: string, format: InputFormat): Promise<AsyncReader> {
  const reader =
    format === 'arrow-file'
      ? await RecordBatchReader.from(await open(file, 'r'))
      : await RecordBatchReader.from(createReadStream(file) as AsyncIterable<Uint8Array>);
  await reader.open({ autoDestroy: true });
  return reader as AsyncReader;
}

interface AsyncReader extends AsyncIterable<RecordBatch> {
  readonly schema: Schema;
  open(options: { readonly autoDestroy: boolean }): Promise<unknown>;
  cancel(): Promise<void>;
}

function planColumns(file: string, schema: Schema, request: InputRequest): PlannedColumn[] {
  const { fields } = schema;
  const names = fields.map((field) => field.name);
  const [x, y] = coordinateNames(file, request, names);
  const planned = (name: string): PlannedColumn | null => {
    const field = fields.find((candidate) => candidate.name === name);
    return field === undefined ? null : plannedColumn(field);
  };
  const demanded = (name: string): PlannedColumn => {
    const column = planned(requireName(file, name, names));
    if (column !== null) return column;
    const field = fields.find((candidate) => candidate.name === name);
    throw wrongType(file, name, 'a number or a timestamp', String(field?.type));
  };
  const coordinates = [x, y].map((name) => {
    const column = demanded(name);
    if (column.type === 'float64') return column;
    throw wrongType(file, name, 'a float for coordinates', column.type);
  });
  const others = request.columns ?? names.filter((name) => planned(name) !== null);
  return [
    ...coordinates,
    ...others.filter((name) => name !== x && name !== y).map((name) => demanded(name)),
  ];
}

function plannedColumn(field: Field): PlannedColumn | null {
  const type: DataType = field.type;
  const column = (kind: ColumnType, perMillisecond = 1n, milliseconds = 1n): PlannedColumn => ({
    name: field.name,
    type: kind,
    perMillisecond,
    milliseconds,
  });
  if (DataType.isFloat(type)) return Number(type.precision) === 0 ? null : column('float64');
  if (DataType.isInt(type)) return column('int64');
  if (!DataType.isTimestamp(type)) return null;
  if (type.unit === TimeUnit.SECOND) return column('timestamp', 1n, 1000n);
  if (type.unit === TimeUnit.MILLISECOND) return column('timestamp');
  return column('timestamp', type.unit === TimeUnit.MICROSECOND ? 1000n : 1_000_000n);
}

async function* readBlocks(
  file: string,
  format: InputFormat,
  columns: readonly PlannedColumn[],
): AsyncGenerator<Block> {
  const reader = await guarded(file, () => openReader(file, format));
  const batches = reader[Symbol.asyncIterator]();
  let firstRow = 0;
  try {
    for (;;) {
      const next = await guarded(file, () => batches.next());
      if (next.done === true) return;
      const batch = next.value;
      if (batch.numRows === 0) continue;
      const from = firstRow;
      const values = columns.map((column) => columnOf(file, batch, column, from));
      yield { rows: batch.numRows, columns: values };
      firstRow += batch.numRows;
    }
  } finally {
    await reader.cancel();
  }
}

function columnOf(
  file: string,
  batch: RecordBatch,
  column: PlannedColumn,
  firstRow: number,
): BlockColumn {
  const rows = batch.numRows;
  const data = batch.getChild(column.name)?.data[0];
  if (data === undefined || data.length !== rows) {
    throw corrupt(file, `${rows} rows of column "${column.name}"`, String(data?.length ?? 0));
  }
  const nulls = nullsOf(data, rows);
  const source = data.values as ArrayLike<number | bigint>;
  if (source.length < rows) throw corrupt(file, `${rows} values`, String(source.length));
  if (column.type === 'float64') {
    const values = Float64Array.from({ length: rows }, (_, row) =>
      nulls?.[row] === 1 ? 0 : Number(source[row]),
    );
    return { values, nulls };
  }
  const values = new BigInt64Array(rows);
  for (let row = 0; row < rows; row += 1) {
    if (nulls?.[row] === 1) continue;
    const scaled =
      floorDivide(BigInt(source[row] ?? 0), column.perMillisecond) * column.milliseconds;
    if (BigInt.asIntN(64, scaled) !== scaled) {
      const place = { column: column.name, row: firstRow + row };
      throw valueError(file, place, 'a 64-bit signed number', String(scaled));
    }
    values[row] = scaled;
  }
  return { values, nulls };
}

function nullsOf(data: Data, rows: number): Uint8Array | null {
  if (data.nullCount === 0) return null;
  const bits = data.nullBitmap;
  return Uint8Array.from({ length: rows }, (_, row) => {
    const bit = data.offset + row;
    return (((bits[bit >> 3] ?? 0) >> (bit & 7)) & 1) === 1 ? 0 : 1;
  });
}

async function guarded<T>(file: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const wrapped = fileError(error, 'reading', file);
    if (wrapped instanceof DatasetError) throw wrapped;
    if (/compress|codec/iu.test(wrapped.message)) {
      throw new DatasetError(
        'ARROW_COMPRESSED',
        `${file} cannot be read: expected uncompressed batches, got a compressed body; ` +
          'write it without compression',
        { details: { path: file }, cause: error },
      );
    }
    throw corrupt(file, 'readable Arrow data', wrapped.message, error);
  }
}

function wrongType(file: string, name: string, expected: string, got: string): DatasetError {
  return new DatasetError(
    'COLUMN_TYPE',
    `column "${name}" of ${file} has the wrong type: expected ${expected}, got ${got}; ` +
      'name other columns with the options x, y and columns',
    { details: { path: file, column: name, expected, got } },
  );
}

function corrupt(file: string, expected: string, got: string, cause?: unknown): DatasetError {
  return new DatasetError(
    'ARROW_CORRUPT',
    `${file} cannot be read: expected ${expected}, got ${got}; restore the file or write it again`,
    { details: { path: file, expected, got }, cause },
  );
}
