import { mkdtempSync, rmSync, truncateSync, writeFileSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  NativeError,
  openKernels,
  type Chunk,
  type Layer,
  type OpenChunkOptions,
  type TileInput,
} from '../../native/index.ts';
import {
  addValue,
  emptyMeasure,
  encodePartials,
  exactParts,
  featuresOf,
  type ExpectedEntry,
} from './helpers/exact.ts';
import { writeGeometry, type Area } from './helpers/geometry.ts';
import { doubles, writeTiles, type Cell, type ColumnData } from './helpers/tiles.ts';
import { variantsOfThisHost } from './helpers/variants.ts';

const library = openKernels();
const folder = mkdtempSync(join(tmpdir(), 'tileloom-chunk-'));
const SYMBOL = 'tl_assign__grid__fp64__scalar';
const square = (x: number, y: number, size: number): Area => ({
  type: 'Polygon',
  coordinates: [
    [
      [x, y],
      [x + size, y],
      [x + size, y + size],
      [x, y + size],
      [x, y],
    ],
  ],
});
const AREAS: readonly Area[] = [
  square(0, 0, 4),
  square(4, 0, 4),
  square(2, 2, 4),
  square(100, 100, 1),
  square(0, 4, 1),
];
const layers = new Map<string, Layer>();

beforeAll(async () => {
  const geometryPath = join(folder, 'layer.tlgeom');
  writeGeometry(geometryPath, AREAS);
  for (const overlap of ['first', 'all', 'error'] as const) {
    const indexPath = join(folder, `${overlap}.tlidx`);
    await library.buildIndex({ geometryPath, indexPath, boundary: 'half-open', overlap });
    layers.set(overlap, library.openLayer({ geometryPath, indexPath }));
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function openChunk(changes: Partial<OpenChunkOptions> = {}): Chunk {
  const overlap = changes.overlap ?? 'first';
  return library.openChunk({
    ...{ layer: layers.get(overlap) as Layer, symbol: SYMBOL, boundary: 'half-open', overlap },
    ...{ wrap: false, measures: 2, aggregate: true, rows: false },
    ...changes,
  });
}

function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Tiles of x, y, a float64 and an int64 measure, with nulls, NaN, infinities and signed zeros. */
function randomTiles(count: number, rows: number, seed: number): ColumnData[][] {
  const random = randomOf(seed);
  const odd = [null, Number.NaN, Infinity, -Infinity, -0, 0, 1e300, -1e-300, 5e-324];
  return Array.from({ length: count }, (_, tile) => {
    const pick = (plain: () => Cell, oddShare: number): Cell =>
      random() < oddShare ? (odd[Math.floor(random() * odd.length)] as Cell) : plain();
    const oddShare = tile % 3 === 0 ? 0 : 0.05;
    const column = (plain: () => Cell): Cell[] =>
      Array.from({ length: rows + tile }, () => pick(plain, oddShare));
    const coordinate = (): Cell => Math.floor(random() * 33) / 4;
    return [
      doubles('x', column(coordinate)),
      doubles('y', column(coordinate)),
      doubles(
        'value',
        column(() => (random() - 0.5) * 1000),
      ),
      {
        name: 'big',
        type: 'int64',
        values: Array.from({ length: rows + tile }, () =>
          random() < oddShare ? null : BigInt(Math.floor((random() - 0.5) * 2 ** 53)) * 1023n,
        ),
      },
    ];
  });
}

interface Expected {
  readonly partials: Uint8Array;
  readonly rowValues: Int32Array;
}

/** What some tiles give together, from exact arithmetic and the text of docs/formats.md. */
function expectedOf(tiles: readonly (readonly ColumnData[])[], overlap: string): Expected {
  const exact = AREAS.map(exactParts);
  const entries = new Map<number, ExpectedEntry>();
  const counts = { rows: 0, hits: 0, outside: 0, invalid: 0 };
  const ids: number[] = [];
  const pairs: number[] = [];
  for (const [xs, ys, ...measures] of tiles) {
    xs?.values.forEach((x, row) => {
      const y = ys?.values[row] ?? null;
      counts.rows += 1;
      if (x === null || y === null || !Number.isFinite(Number(x)) || !Number.isFinite(Number(y))) {
        counts.invalid += 1;
        ids.push(-2);
        return;
      }
      const all = featuresOf(exact, 'half-open', Number(x), Number(y));
      const kept = overlap === 'all' ? all : all.slice(0, 1);
      counts[kept.length > 0 ? 'hits' : 'outside'] += 1;
      ids.push(overlap === 'all' ? kept.length : (kept[0] ?? -1));
      pairs.push(...(overlap === 'all' ? kept : []));
      for (const feature of kept) {
        const entry = entries.get(feature) ?? {
          count: 0n,
          measures: measures.map(() => emptyMeasure()),
        };
        entries.set(feature, entry);
        entry.count += 1n;
        measures.forEach((column, index) => {
          addValue(entry.measures[index] ?? emptyMeasure(), column.values[row] ?? null);
        });
      }
    });
  }
  return {
    partials: encodePartials(2, counts, entries),
    rowValues: Int32Array.from([...ids, ...pairs]),
  };
}

/** More than one block of rows per tile. */
const ROW_TILES = randomTiles(2, 9000, 2);
const rowsByOverlap = new Map<string, Int32Array[]>();

function expectedRows(overlap: string): Int32Array[] {
  const known =
    rowsByOverlap.get(overlap) ??
    ROW_TILES.map((columns) => expectedOf([columns], overlap).rowValues);
  rowsByOverlap.set(overlap, known);
  return known;
}

function bytesOf(values: Int32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

async function codeOf(promise: Promise<unknown>): Promise<NativeError> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(NativeError);
  return error as NativeError;
}

describe('runBatch', () => {
  for (const variant of variantsOfThisHost(library.isa)) {
    for (const overlap of ['first', 'all'] as const) {
      test(`gives the canonical partials of each tile: ${variant.id}, ${overlap}`, async () => {
        const data = randomTiles(7, 300, 1);
        const tiles = writeTiles(library, join(folder, `${variant.name}.bin`), data);
        const chunk = openChunk({ symbol: variant.symbol, overlap });
        const { tiles: outputs } = await chunk.runBatch(tiles);
        data.forEach((columns, tile) => {
          const { partials } = expectedOf([columns], overlap);
          expect(outputs[tile]?.digest, `tile ${tile}`).toBe(library.hash128(partials));
        });
        expect(chunk.finish()).toEqual(expectedOf(data, overlap).partials);
        expect(chunk.finish()).toEqual(expectedOf(data, overlap).partials);
        chunk.close();
      });

      test(`gives rows and their digest: ${variant.id}, ${overlap}`, async () => {
        const data = ROW_TILES;
        const tiles = writeTiles(library, join(folder, `${variant.name}-rows.bin`), data);
        const chunk = openChunk({ symbol: variant.symbol, overlap, rows: true });
        const { tiles: outputs } = await chunk.runBatch(tiles);
        data.forEach((columns, tile) => {
          const rowValues = expectedRows(overlap)[tile] as Int32Array;
          expect(columns[0]?.values.length).toBe(outputs[tile]?.rows);
          expect(outputs[tile]?.output).toEqual(rowValues);
          expect(outputs[tile]?.digest).toBe(library.hash128(bytesOf(rowValues)));
        });
        chunk.close();
      });
    }
  }

  test('gives the same chunk for any split into concurrent batches and any order', async () => {
    const data = randomTiles(24, 500, 3);
    const tiles = writeTiles(library, join(folder, 'split.bin'), data);
    const whole = openChunk();
    await whole.runBatch(tiles);
    const expected = whole.finish();
    for (const size of [1, 5, 24]) {
      const chunk = openChunk();
      const batches: TileInput[][] = [];
      const order = size === 5 ? tiles.toReversed() : tiles;
      for (let from = 0; from < order.length; from += size) {
        batches.push(order.slice(from, from + size));
      }
      await Promise.all(batches.map((batch) => chunk.runBatch(batch)));
      expect(chunk.progress()).toBe(24);
      expect(chunk.finish()).toEqual(expected);
      chunk.close();
    }
    whole.close();
  });

  test('keeps its peak below the estimate', async () => {
    const tiles = writeTiles(library, join(folder, 'peak.bin'), randomTiles(4, 9000, 4));
    const chunk = openChunk({ rows: true });
    const estimate = chunk.estimateBytes(36_100, 9003);
    await chunk.runBatch(tiles);
    expect(chunk.peakBytes).toBeGreaterThan(9000 * 8 * 4);
    expect(chunk.peakBytes).toBeLessThanOrEqual(estimate);
    chunk.close();
  });

  test('runs empty batches and empty tiles', async () => {
    const chunk = openChunk({ measures: 0, aggregate: false });
    expect((await chunk.runBatch([])).tiles).toEqual([]);
    const tiles = writeTiles(library, join(folder, 'empty.bin'), [
      [doubles('x', []), doubles('y', [])],
    ]);
    const { tiles: outputs } = await chunk.runBatch(tiles);
    expect(outputs[0]).toMatchObject({ rows: 0, hits: 0, outside: 0, invalid: 0 });
    expect(chunk.finish()).toEqual(
      encodePartials(0, { rows: 0, hits: 0, outside: 0, invalid: 0 }, new Map()),
    );
    chunk.close();
  });

  test('names tile and column of a checksum that differs', async () => {
    const path = join(folder, 'damaged.bin');
    const tiles = writeTiles(library, path, randomTiles(3, 100, 5));
    const bytes = readFileSync(path);
    const at = (tiles[1]?.measures[0]?.dataOffset ?? 0) + 17;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    const chunk = openChunk();
    const error = await codeOf(chunk.runBatch(tiles));
    expect(error.code).toBe('CHECKSUM_MISMATCH');
    expect(error.details).toMatchObject({ tile: 1, column: 'value' });
    expect(error.message).toContain(path);
    expect((await codeOf(chunk.runBatch(tiles))).code).toBe('BAD_STATE');
    expect(() => chunk.finish()).toThrow(/failed before/);
    chunk.close();
  });

  test('names tile and column of a file that ends too early or is missing', async () => {
    const path = join(folder, 'short.bin');
    const tiles = writeTiles(library, path, randomTiles(2, 100, 6));
    truncateSync(path, (tiles[1]?.y.dataOffset ?? 0) + 50);
    const chunk = openChunk();
    const error = await codeOf(chunk.runBatch(tiles));
    expect(error.code).toBe('SHORT_READ');
    expect(error.details).toMatchObject({ tile: 1, column: 'y' });
    chunk.close();
    const other = openChunk();
    const gone = tiles.map((tile) => ({ ...tile, path: join(folder, 'gone.bin') }));
    expect((await codeOf(other.runBatch(gone))).code).toBe('IO_ERROR');
    other.close();
  });

  test('ends with CANCELLED between tiles and can be closed while it runs', async () => {
    const tiles = writeTiles(library, join(folder, 'cancel.bin'), randomTiles(2, 10, 7));
    const chunk = openChunk();
    chunk.cancel();
    const running = codeOf(chunk.runBatch(tiles));
    chunk.close();
    expect((await running).code).toBe('CANCELLED');
    expect(() => chunk.progress()).toThrow(/closed/);
  });

  test('names tile and row of an overlap under overlap error', async () => {
    const tiles = writeTiles(library, join(folder, 'overlap.bin'), [
      [doubles('x', [1, 5]), doubles('y', [1, 1])],
      [doubles('x', [1, 1, 3, 3]), doubles('y', [1, 1, 1, 3])],
    ]);
    const chunk = openChunk({ overlap: 'error', measures: 0, aggregate: false });
    const error = await codeOf(chunk.runBatch(tiles));
    expect(error.code).toBe('OVERLAP_FOUND');
    expect(error.details).toMatchObject({ tile: 1, row: 3 });
    chunk.close();
  });

  test('refuses descriptors that do not fit', async () => {
    const tiles = writeTiles(library, join(folder, 'refuse.bin'), randomTiles(1, 10, 8));
    const chunk = openChunk();
    const first = tiles[0] as TileInput;
    const wrong: TileInput[] = [
      { ...first, rows: -1 },
      { ...first, rows: 1.5 },
      { ...first, measures: [] },
      { ...first, x: { ...first.x, dataOffset: Number.NaN } },
      { ...first, x: { ...first.x, xxh3: 'zz' } },
      { ...first, path: 'a\0b' },
    ];
    for (const tile of wrong) {
      expect((await codeOf(chunk.runBatch([tile]))).code).toBe('BAD_ARGUMENT');
    }
    await chunk.runBatch(tiles);
    chunk.close();
  });
});
