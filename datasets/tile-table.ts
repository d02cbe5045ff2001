// Owns tiles.arrow, one row per tile, as typed arrays: 10^6 tiles take about 100 MB, nothing per
// tile is an object. The file's SHA-256 stands in dataset.json, so what is read here was written
// by tileloom.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import {
  Field,
  FixedSizeBinary,
  Float64,
  Schema,
  Uint16,
  Uint32,
  type DataType,
} from 'apache-arrow';
import { ArrowFile, type BatchLayout } from './arrow-file.ts';
import { ArrowFileWriter, type ArrayData, type WrittenFile } from './arrow-writer.ts';
import { DatasetError } from './errors.ts';
import type { TileStatistics } from './tile-values.ts';

/** Facts of each tile, index by tile. */
export interface TileTable {
  readonly tiles: number;
  readonly file: Uint16Array;
  readonly batch: Uint32Array;
  readonly rows: Uint32Array;
  /** Of rows with finite coordinates; +∞/−∞ where there are none. */
  readonly minX: Float64Array;
  readonly minY: Float64Array;
  readonly maxX: Float64Array;
  readonly maxY: Float64Array;
  readonly invalid: Uint32Array;
  /** 16 bytes per tile and column, by column name. */
  readonly checksums: ReadonlyMap<string, Uint8Array>;
}

const TABLE_BATCH_ROWS = 65_536;
const DIGEST_BYTES = 16;

/** XXH3-128 of a column of a tile as 32 hex digits; null for an unknown column. */
export function tileChecksum(table: TileTable, column: string, tile: number): string | null {
  const all = table.checksums.get(column);
  if (all === undefined) return null;
  const at = DIGEST_BYTES * tile;
  return Buffer.from(all.buffer, all.byteOffset + at, DIGEST_BYTES).toString('hex');
}

export async function writeTileTable(path: string, table: TileTable): Promise<WrittenFile> {
  const names = [...table.checksums.keys()];
  const writer = await ArrowFileWriter.create(path, tableSchema(names));
  try {
    for (let from = 0; from < table.tiles; from += TABLE_BATCH_ROWS) {
      const to = Math.min(table.tiles, from + TABLE_BATCH_ROWS);
      const numbers = Uint32Array.from({ length: to - from }, (_, index) => from + index);
      const columns = [numbers, ...numericColumns(table).map((all) => all.subarray(from, to))];
      const arrays = columns.map((values): ArrayData => plain(to - from, values));
      for (const all of table.checksums.values()) {
        arrays.push(plain(to - from, all.subarray(DIGEST_BYTES * from, DIGEST_BYTES * to)));
      }
      await writer.append(to - from, arrays);
    }
    return await writer.finish();
  } finally {
    await writer.abort();
  }
}

/**
 * Reads and verifies a tile table.
 *
 * @throws {DatasetError} `TILE_TABLE_CORRUPT` when its bytes are not those that dataset.json names
 */
export async function readTileTable(
  path: string,
  expected: {
    readonly sha256: string;
    readonly tiles: number;
    readonly columns: readonly string[];
  },
): Promise<TileTable> {
  const file = ArrowFile.open(path);
  try {
    const bytes = await readFile(path);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    if (sha256 !== expected.sha256) throw corrupt(path, `SHA-256 ${expected.sha256}`, sha256);
    const table = emptyTable(expected.tiles, expected.columns);
    let tile = 0;
    for (let batch = 0; batch < file.batches; batch += 1) {
      const layout = file.layout(batch);
      if (tile + layout.rows > expected.tiles) break;
      fillTable(path, bytes, layout, { table, tile });
      tile += layout.rows;
    }
    if (tile !== expected.tiles) throw corrupt(path, `${expected.tiles} tiles`, `${tile}`);
    return table;
  } finally {
    file.close();
  }
}

/** A table of zeroes to be filled. */
export function emptyTable(tiles: number, columns: readonly string[]): TileTable {
  return {
    tiles,
    file: new Uint16Array(tiles),
    batch: new Uint32Array(tiles),
    rows: new Uint32Array(tiles),
    minX: new Float64Array(tiles),
    minY: new Float64Array(tiles),
    maxX: new Float64Array(tiles),
    maxY: new Float64Array(tiles),
    invalid: new Uint32Array(tiles),
    checksums: new Map(columns.map((name) => [name, new Uint8Array(DIGEST_BYTES * tiles)])),
  };
}

/** A table that grows tile by tile, in about 100 bytes each. */
export class TileTableBuilder {
  readonly #columns: readonly string[];
  #table: TileTable;
  #tiles = 0;

  constructor(columns: readonly string[]) {
    this.#columns = columns;
    this.#table = emptyTable(1024, columns);
  }

  get tiles(): number {
    return this.#tiles;
  }

  push(file: number, batch: number, statistics: TileStatistics): void {
    if (this.#tiles === this.#table.tiles) this.#table = this.#resized(2 * this.#tiles);
    const table = this.#table;
    const tile = this.#tiles;
    table.file[tile] = file;
    table.batch[tile] = batch;
    table.rows[tile] = statistics.rows;
    [table.minX[tile], table.minY[tile], table.maxX[tile], table.maxY[tile]] = statistics.bounds;
    table.invalid[tile] = statistics.invalid;
    this.#columns.forEach((name, index) => {
      const digest = Buffer.from(statistics.checksums[index] ?? '', 'hex');
      table.checksums.get(name)?.set(digest, DIGEST_BYTES * tile);
    });
    this.#tiles += 1;
  }

  build(): TileTable {
    return this.#resized(this.#tiles);
  }

  #resized(tiles: number): TileTable {
    const next = emptyTable(tiles, this.#columns);
    const from = [...numericColumns(this.#table), ...this.#table.checksums.values()];
    const to = [...numericColumns(next), ...next.checksums.values()];
    to.forEach((target, index) => {
      const source = from[index];
      if (source !== undefined) target.set(source.subarray(0, target.length));
    });
    return next;
  }
}

type Numbers = Uint16Array | Uint32Array | Float64Array;

function numericColumns(table: TileTable): Numbers[] {
  const { file, batch, rows, minX, minY, maxX, maxY, invalid } = table;
  return [file, batch, rows, minX, minY, maxX, maxY, invalid];
}

function fillTable(
  path: string,
  bytes: Uint8Array,
  layout: BatchLayout,
  to: { readonly table: TileTable; readonly tile: number },
): void {
  const targets = [...numericColumns(to.table), ...to.table.checksums.values()];
  const isDigest = (index: number): boolean => index >= numericColumns(to.table).length;
  targets.forEach((target, index) => {
    // Arrays: the tile number, then the targets; two buffers each, validity and values.
    const range = layout.buffers[2 * (index + 1) + 1];
    const perTile = isDigest(index) ? DIGEST_BYTES : target.BYTES_PER_ELEMENT;
    if (range === undefined || range.length < perTile * layout.rows) {
      throw corrupt(
        path,
        `${perTile * layout.rows} bytes of array ${index + 1}`,
        `${range?.length}`,
      );
    }
    const raw = bytes.subarray(range.offset, range.offset + perTile * layout.rows);
    const out = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
    out.set(raw, perTile * to.tile);
  });
}

function tableSchema(columns: readonly string[]): Schema {
  const field = (name: string, type: DataType): Field => new Field(name, type, false);
  const fields = [field('tile', new Uint32()), field('file', new Uint16())];
  fields.push(field('batch', new Uint32()), field('rows', new Uint32()));
  for (const name of ['minX', 'minY', 'maxX', 'maxY']) fields.push(field(name, new Float64()));
  fields.push(field('invalid', new Uint32()));
  for (const name of columns) fields.push(field(`xxh3_${name}`, new FixedSizeBinary(DIGEST_BYTES)));
  return new Schema(fields, new Map([['tileloom.tiles', '1']]));
}

function plain(length: number, values: Numbers | Uint8Array): ArrayData {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { length, nulls: 0, buffers: [new Uint8Array(0), bytes] };
}

function corrupt(path: string, expected: string, got: string): DatasetError {
  return new DatasetError(
    'TILE_TABLE_CORRUPT',
    `the tile table ${path} was changed: expected ${expected}, got ${got}; ` +
      'restore the dataset or make it again',
    { details: { path, expected, got } },
  );
}
