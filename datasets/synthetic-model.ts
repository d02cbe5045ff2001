// Owns the law of the synthetic point stream: who emits which rows. Emitters are neighbourhoods of
// real cities (weight population^0.9, hierarchical Thomas clusters), cells of a uniform 2 % "sea",
// and border segments of a layer (0.01 % of the rows lie on its vertices and edges). They are
// sorted along a Hilbert curve and own consecutive rows, so a tile holds neighbours in space.
// I1 the model is a function of its options; a row is a function of the model and the row's number.
import { WORLD, loadCities, loadCountySegments } from './cities.ts';
import { hilbertKey } from './hilbert.ts';
import { fraction, normal, philox } from './random.ts';

export const KIND_CLUSTER = 0;
export const KIND_SEA = 1;
export const KIND_SEGMENT = 2;

/**
 * Numbers per emitter: cluster x, y, sigma x, sigma y; sea x, y, width, height; segment x1, y1, x2,
 * y2.
 */
export const SHAPE_NUMBERS = 4;

/** Plain data on shared memory, so that worker threads can read one copy of it. */
export interface SyntheticModel {
  readonly rows: number;
  readonly seed: number;
  readonly tileRows: number;
  readonly ordered: boolean;
  readonly emitters: number;
  readonly kinds: Uint8Array;
  readonly shapes: Float64Array;
  /** First row of each emitter, in curve order; one more at the end. */
  readonly firstRows: Float64Array;
}

export interface SyntheticOptions {
  readonly rows: number;
  readonly seed: number;
  readonly tileRows: number;
  readonly ordered: boolean;
  /** Border segments, four numbers each; null: the US counties. */
  readonly segments: Float64Array | null;
}

const SEA_SHARE = 0.02;
const BORDER_SHARE = 0.0001;
const SEA_COLUMNS = 128;
const SEA_ROWS = 64;
const SEGMENTS_MAX = 2 ** 20;
const STREAM_CITY = 0x43495459;

interface EmitterList {
  readonly kinds: number[];
  readonly shapes: number[];
  readonly weights: number[];
  readonly keys: number[];
}

export function buildModel(options: SyntheticOptions): SyntheticModel {
  const list: EmitterList = { kinds: [], shapes: [], weights: [], keys: [] };
  const cityWeight = addCities(list, options.seed);
  const perShare = cityWeight / (1 - SEA_SHARE - BORDER_SHARE);
  addSea(list, perShare * SEA_SHARE);
  addSegments(list, options.segments ?? loadCountySegments(), perShare * BORDER_SHARE);
  return inCurveOrder(list, options);
}

/** @returns the weight of all cities together */
function addCities(list: EmitterList, seed: number): number {
  const words = new Uint32Array(4);
  const weights = new Map<number, number>();
  let total = 0;
  loadCities().forEach((city, index) => {
    const weight = weights.get(city.population) ?? powerNineTenths(city.population);
    weights.set(city.population, weight);
    const root = Math.sqrt(weight);
    const neighbourhoods = Math.min(256, 1 + Math.floor(root / 12));
    const spread = 0.004 * Math.sqrt(root);
    const stretch = 1 / Math.max(0.05, cosineOfDegrees(city.latitude));
    for (let number = 0; number < neighbourhoods; number += 1) {
      philox(words, index, number, STREAM_CITY, 0, seed, 1);
      const [w0 = 0, w1 = 0, w2 = 0, w3 = 0] = words;
      const x = city.longitude + normal(w0) * spread * stretch;
      const y = city.latitude + normal(w1) * spread;
      const sigma = spread * (0.08 + 0.25 * fraction(w2));
      const share = Math.max(
        1,
        Math.floor((1024 * weight * (0.25 + 1.5 * fraction(w3))) / neighbourhoods),
      );
      add(list, KIND_CLUSTER, [x, y, sigma * stretch, sigma], share, [x, y]);
      total += share;
    }
  });
  return total;
}

function addSea(list: EmitterList, weight: number): void {
  const [width, height] = [360 / SEA_COLUMNS, 180 / SEA_ROWS];
  for (let row = 0; row < SEA_ROWS; row += 1) {
    for (let column = 0; column < SEA_COLUMNS; column += 1) {
      const [x, y] = [-180 + column * width, -90 + row * height];
      const share = weight / (SEA_COLUMNS * SEA_ROWS);
      add(list, KIND_SEA, [x, y, width, height], share, [x + width / 2, y + height / 2]);
    }
  }
}

function addSegments(list: EmitterList, segments: Float64Array, weight: number): void {
  const given = Math.floor(segments.length / SHAPE_NUMBERS);
  // Of a layer with very many segments an even selection is enough for one row in ten thousand.
  const step = Math.max(1, Math.ceil(given / SEGMENTS_MAX));
  const count = Math.ceil(given / step);
  for (let index = 0; index < count; index += 1) {
    const at = SHAPE_NUMBERS * step * index;
    const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = segments.subarray(at, at + SHAPE_NUMBERS);
    add(list, KIND_SEGMENT, [x1, y1, x2, y2], weight / count, [x1, y1]);
  }
}

function add(
  list: EmitterList,
  kind: number,
  shape: readonly [number, number, number, number],
  weight: number,
  place: readonly [number, number],
): void {
  list.kinds.push(kind);
  list.shapes.push(...shape);
  list.weights.push(weight);
  list.keys.push(hilbertKey(place[0], place[1], WORLD));
}

function inCurveOrder(list: EmitterList, options: SyntheticOptions): SyntheticModel {
  const emitters = list.kinds.length;
  // Key and number fit one double (32 + 21 bits), which sorts without a comparator.
  if (emitters > 2 ** 21) throw new RangeError(`${emitters} emitters are more than 2^21`);
  const order = Float64Array.from(list.keys, (key, index) => key * 2 ** 21 + index);
  order.sort();
  const kinds = new Uint8Array(new SharedArrayBuffer(emitters));
  const shapes = new Float64Array(new SharedArrayBuffer(8 * SHAPE_NUMBERS * emitters));
  const cumulative = new Float64Array(emitters + 1);
  order.forEach((keyed, to) => {
    const from = keyed % 2 ** 21;
    kinds[to] = list.kinds[from] ?? 0;
    for (let number = 0; number < SHAPE_NUMBERS; number += 1) {
      shapes[SHAPE_NUMBERS * to + number] = list.shapes[SHAPE_NUMBERS * from + number] ?? 0;
    }
    cumulative[to + 1] = (cumulative[to] ?? 0) + (list.weights[from] ?? 0);
  });
  const firstRows = new Float64Array(new SharedArrayBuffer(8 * (emitters + 1)));
  const total = cumulative[emitters] ?? 1;
  for (let emitter = 0; emitter < emitters; emitter += 1) {
    firstRows[emitter] = Math.floor(((cumulative[emitter] ?? 0) / total) * options.rows);
  }
  firstRows[emitters] = options.rows;
  const { rows, seed, tileRows, ordered } = options;
  return { rows, seed, tileRows, ordered, emitters, kinds, shapes, firstRows };
}

/** ⌊population^0.9⌋, at least 1, found in integers: the largest w with w^10 ≤ p^9. */
export function powerNineTenths(population: number): number {
  const p = BigInt(Math.max(1, Math.floor(population)));
  const target = p ** 9n;
  let w = BigInt(Math.max(1, Math.floor(Math.pow(Number(p), 0.9))));
  while (w > 1n && w ** 10n > target) w -= 1n;
  while ((w + 1n) ** 10n <= target) w += 1n;
  return Number(w);
}

/**
 * Bhaskara's approximation of the cosine: rational, hence the same on each machine; error below
 * 0.002.
 */
function cosineOfDegrees(degrees: number): number {
  const square = degrees * degrees;
  return (4 * (8100 - square)) / (32400 + square);
}
