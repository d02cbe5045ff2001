// Owns sorting any number of rows along a Hilbert curve in bounded memory: sorted runs in one
// temporary file, then a k-way merge. Memory: one run (2^19 rows) while reading, 64 KiB per run
// while merging.
// I1 equal keys keep the order of the input, so the result is a function of the input alone.
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { fileError } from './errors.ts';
import type { ColumnType } from './format.ts';
import { hilbertKey } from './hilbert.ts';
import type { Block, BlockColumn } from './input.ts';

const RUN_ROWS = 1 << 19;
const READ_BYTES = 65_536;
const OUT_ROWS = 8192;

export interface CurveSortOptions {
  /** Of the columns of each block; x and y first. */
  readonly types: readonly ColumnType[];
  /** Extent of the curve: minX, minY, maxX, maxY. */
  readonly box: readonly [number, number, number, number];
  /** Removed at the end. */
  readonly temporaryFile: string;
  /** Rows per run; smaller in tests. */
  readonly runRows?: number;
}

/**
 * A run lies in the file as records: key, one null byte per column, padding, 8 bytes per column.
 */
interface Layout {
  readonly columns: number;
  readonly valuesAt: number;
  readonly recordBytes: number;
}

interface Run {
  readonly offset: number;
  readonly rows: number;
}

/** Yields all rows of the blocks in curve order. */
export async function* sortAlongCurve(
  blocks: AsyncIterable<Block>,
  options: CurveSortOptions,
): AsyncGenerator<Block> {
  const columns = options.types.length;
  const valuesAt = Math.ceil((4 + columns) / 8) * 8;
  const layout = { columns, valuesAt, recordBytes: valuesAt + 8 * columns };
  const handle = await open(options.temporaryFile, 'wx+').catch((error: unknown) => {
    throw fileError(error, 'creating', options.temporaryFile);
  });
  try {
    const runs = await writeRuns(handle, blocks, layout, options);
    yield* mergeRuns(handle, runs, layout, options.types);
  } catch (error) {
    throw fileError(error, 'sorting', options.temporaryFile);
  } finally {
    await handle.close();
    await unlink(options.temporaryFile).catch(() => undefined);
  }
}

async function writeRuns(
  handle: FileHandle,
  blocks: AsyncIterable<Block>,
  layout: Layout,
  options: CurveSortOptions,
): Promise<Run[]> {
  const limit = options.runRows ?? RUN_ROWS;
  const runs: Run[] = [];
  const records = Buffer.alloc(limit * layout.recordBytes);
  let [rows, offset] = [0, 0];
  const flush = async (): Promise<void> => {
    if (rows === 0) return;
    const sorted = sortRecords(records, rows, layout);
    await writeAll(handle, sorted, offset);
    runs.push({ offset, rows });
    offset += sorted.length;
    rows = 0;
  };
  for await (const block of blocks) {
    for (let row = 0; row < block.rows; row += 1) {
      writeRecord(records, rows * layout.recordBytes, { block, row, layout, box: options.box });
      rows += 1;
      if (rows === limit) await flush();
    }
  }
  await flush();
  return runs;
}

function writeRecord(
  out: Buffer,
  at: number,
  from: {
    readonly block: Block;
    readonly row: number;
    readonly layout: Layout;
    readonly box: CurveSortOptions['box'];
  },
): void {
  const { block, row, layout, box } = from;
  const [x, y] = block.columns;
  const px = Number(x?.values[row] ?? 0);
  const py = Number(y?.values[row] ?? 0);
  out.writeUInt32LE(hilbertKey(px, py, box), at);
  for (let index = 0; index < layout.columns; index += 1) {
    const column = block.columns[index] as BlockColumn;
    out[at + 4 + index] = column.nulls?.[row] ?? 0;
    const target = at + layout.valuesAt + 8 * index;
    const value = column.values[row] as number | bigint;
    if (typeof value === 'bigint') out.writeBigInt64LE(value, target);
    else out.writeDoubleLE(value, target);
  }
}

/** Sorts records by key, then by place: both fit one double, which sorts without a comparator. */
function sortRecords(records: Buffer, rows: number, layout: Layout): Buffer {
  const order = new Float64Array(rows);
  for (let row = 0; row < rows; row += 1) {
    order[row] = records.readUInt32LE(row * layout.recordBytes) * 2 ** 20 + row;
  }
  order.sort();
  const sorted = Buffer.allocUnsafe(rows * layout.recordBytes);
  for (let to = 0; to < rows; to += 1) {
    const from = ((order[to] as number) % 2 ** 20) * layout.recordBytes;
    records.copy(sorted, to * layout.recordBytes, from, from + layout.recordBytes);
  }
  return sorted;
}

async function writeAll(handle: FileHandle, bytes: Buffer, offset: number): Promise<void> {
  let at = 0;
  while (at < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, offset + at);
    at += bytesWritten;
  }
}

/** Reads one run from front to back. */
class RunCursor {
  readonly #handle: FileHandle;
  readonly #recordBytes: number;
  #offset: number;
  #left: number;
  #buffer: Buffer = Buffer.alloc(0);
  #at = 0;

  constructor(handle: FileHandle, run: Run, recordBytes: number) {
    this.#handle = handle;
    this.#recordBytes = recordBytes;
    this.#offset = run.offset;
    this.#left = run.rows;
  }

  get done(): boolean {
    return this.#at >= this.#buffer.length && this.#left === 0;
  }

  get key(): number {
    return this.#buffer.readUInt32LE(this.#at);
  }

  get record(): { readonly buffer: Buffer; readonly at: number } {
    return { buffer: this.#buffer, at: this.#at };
  }

  /** True when the next record is in memory, or there is none. */
  get ready(): boolean {
    return this.#at < this.#buffer.length || this.#left === 0;
  }

  advance(): void {
    this.#at += this.#recordBytes;
  }

  async load(): Promise<void> {
    const rows = Math.min(this.#left, Math.max(1, Math.floor(READ_BYTES / this.#recordBytes)));
    this.#buffer = Buffer.alloc(rows * this.#recordBytes);
    await this.#handle.read(this.#buffer, 0, this.#buffer.length, this.#offset);
    this.#offset += this.#buffer.length;
    this.#left -= rows;
    this.#at = 0;
  }
}

async function* mergeRuns(
  handle: FileHandle,
  runs: readonly Run[],
  layout: Layout,
  types: readonly ColumnType[],
): AsyncGenerator<Block> {
  const cursors = runs.map((run) => new RunCursor(handle, run, layout.recordBytes));
  for (const cursor of cursors) await cursor.load();
  // A binary heap of run numbers; runs are in input order, so ties go to the lower number.
  const heap = new RunHeap(cursors);
  while (heap.size > 0) {
    const out = new OutBlock(types, layout);
    while (out.rows < OUT_ROWS && heap.size > 0) {
      const cursor = heap.top;
      out.push(cursor.record);
      cursor.advance();
      if (!cursor.ready) await cursor.load();
      heap.settle();
    }
    yield out.block();
  }
}

class RunHeap {
  readonly #cursors: readonly RunCursor[];
  readonly #heap: number[];

  constructor(cursors: readonly RunCursor[]) {
    this.#cursors = cursors;
    this.#heap = cursors.map((_, index) => index);
    for (let at = (this.#heap.length >> 1) - 1; at >= 0; at -= 1) this.#sink(at);
  }

  get size(): number {
    return this.#heap.length;
  }

  get top(): RunCursor {
    return this.#cursors[this.#heap[0] as number] as RunCursor;
  }

  /** Restores the order after the top has moved on or ended. */
  settle(): void {
    if (this.top.done) {
      const last = this.#heap.pop() as number;
      if (this.#heap.length === 0) return;
      this.#heap[0] = last;
    }
    this.#sink(0);
  }

  #sink(from: number): void {
    const heap = this.#heap;
    let at = from;
    for (;;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < heap.length && this.#before(heap[child] as number, heap[least] as number)) {
          least = child;
        }
      }
      if (least === at) return;
      [heap[at], heap[least]] = [heap[least] as number, heap[at] as number];
      at = least;
    }
  }

  #before(a: number, b: number): boolean {
    const keyA = (this.#cursors[a] as RunCursor).key;
    const keyB = (this.#cursors[b] as RunCursor).key;
    return keyA < keyB || (keyA === keyB && a < b);
  }
}

class OutBlock {
  readonly #layout: Layout;
  readonly #values: readonly (Float64Array | BigInt64Array)[];
  readonly #nulls: readonly Uint8Array[];
  rows = 0;

  constructor(types: readonly ColumnType[], layout: Layout) {
    this.#layout = layout;
    this.#values = types.map((type) =>
      type === 'float64' ? new Float64Array(OUT_ROWS) : new BigInt64Array(OUT_ROWS),
    );
    this.#nulls = types.map(() => new Uint8Array(OUT_ROWS));
  }

  push({ buffer, at }: { readonly buffer: Buffer; readonly at: number }): void {
    this.#values.forEach((values, index) => {
      const from = at + this.#layout.valuesAt + 8 * index;
      if (values instanceof Float64Array) values[this.rows] = buffer.readDoubleLE(from);
      else values[this.rows] = buffer.readBigInt64LE(from);
      (this.#nulls[index] as Uint8Array)[this.rows] = buffer[at + 4 + index] as number;
    });
    this.rows += 1;
  }

  block(): Block {
    const columns = this.#values.map((values, index): BlockColumn => {
      const nulls = (this.#nulls[index] as Uint8Array).subarray(0, this.rows);
      return { values: values.subarray(0, this.rows), nulls: nulls.includes(1) ? nulls : null };
    });
    return { rows: this.rows, columns };
  }
}
