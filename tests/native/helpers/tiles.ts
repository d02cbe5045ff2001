// Owns data files for native tests: columns of tiles, laid one after the other as in an Arrow body.
import { writeFileSync } from 'node:fs';
import type { ColumnInput, KernelLibrary, TileInput } from '../../../native/index.ts';

export type Cell = number | bigint | null;

export interface ColumnData {
  readonly name: string;
  readonly type: 'float64' | 'int64';
  readonly values: readonly Cell[];
}

/** Writes tiles to one file; a column with a null gets a validity bitmap. */
export function writeTiles(
  library: KernelLibrary,
  path: string,
  tiles: readonly (readonly ColumnData[])[],
): TileInput[] {
  const pieces: Uint8Array[] = [new Uint8Array(64)];
  let size = 64;
  const append = (bytes: Uint8Array): number => {
    const at = size;
    const padded = new Uint8Array(Math.ceil(bytes.byteLength / 8) * 8);
    padded.set(bytes);
    pieces.push(padded);
    size += padded.byteLength;
    return at;
  };
  const inputs = tiles.map((columns, tile) => {
    const described = columns.map((column): ColumnInput => {
      const values = encodeValues(column);
      const validity = column.values.includes(null) ? encodeValidity(column.values) : null;
      const hashed = Buffer.concat([validity ?? new Uint8Array(0), values]);
      return {
        name: column.name,
        type: column.type,
        validityOffset: validity === null ? null : append(validity),
        dataOffset: append(values),
        xxh3: library.hash128(hashed),
      };
    });
    const [x, y, ...measures] = described;
    if (x === undefined || y === undefined) {
      throw new Error('a tile needs x and y');
    }
    return { path, tile, rows: columns[0]?.values.length ?? 0, x, y, measures };
  });
  writeFileSync(path, Buffer.concat(pieces));
  return inputs;
}

function encodeValues(column: ColumnData): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(column.values.length * 8));
  column.values.forEach((value, row) => {
    if (column.type === 'int64') {
      bytes.setBigInt64(row * 8, BigInt(value ?? 77), true);
    } else {
      bytes.setFloat64(row * 8, Number(value ?? 77.5), true);
    }
  });
  return new Uint8Array(bytes.buffer);
}

function encodeValidity(values: readonly Cell[]): Uint8Array {
  const bits = new Uint8Array(Math.ceil(values.length / 8));
  values.forEach((value, row) => {
    if (value !== null) {
      bits[row >> 3] = (bits[row >> 3] ?? 0) | (1 << (row & 7));
    }
  });
  return bits;
}

/** Numbers as a float64 column. */
export function doubles(name: string, values: readonly Cell[]): ColumnData {
  return { name, type: 'float64', values };
}
