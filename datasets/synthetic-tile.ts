// Owns one tile of the synthetic stream: columns lon, lat, timestamp, value. Any tile can be made
// alone.
import type { ColumnSpec, ColumnType } from './format.ts';
import { createPermutation, fraction, normal, philox } from './random.ts';
import { KIND_CLUSTER, KIND_SEA, SHAPE_NUMBERS, type SyntheticModel } from './synthetic-model.ts';
import type { Tile } from './tile-values.ts';

export const SYNTHETIC_COLUMNS: readonly ColumnSpec[] = [
  { name: 'lon', type: 'float64' },
  { name: 'lat', type: 'float64' },
  { name: 'timestamp', type: 'timestamp' },
  { name: 'value', type: 'float64' },
];
export const SYNTHETIC_TYPES: readonly ColumnType[] = SYNTHETIC_COLUMNS.map(({ type }) => type);

const STREAM_PLACE = 0x504c4143;
const STREAM_VALUE = 0x56414c55;
/** 2024-01-01T00:00:00Z, and the length of that year, in milliseconds. */
const YEAR_START = 1_704_067_200_000;
const YEAR_LENGTH = 31_622_400_000;
const WORD = 4_294_967_296;

/** Shares of rows, as bounds on a 32-bit word, cumulative. */
const COORDINATE_NULL = Math.floor(0.0001 * WORD);
const COORDINATE_NAN = Math.floor(0.0002 * WORD);
const VALUE_NULL = Math.floor(0.005 * WORD);
const VALUE_NAN = Math.floor(0.0055 * WORD);

const GUIDE_BITS = 20;

/** Makes tiles of one model; not shared between threads. */
export function createTileMaker(model: SyntheticModel): (tile: number) => Tile {
  const emitterOf = createEmitterSearch(model);
  const permute = model.ordered ? null : createPermutation(model.rows, model.seed);
  return (tile) => {
    const first = tile * model.tileRows;
    const rows = Math.min(model.tileRows, model.rows - first);
    const out = createColumns(rows);
    let emitter = emitterOf(first);
    for (let row = 0; row < rows; row += 1) {
      const index = permute === null ? first + row : permute(first + row);
      if (permute !== null) emitter = emitterOf(index);
      else while (index >= (model.firstRows[emitter + 1] as number)) emitter += 1;
      fillRow(model, emitter, index, row, out);
    }
    return tileOf(rows, out);
  };
}

interface Columns {
  readonly words: Uint32Array;
  readonly lon: Float64Array;
  readonly lat: Float64Array;
  readonly time: BigInt64Array;
  /** The same memory in halves: low, high. */
  readonly timeHalves: Uint32Array;
  readonly value: Float64Array;
  readonly nullPlaces: Uint8Array;
  readonly nullValues: Uint8Array;
  nullPlaceCount: number;
  nullValueCount: number;
}

function createColumns(rows: number): Columns {
  const time = new BigInt64Array(rows);
  return {
    words: new Uint32Array(4),
    lon: new Float64Array(rows),
    lat: new Float64Array(rows),
    time,
    timeHalves: new Uint32Array(time.buffer),
    value: new Float64Array(rows),
    nullPlaces: new Uint8Array(Math.ceil(rows / 8)),
    nullValues: new Uint8Array(Math.ceil(rows / 8)),
    nullPlaceCount: 0,
    nullValueCount: 0,
  };
}

function fillRow(
  model: SyntheticModel,
  emitter: number,
  index: number,
  row: number,
  out: Columns,
): void {
  const { words } = out;
  const low = index % WORD;
  const high = Math.floor(index / WORD);
  philox(words, low, high, STREAM_PLACE, 0, model.seed, 2);
  const unusual = words[2] as number;
  const time = YEAR_START + Math.floor(((words[3] as number) / WORD) * YEAR_LENGTH);
  out.timeHalves[2 * row] = time % WORD;
  out.timeHalves[2 * row + 1] = Math.floor(time / WORD);
  if (unusual < COORDINATE_NULL) {
    out.nullPlaces[row >> 3] = (out.nullPlaces[row >> 3] as number) | (1 << (row & 7));
    out.nullPlaceCount += 1;
  } else {
    place(model, emitter, row, out);
    if (unusual < COORDINATE_NAN) out.lat[row] = Number.NaN;
  }
  philox(words, low, high, STREAM_VALUE, 0, model.seed, 3);
  const fate = words[2] as number;
  if (fate < VALUE_NULL) {
    out.nullValues[row >> 3] = (out.nullValues[row >> 3] as number) | (1 << (row & 7));
    out.nullValueCount += 1;
  } else if (fate < VALUE_NAN) out.value[row] = Number.NaN;
  else {
    const size = normal(words[0] as number);
    out.value[row] =
      Math.round((3 + 12 * size * size + 2 * fraction(words[1] as number)) * 100) / 100;
  }
}

/** Where a row lies; words 0 and 1 decide. Only borders keep all digits of their vertices. */
function place(model: SyntheticModel, emitter: number, row: number, out: Columns): void {
  const { shapes } = model;
  const at = SHAPE_NUMBERS * emitter;
  const x = shapes[at] as number;
  const y = shapes[at + 1] as number;
  const width = shapes[at + 2] as number;
  const height = shapes[at + 3] as number;
  const w0 = out.words[0] as number;
  const w1 = out.words[1] as number;
  const kind = model.kinds[emitter];
  if (kind === KIND_CLUSTER) {
    out.lon[row] = onGrid(wrapped(x + normal(w0) * width));
    out.lat[row] = onGrid(Math.max(-90, Math.min(90, y + normal(w1) * height)));
  } else if (kind === KIND_SEA) {
    out.lon[row] = onGrid(x + fraction(w0) * width);
    out.lat[row] = onGrid(y + fraction(w1) * height);
  } else if ((w0 & 1) === 0) {
    out.lon[row] = x;
    out.lat[row] = y;
  } else {
    const part = fraction(w1);
    out.lon[row] = x + part * (width - x);
    out.lat[row] = y + part * (height - y);
  }
}

/** Rounds to 1e-7 degrees, about a centimetre, as positioning services do; never −0. */
function onGrid(degrees: number): number {
  return Math.round(degrees * 1e7) / 1e7 + 0;
}

function wrapped(longitude: number): number {
  if (longitude >= 180) return longitude - 360;
  return longitude < -180 ? longitude + 360 : longitude;
}

function tileOf(rows: number, out: Columns): Tile {
  const valid = (nulls: Uint8Array, count: number): Uint8Array | null => {
    if (count === 0) return null;
    // Bits past the last row stay zero: checksums cover whole bytes.
    const bits = nulls.map((byte) => ~byte & 0xff);
    if ((rows & 7) !== 0) bits[rows >> 3] = (bits[rows >> 3] as number) & ((1 << (rows & 7)) - 1);
    return bits;
  };
  const places = valid(out.nullPlaces, out.nullPlaceCount);
  return {
    rows,
    columns: [
      { values: out.lon, validity: places },
      { values: out.lat, validity: places },
      { values: out.time, validity: null },
      { values: out.value, validity: valid(out.nullValues, out.nullValueCount) },
    ],
  };
}

/** Finds the emitter of a row: a guide table over equal steps of rows, then a short walk. */
function createEmitterSearch(model: SyntheticModel): (row: number) => number {
  const { firstRows, emitters, rows } = model;
  const steps = model.ordered ? 1024 : 1 << GUIDE_BITS;
  const guide = new Uint32Array(steps + 1);
  let emitter = 0;
  for (let step = 0; step < steps; step += 1) {
    const row = Math.floor((step * rows) / steps);
    while (emitter < emitters - 1 && row >= (firstRows[emitter + 1] as number)) emitter += 1;
    guide[step] = emitter;
  }
  return (row) => {
    // One step back: the division may round up to a step that begins behind the row.
    let found = guide[Math.max(0, Math.floor((row / rows) * steps) - 1)] as number;
    while (row >= (firstRows[found + 1] as number)) found += 1;
    return found;
  };
}
