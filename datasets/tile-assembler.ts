// Owns cutting a stream of rows into tiles of equal size; holds one tile.
import type { ColumnType } from './format.ts';
import type { Block } from './input.ts';
import type { Tile } from './tile-values.ts';

interface Column {
  readonly values: Float64Array | BigInt64Array;
  /** One byte per row, 1 = null. */
  readonly nulls: Uint8Array;
  someNull: boolean;
}

export class TileAssembler {
  readonly #types: readonly ColumnType[];
  readonly #tileRows: number;
  #columns: Column[];
  #rows = 0;

  constructor(types: readonly ColumnType[], tileRows: number) {
    this.#types = types;
    this.#tileRows = tileRows;
    this.#columns = this.#fresh();
  }

  /** Takes rows and yields each tile that became full. */
  *add(block: Block): Generator<Tile> {
    let from = 0;
    while (from < block.rows) {
      const count = Math.min(block.rows - from, this.#tileRows - this.#rows);
      this.#copy(block, from, count);
      from += count;
      if (this.#rows === this.#tileRows) yield this.#take();
    }
  }

  /** The rest, or null when there is none. */
  last(): Tile | null {
    return this.#rows === 0 ? null : this.#take();
  }

  #copy(block: Block, from: number, count: number): void {
    this.#columns.forEach((column, index) => {
      const source = block.columns[index];
      if (source === undefined) throw new Error('blocks have the columns of the schema');
      const { values, nulls } = source;
      if (column.values instanceof Float64Array && values instanceof Float64Array) {
        column.values.set(values.subarray(from, from + count), this.#rows);
      } else if (column.values instanceof BigInt64Array && values instanceof BigInt64Array) {
        column.values.set(values.subarray(from, from + count), this.#rows);
      } else throw new Error('blocks have the types of the schema');
      if (nulls === null) return;
      const flags = nulls.subarray(from, from + count);
      column.nulls.set(flags, this.#rows);
      column.someNull ||= flags.includes(1);
    });
    this.#rows += count;
  }

  #take(): Tile {
    const rows = this.#rows;
    const columns = this.#columns.map(({ values, nulls, someNull }) => ({
      values: values.subarray(0, rows),
      validity: someNull ? validityOf(nulls, rows) : null,
    }));
    this.#columns = this.#fresh();
    this.#rows = 0;
    return { rows, columns };
  }

  #fresh(): Column[] {
    const size = this.#tileRows;
    return this.#types.map((type) => ({
      values: type === 'float64' ? new Float64Array(size) : new BigInt64Array(size),
      nulls: new Uint8Array(size),
      someNull: false,
    }));
  }
}

/** Bits past the last row stay zero: checksums cover whole bytes. */
function validityOf(nulls: Uint8Array, rows: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil(rows / 8));
  for (let row = 0; row < rows; row += 1) {
    if (nulls[row] === 0) bits[row >> 3] = (bits[row >> 3] as number) | (1 << (row & 7));
  }
  return bits;
}
