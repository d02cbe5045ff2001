// Owns seeded points for the kernel benchmarks.

export interface Points {
  readonly x: Float64Array;
  readonly y: Float64Array;
}

export interface Box {
  readonly minX: number;
  readonly minY: number;
  readonly maxX: number;
  readonly maxY: number;
}

/** The contiguous United States: where county benchmarks put their points. */
export const CONTIGUOUS_US: Box = { minX: -124.8, minY: 24.5, maxX: -66.9, maxY: 49.4 };
export const WORLD: Box = { minX: -180, minY: -90, maxX: 180, maxY: 90 };

/** Mulberry32: small, seeded, good enough to scatter points. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomPoints(count: number, box: Box, seed: number): Points {
  const random = randomOf(seed);
  const x = new Float64Array(count);
  const y = new Float64Array(count);
  for (let index = 0; index < count; index += 1) {
    x[index] = box.minX + (box.maxX - box.minX) * (random() + random() * 2 ** -32);
    y[index] = box.minY + (box.maxY - box.minY) * (random() + random() * 2 ** -32);
  }
  return { x, y };
}

/** The same points in the order of 64 × 32 tiles, as a tiled pipeline would feed them. */
export function tileOrdered(points: Points, box: Box): Points {
  const count = points.x.length;
  const columns = 64;
  const rows = 32;
  const tiles = new Int32Array(count);
  const starts = new Int32Array(columns * rows + 1);
  for (let index = 0; index < count; index += 1) {
    const column = Math.floor(
      (((points.x[index] ?? 0) - box.minX) / (box.maxX - box.minX)) * columns,
    );
    const row = Math.floor((((points.y[index] ?? 0) - box.minY) / (box.maxY - box.minY)) * rows);
    const tile = Math.min(row, rows - 1) * columns + Math.min(column, columns - 1);
    tiles[index] = tile;
    starts[tile + 1] = (starts[tile + 1] ?? 0) + 1;
  }
  for (let tile = 0; tile < columns * rows; tile += 1) {
    starts[tile + 1] = (starts[tile + 1] ?? 0) + (starts[tile] ?? 0);
  }
  const x = new Float64Array(count);
  const y = new Float64Array(count);
  for (let index = 0; index < count; index += 1) {
    const tile = tiles[index] ?? 0;
    const to = starts[tile] ?? 0;
    starts[tile] = to + 1;
    x[to] = points.x[index] ?? 0;
    y[to] = points.y[index] ?? 0;
  }
  return { x, y };
}
