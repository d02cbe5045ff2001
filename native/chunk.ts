// Owns the facade of a chunk: packs tile descriptors for tl_chunk_run and unpacks what it answers.
// I1 the native chunk is freed once, when it is closed and no batch is in flight.
import {
  cText,
  checkInteger,
  ErrorSlot,
  HandleSlot,
  type NativeArgument,
  type NativeFunction,
} from './binding.ts';
import { NativeError } from './errors.ts';
import type {
  BatchOutput,
  Chunk,
  ColumnInput,
  OpenChunkOptions,
  TileInput,
  TileOutput,
} from './types.ts';

const COLUMN_BYTES = 48;
const TILE_BYTES = 32;
const TILE_OUT_BYTES = 64;
const BATCH_OUT_BYTES = 56;
const OPTIONS_BYTES = 32;
const NOT_GIVEN = 0xffff_ffff_ffff_ffffn;
const ROWS_MAX = 2 ** 31 - 1;
export const MEASURES_MAX = 64;
const DEFAULT_TILE_ROWS = 65_536;

export const BOUNDARY_NUMBER = { 'half-open': 0, covers: 1, contains: 2 } as const;
export const OVERLAP_NUMBER = { first: 0, all: 1, error: 2 } as const;

/** The chunk functions of the library; `function` looks a symbol up on first use. */
export interface ChunkFunctions {
  function(prototype: string): NativeFunction;
}

const OPEN =
  'int tl_chunk_open(void *layer, void *library, void *symbol, void *options, void *out, ' +
  'void *error)';
const RUN =
  'int tl_chunk_run(void *chunk, void *paths, uint64_t paths_bytes, uint64_t files, void *tiles, ' +
  'uint64_t tile_count, void *columns, uint64_t column_count, void *tiles_out, void *batch_out, ' +
  'void *rows_out, void *error)';
const TAKE = 'int tl_rows_take(void *rows, void *out, uint64_t capacity)';
const PROGRESS = 'int tl_chunk_progress(void *chunk, void *tiles)';
const CANCEL = 'int tl_chunk_cancel(void *chunk)';
const PEAK = 'int tl_chunk_peak(void *chunk, void *bytes)';
const ESTIMATE =
  'int tl_chunk_estimate(void *chunk, uint64_t tile_rows, uint64_t batch_rows, void *bytes)';
const FINISH = 'int tl_chunk_finish(void *chunk, void *bytes, void *error)';
const PARTIALS = 'int tl_chunk_partials(void *chunk, void *out, uint64_t capacity)';
const CLOSE = 'int tl_chunk_close(void *chunk)';

/** Opens a chunk on a native layer handle. */
export function openNativeChunk(
  functions: ChunkFunctions,
  layerHandle: bigint,
  options: OpenChunkOptions,
): Chunk {
  const packed = new DataView(new ArrayBuffer(OPTIONS_BYTES));
  const fields = [
    OPTIONS_BYTES,
    BOUNDARY_NUMBER[options.boundary],
    OVERLAP_NUMBER[options.overlap],
    options.wrap ? 1 : 0,
    checkInteger(options.measures, MEASURES_MAX, 'measures of a chunk'),
    options.aggregate ? 1 : 0,
    options.rows ? 1 : 0,
  ];
  fields.forEach((value, index) => packed.setUint32(index * 4, value, true));
  const library = options.assignLibrary ?? null;
  const out = new HandleSlot();
  const error = new ErrorSlot();
  const status = functions
    .function(OPEN)
    .call(
      layerHandle,
      library === null ? null : cText(library, 'path of the assign library'),
      cText(options.symbol, 'symbol'),
      packed,
      out.slot,
      error.bytes,
    );
  error.check(status, `chunk with ${options.symbol}`);
  return new NativeChunk(functions, out.handle, options);
}

class NativeChunk implements Chunk {
  readonly #functions: ChunkFunctions;
  readonly #options: OpenChunkOptions;
  #handle: bigint | null;
  #running = 0;
  #closing = false;

  constructor(functions: ChunkFunctions, handle: bigint, options: OpenChunkOptions) {
    this.#functions = functions;
    this.#handle = handle;
    this.#options = options;
  }

  async runBatch(tiles: readonly TileInput[]): Promise<BatchOutput> {
    const handle = this.#open();
    const packed = packBatch(tiles, this.#options.measures);
    const tilesOut = new DataView(new ArrayBuffer(tiles.length * TILE_OUT_BYTES));
    const batchOut = new DataView(new ArrayBuffer(BATCH_OUT_BYTES));
    const rowsOut = new HandleSlot();
    const error = new ErrorSlot();
    this.#running += 1;
    try {
      const status = await this.#functions
        .function(RUN)
        .callAsync(
          handle,
          packed.paths,
          packed.paths.byteLength,
          packed.files,
          packed.tiles,
          tiles.length,
          packed.columns,
          packed.columnCount,
          tilesOut,
          batchOut,
          rowsOut.slot,
          error.bytes,
        );
      const failed = tiles.find((tile) => tile.tile === error.tile) ?? tiles[0];
      error.check(status, failed?.path ?? 'an empty batch', columnNames(failed));
      const values = this.#takeRows(rowsOut.handle, Number(batchOut.getBigUint64(48, true)));
      return {
        tiles: unpackTiles(tilesOut, tiles.length, values),
        readSeconds: batchOut.getFloat64(0, true),
        kernelSeconds: batchOut.getFloat64(8, true),
        writeSeconds: batchOut.getFloat64(16, true),
        uploadSeconds: batchOut.getFloat64(24, true),
        downloadSeconds: batchOut.getFloat64(32, true),
        repairedRows: Number(batchOut.getBigUint64(40, true)),
      };
    } finally {
      this.#running -= 1;
      if (this.#closing) {
        this.#free();
      }
    }
  }

  progress(): number {
    return this.#readCount(PROGRESS);
  }

  cancel(): void {
    if (this.#handle !== null) {
      new ErrorSlot().check(this.#functions.function(CANCEL).call(this.#handle), 'cancel');
    }
  }

  finish(): Uint8Array {
    const handle = this.#open();
    if (this.#running > 0) {
      throw new NativeError(
        'BAD_STATE',
        `chunk cannot finish: expected no batch in flight, got ${this.#running}; await them first`,
      );
    }
    const size = new BigUint64Array(1);
    const error = new ErrorSlot();
    error.check(this.#functions.function(FINISH).call(handle, size, error.bytes), 'chunk');
    const bytes = new Uint8Array(Number(size[0]));
    const status = this.#functions.function(PARTIALS).call(handle, bytes, bytes.byteLength);
    new ErrorSlot().check(status, 'partials of the chunk');
    return bytes;
  }

  close(): void {
    this.#closing = true;
    if (this.#running === 0) {
      this.#free();
    }
  }

  get peakBytes(): number {
    return this.#readCount(PEAK);
  }

  estimateBytes(batchRows: number, tileRows: number = DEFAULT_TILE_ROWS): number {
    const size = new BigUint64Array(1);
    const status = this.#functions
      .function(ESTIMATE)
      .call(
        this.#open(),
        checkInteger(tileRows, ROWS_MAX, 'rows of a tile'),
        checkInteger(batchRows, Number.MAX_SAFE_INTEGER, 'rows of a batch'),
        size,
      );
    new ErrorSlot().check(status, 'estimate of the chunk');
    return Number(size[0]);
  }

  #takeRows(handle: bigint, count: number): Int32Array | null {
    if (handle === 0n) {
      return null;
    }
    const take = this.#functions.function(TAKE);
    const values = allocateRows(count);
    if (values === null) {
      take.call(handle, null, 0);
      throw new NativeError('OUT_OF_MEMORY', `rows of a batch do not fit: got ${count} values`, {
        retryable: true,
      });
    }
    new ErrorSlot().check(take.call(handle, values, count), 'rows of the batch');
    return values;
  }

  #readCount(prototype: string): number {
    const value = new BigUint64Array(1);
    const status = this.#functions.function(prototype).call(this.#open(), value);
    new ErrorSlot().check(status, 'chunk');
    return Number(value[0]);
  }

  #open(): bigint {
    if (this.#handle === null || this.#closing) {
      throw new NativeError(
        'BAD_STATE',
        'chunk is closed: expected an open one; open another chunk',
      );
    }
    return this.#handle;
  }

  #free(): void {
    if (this.#handle !== null) {
      const handle: NativeArgument = this.#handle;
      this.#handle = null;
      this.#functions.function(CLOSE).call(handle);
    }
  }
}

function allocateRows(count: number): Int32Array | null {
  try {
    return new Int32Array(count);
  } catch {
    return null;
  }
}

function columnNames(tile: TileInput | undefined): readonly string[] {
  return tile === undefined ? [] : [tile.x, tile.y, ...tile.measures].map((column) => column.name);
}

/** Tile descriptors as tl_chunk_run and tl_device_measure take them. */
export function packBatch(tiles: readonly TileInput[], measures: number) {
  const perTile = 2 + measures;
  const tileView = new DataView(new ArrayBuffer(tiles.length * TILE_BYTES));
  const columnView = new DataView(new ArrayBuffer(tiles.length * perTile * COLUMN_BYTES));
  const files = new Map<string, number>();
  tiles.forEach((tile, index) => {
    if (tile.measures.length !== measures) {
      throw new NativeError(
        'BAD_ARGUMENT',
        `tile ${tile.tile} has other columns than its chunk: expected ${measures} measures, ` +
          `got ${tile.measures.length}; correct the call`,
      );
    }
    const file = files.get(tile.path) ?? files.size;
    files.set(tile.path, file);
    const at = index * TILE_BYTES;
    const name = `number of tile ${tile.tile}`;
    tileView.setBigUint64(at, BigInt(checkInteger(tile.tile, Number.MAX_SAFE_INTEGER, name)), true);
    tileView.setBigUint64(
      at + 8,
      BigInt(checkInteger(tile.rows, ROWS_MAX, 'rows of a tile')),
      true,
    );
    tileView.setUint32(at + 16, file, true);
    tileView.setBigUint64(at + 24, BigInt(index * perTile), true);
    [tile.x, tile.y, ...tile.measures].forEach((column, number) => {
      packColumn(columnView, (index * perTile + number) * COLUMN_BYTES, column);
    });
  });
  const paths = Buffer.concat([...files.keys()].map((path) => cText(path, 'path of a data file')));
  return {
    paths,
    files: files.size,
    tiles: tileView,
    columns: columnView,
    columnCount: tiles.length * perTile,
  };
}

function packColumn(view: DataView, at: number, column: ColumnInput): void {
  const offset = (value: number): bigint =>
    BigInt(checkInteger(value, Number.MAX_SAFE_INTEGER, `offset of column ${column.name}`));
  view.setBigUint64(at, offset(column.dataOffset), true);
  const validity = column.validityOffset;
  view.setBigUint64(at + 8, validity === null ? NOT_GIVEN : offset(validity), true);
  view.setUint32(at + 16, column.type === 'int64' ? 1 : 0, true);
  if (column.xxh3 === null) {
    return;
  }
  if (!/^[0-9a-f]{32}$/.test(column.xxh3)) {
    throw new NativeError(
      'BAD_ARGUMENT',
      `checksum of column ${column.name} is not one: expected 32 hex digits, got ` +
        `${JSON.stringify(column.xxh3)}; correct the call`,
    );
  }
  view.setUint32(at + 20, 1, true);
  for (let index = 0; index < 16; index += 1) {
    const digits = column.xxh3.slice(index * 2, index * 2 + 2);
    view.setUint8(at + 24 + index, Number.parseInt(digits, 16));
  }
}

function unpackTiles(view: DataView, count: number, values: Int32Array | null): TileOutput[] {
  let from = 0;
  return Array.from({ length: count }, (_, index) => {
    const at = index * TILE_OUT_BYTES;
    const field = (number: number): number => Number(view.getBigUint64(at + number * 8, true));
    const length = field(7);
    const output = values === null ? null : values.subarray(from, from + length);
    from += length;
    return {
      tile: field(0),
      rows: field(1),
      hits: field(2),
      outside: field(3),
      invalid: field(4),
      digest: Buffer.from(view.buffer, at + 40, 16).toString('hex'),
      output,
    };
  });
}
