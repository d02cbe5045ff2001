// Owns the way from a tile's number to the byte ranges that a kernel reads: file, rows and, per
// column, where values and validity lie and what they must hash to. It reads metadata only, never
// values.
// I1 what it returns lies inside the file and fits the rows, types and nulls that the dataset
//    declares.
import path from 'node:path';
import { DataType, TimeUnit, type Field } from 'apache-arrow';
import type { ColumnInput, TileInput } from '../native/index.ts';
import { ArrowFile, type BatchLayout } from './arrow-file.ts';
import { DatasetError } from './errors.ts';
import type { ColumnSpec, ColumnType, DatasetManifest } from './format.ts';
import { tileChecksum, type TileTable } from './tile-table.ts';

export interface TileColumns {
  /** Names of the coordinate columns; the dataset's own where left out. */
  readonly x?: string;
  readonly y?: string;
  readonly measures: readonly string[];
}

/** Not shared between threads; holds a few files open until closed. */
export interface TileSource {
  /** @throws {DatasetError} with the names of file, tile and column */
  resolve(tile: number): TileInput;
  close(): void;
}

interface DatasetParts {
  readonly path: string;
  readonly manifest: DatasetManifest;
  readonly table: TileTable;
}

interface OpenFile {
  readonly file: ArrowFile;
  /** Of each wanted column: its index among the file's arrays. */
  readonly arrays: readonly number[];
}

const OPEN_FILES_MAX = 16;

export function createTileSource(dataset: DatasetParts, columns: TileColumns): TileSource {
  const { coordinates } = dataset.manifest;
  const names = [columns.x ?? coordinates.x, columns.y ?? coordinates.y, ...columns.measures];
  const wanted = names.map((name) => findColumn(dataset, name));
  for (const coordinate of wanted.slice(0, 2)) {
    if (coordinate.type !== 'float64') throw wrongType(dataset.path, coordinate, 'float64');
  }
  // Insertion order is use order: the first key is the file unused for longest.
  const open = new Map<number, OpenFile>();
  const fileOf = (index: number): OpenFile => {
    const known = open.get(index);
    if (known !== undefined) {
      open.delete(index);
      open.set(index, known);
      return known;
    }
    const name = dataset.manifest.files[index]?.name ?? '';
    const opened = openDataFile(path.join(dataset.path, name), wanted);
    open.set(index, opened);
    const oldest = open.keys().next();
    if (open.size > OPEN_FILES_MAX && oldest.done !== true) {
      open.get(oldest.value)?.file.close();
      open.delete(oldest.value);
    }
    return opened;
  };
  return {
    resolve: (tile) => resolveTile(dataset.table, tile, wanted, fileOf),
    close: () => {
      for (const { file } of open.values()) file.close();
      open.clear();
    },
  };
}

function resolveTile(
  table: TileTable,
  tile: number,
  wanted: readonly ColumnSpec[],
  fileOf: (index: number) => OpenFile,
): TileInput {
  if (!Number.isInteger(tile) || tile < 0 || tile >= table.tiles) {
    throw new DatasetError(
      'TILE_OUT_OF_RANGE',
      `tile ${tile} does not exist: expected 0 to ${table.tiles - 1}, got ${tile}`,
      { details: { tile } },
    );
  }
  const { file, arrays } = fileOf(table.file[tile] ?? 0);
  const layout = file.layout(table.batch[tile] ?? 0);
  const rows = table.rows[tile] ?? 0;
  if (layout.rows !== rows) {
    throw tileError({ file: file.path, tile, column: null }, `${rows} rows`, `${layout.rows}`);
  }
  const inputs = wanted.map((column, index): ColumnInput => {
    const where = { file: file.path, tile, column: column.name };
    const ranges = columnRanges(layout, arrays[index] ?? 0, where);
    return {
      name: column.name,
      type: column.type === 'float64' ? 'float64' : 'int64',
      ...ranges,
      xxh3: tileChecksum(table, column.name, tile),
    };
  });
  const [x, y, ...measures] = inputs;
  if (x === undefined || y === undefined)
    throw new Error('two coordinate columns are always wanted');
  return { path: file.path, tile, rows, x, y, measures };
}

interface TilePlace {
  readonly file: string;
  readonly tile: number;
  readonly column: string | null;
}

function columnRanges(
  layout: BatchLayout,
  array: number,
  where: TilePlace,
): { dataOffset: number; validityOffset: number | null } {
  const node = layout.nodes[array];
  const validity = layout.buffers[2 * array];
  const values = layout.buffers[2 * array + 1];
  if (node === undefined || validity === undefined || values === undefined) {
    throw tileError(where, 'a node and two buffers', 'fewer');
  }
  if (node.length !== layout.rows || node.nulls < 0 || node.nulls > layout.rows) {
    throw tileError(where, `${layout.rows} values`, `${node.length} values, ${node.nulls} nulls`);
  }
  if (values.length < 8 * layout.rows) {
    throw tileError(where, `${8 * layout.rows} bytes of values`, `${values.length}`);
  }
  const validityBytes = Math.ceil(layout.rows / 8);
  if (node.nulls > 0 && validity.length < validityBytes) {
    throw tileError(where, `${validityBytes} bytes of validity`, `${validity.length}`);
  }
  return { dataOffset: values.offset, validityOffset: node.nulls > 0 ? validity.offset : null };
}

function openDataFile(file: string, wanted: readonly ColumnSpec[]): OpenFile {
  const opened = ArrowFile.open(file);
  try {
    return { file: opened, arrays: wanted.map((column) => arrayOf(opened, column)) };
  } catch (error) {
    opened.close();
    throw error;
  }
}

/** Index of a column's array; data files hold primitive columns only, one array each. */
function arrayOf(file: ArrowFile, column: ColumnSpec): number {
  const { fields } = file.schema;
  const index = fields.findIndex((field) => field.name === column.name);
  const field = fields[index];
  if (field === undefined) {
    throw missing(
      file.path,
      column.name,
      fields.map((candidate) => candidate.name),
    );
  }
  for (const candidate of fields) {
    if (columnTypeOf(candidate) === null) {
      throw wrongType(
        file.path,
        { name: candidate.name, type: String(candidate.type) },
        'float64, int64',
      );
    }
  }
  const type = columnTypeOf(field);
  if (type !== column.type) throw wrongType(file.path, { name: column.name, type }, column.type);
  return index;
}

/** Type of a field that a tile may hold, or null. */
export function columnTypeOf(field: Field): ColumnType | null {
  const type: DataType = field.type;
  if (DataType.isFloat(type) && Number(type.precision) === 2) return 'float64';
  if (DataType.isInt(type) && type.isSigned && type.bitWidth === 64) return 'int64';
  if (DataType.isTimestamp(type) && type.unit === TimeUnit.MILLISECOND) return 'timestamp';
  return null;
}

function findColumn(dataset: DatasetParts, name: string): ColumnSpec {
  const { columns } = dataset.manifest;
  const found = columns.find((column) => column.name === name);
  if (found === undefined)
    throw missing(
      dataset.path,
      name,
      columns.map((column) => column.name),
    );
  return found;
}

function missing(file: string, name: string, got: readonly string[]): DatasetError {
  return new DatasetError(
    'COLUMN_MISSING',
    `${file} has no column "${name}": expected one of ${got.join(', ')}, got "${name}"; ` +
      'correct the name',
    { details: { path: file, column: name } },
  );
}

function wrongType(
  file: string,
  column: { readonly name: string; readonly type: string | null },
  expected: string,
): DatasetError {
  const got = column.type ?? 'another type';
  return new DatasetError(
    'COLUMN_TYPE',
    `column "${column.name}" of ${file} has the wrong type: expected ${expected}, got ${got}; ` +
      'convert the data with `tileloom dataset convert`',
    { details: { path: file, column: column.name, expected, got } },
  );
}

function tileError(where: TilePlace, expected: string, got: string): DatasetError {
  const column = where.column === null ? '' : `, column "${where.column}"`;
  return new DatasetError(
    'TILE_CORRUPT',
    `tile ${where.tile} of ${where.file}${column} is not as the tile table says: ` +
      `expected ${expected}, got ${got}; restore the dataset or make it again`,
    { details: { path: where.file, tile: where.tile, column: where.column } },
  );
}
