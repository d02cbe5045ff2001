// Owns aggregates before their one rounding: the value form and the canonical TLP1 bytes of it.
// I1 equal aggregates have equal bytes, whatever computed them and in whatever order.
// I2 sums are exact integers in units of 2^-1074; merging never rounds.
// Written apart from the native code, so that each can check the other.
import { DatasetError } from './errors.ts';

/** What is known of one measured column within one feature. */
export interface ColumnPartial {
  /** Values that are neither null nor NaN, infinities included. */
  readonly n: number;
  readonly nulls: number;
  readonly nans: number;
  readonly plusInf: number;
  readonly minusInf: number;
  /** Over the n values, −0.0 as +0.0; 0 when n is 0. */
  readonly min: number;
  readonly max: number;
  /** Exact sum of the finite values in units of 2^-1074. */
  readonly sum: bigint;
}

export interface FeaturePartial {
  readonly feature: number;
  readonly count: number;
  readonly columns: readonly ColumnPartial[];
}

export interface Partials {
  /** Measured columns of each entry. */
  readonly columns: number;
  readonly rows: number;
  readonly hits: number;
  readonly outside: number;
  readonly invalid: number;
  /** Features ascending; only those with a point. */
  readonly entries: readonly FeaturePartial[];
}

const MAGIC = 0x31504c54; // "TLP1", little-endian
const HEADER_BYTES = 48;
const ENTRY_BYTES = 12;
const COLUMN_BYTES = 68;

export function emptyPartials(columns: number): Partials {
  return { columns, rows: 0, hits: 0, outside: 0, invalid: 0, entries: [] };
}

export function encodePartials(partials: Partials): Uint8Array {
  const limbs = partials.entries.map((entry) => entry.columns.map((c) => limbsOf(c.sum)));
  let bytes = HEADER_BYTES;
  for (const entry of limbs) {
    bytes += ENTRY_BYTES;
    for (const sum of entry) bytes += COLUMN_BYTES + 4 * sum.limbs.length;
  }
  const out = new DataView(new ArrayBuffer(bytes));
  out.setUint32(0, MAGIC, true);
  out.setUint32(4, partials.columns, true);
  out.setUint32(8, partials.entries.length, true);
  setCount(out, 16, partials.rows);
  setCount(out, 24, partials.hits);
  setCount(out, 32, partials.outside);
  setCount(out, 40, partials.invalid);
  let at = HEADER_BYTES;
  partials.entries.forEach((entry, index) => {
    out.setUint32(at, entry.feature, true);
    setCount(out, at + 4, entry.count);
    at += ENTRY_BYTES;
    entry.columns.forEach((column, c) => {
      at = encodeColumn(out, at, column, limbs[index]?.[c] ?? ZERO_SUM);
    });
  });
  return new Uint8Array(out.buffer);
}

/**
 * Reads TLP1 bytes and checks that they are canonical: features ascending, sums normalised, counts
 * consistent, nothing behind the last entry.
 *
 * @throws {DatasetError} `PARTIALS_CORRUPT`
 */
export function decodePartials(bytes: Uint8Array): Partials {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER_BYTES || view.getUint32(0, true) !== MAGIC) {
    throw corrupt(
      `expected a TLP1 header of ${HEADER_BYTES} bytes, got ${bytes.length} other bytes`,
    );
  }
  const columns = view.getUint32(4, true);
  const count = view.getUint32(8, true);
  if (view.getUint32(12, true) !== 0) throw corrupt('expected a zero reserved field, got another');
  if (HEADER_BYTES + count * (ENTRY_BYTES + columns * COLUMN_BYTES) > bytes.length) {
    throw corrupt(
      `expected ${count} entries of ${columns} columns, got only ${bytes.length} bytes`,
    );
  }
  const cursor = { view, at: HEADER_BYTES };
  const entries: FeaturePartial[] = [];
  let previous = -1;
  for (let index = 0; index < count; index += 1) {
    need(cursor, ENTRY_BYTES);
    const feature = view.getUint32(cursor.at, true);
    const points = getCount(view, cursor.at + 4);
    cursor.at += ENTRY_BYTES;
    if (feature <= previous)
      throw corrupt(`expected features ascending, got ${feature} after ${previous}`);
    previous = feature;
    const list: ColumnPartial[] = [];
    for (let c = 0; c < columns; c += 1) list.push(decodeColumn(cursor, feature, points));
    entries.push({ feature, count: points, columns: list });
  }
  if (cursor.at !== bytes.length) throw corrupt(`expected ${cursor.at} bytes, got ${bytes.length}`);
  const [rows, hits, outside, invalid] = [16, 24, 32, 40].map((at) => getCount(view, at));
  return {
    columns,
    rows: rows ?? 0,
    hits: hits ?? 0,
    outside: outside ?? 0,
    invalid: invalid ?? 0,
    entries,
  };
}

/**
 * Adds aggregates of disjoint sets of rows. The order of the list does not matter.
 *
 * @param list never empty
 * @throws {DatasetError} `PARTIALS_MISMATCH` when they measure different numbers of columns
 */
export function mergePartials(list: readonly Partials[]): Partials {
  const first = list[0];
  if (first === undefined) {
    throw new DatasetError(
      'PARTIALS_MISMATCH',
      'nothing to merge: expected at least 1 aggregate, got 0',
    );
  }
  const byFeature = new Map<number, FeaturePartial>();
  const total = { rows: 0, hits: 0, outside: 0, invalid: 0 };
  for (const partials of list) {
    if (partials.columns !== first.columns) {
      throw new DatasetError(
        'PARTIALS_MISMATCH',
        `aggregates do not fit together: expected ${first.columns} measured columns, ` +
          `got ${partials.columns}; they belong to different runs`,
      );
    }
    total.rows += partials.rows;
    total.hits += partials.hits;
    total.outside += partials.outside;
    total.invalid += partials.invalid;
    for (const entry of partials.entries) {
      const known = byFeature.get(entry.feature);
      byFeature.set(entry.feature, known === undefined ? entry : mergeFeature(known, entry));
    }
  }
  const entries = [...byFeature.values()].sort((a, b) => a.feature - b.feature);
  return { columns: first.columns, ...total, entries };
}

/** Adds two columns of one feature; neutral element is n = 0. */
export function mergeColumn(a: ColumnPartial, b: ColumnPartial): ColumnPartial {
  return {
    n: a.n + b.n,
    nulls: a.nulls + b.nulls,
    nans: a.nans + b.nans,
    plusInf: a.plusInf + b.plusInf,
    minusInf: a.minusInf + b.minusInf,
    min: a.n === 0 ? b.min : b.n === 0 ? a.min : Math.min(a.min, b.min),
    max: a.n === 0 ? b.max : b.n === 0 ? a.max : Math.max(a.max, b.max),
    sum: a.sum + b.sum,
  };
}

function mergeFeature(a: FeaturePartial, b: FeaturePartial): FeaturePartial {
  const columns = a.columns.map((column, index) => {
    const other = b.columns[index];
    return other === undefined ? column : mergeColumn(column, other);
  });
  return { feature: a.feature, count: a.count + b.count, columns };
}

// ---- sums as limbs
// -------------------------------------------------------------------------------

interface LimbSum {
  readonly sign: -1 | 0 | 1;
  readonly low: number;
  readonly limbs: Uint32Array;
}

const ZERO_SUM: LimbSum = { sign: 0, low: 0, limbs: new Uint32Array(0) };

/** Splits an integer into 32-bit limbs, first and last non-zero. */
function limbsOf(sum: bigint): LimbSum {
  if (sum === 0n) return ZERO_SUM;
  const hex = (sum < 0n ? -sum : sum).toString(16);
  const all = new Uint32Array(Math.ceil(hex.length / 8));
  for (let index = 0; index < all.length; index += 1) {
    const end = hex.length - 8 * index;
    all[index] = Number.parseInt(hex.slice(Math.max(0, end - 8), end), 16);
  }
  let low = 0;
  while (all[low] === 0) low += 1;
  return { sign: sum < 0n ? -1 : 1, low, limbs: all.subarray(low) };
}

function sumOfLimbs(view: DataView, at: number, low: number, limbs: number): bigint {
  let hex = '0x';
  for (let index = limbs - 1; index >= 0; index -= 1) {
    hex += view
      .getUint32(at + 4 * index, true)
      .toString(16)
      .padStart(8, '0');
  }
  return BigInt(hex) << BigInt(32 * low);
}

// ---- columns
// -------------------------------------------------------------------------------------

interface Cursor {
  readonly view: DataView;
  at: number;
}

function encodeColumn(out: DataView, at: number, column: ColumnPartial, sum: LimbSum): number {
  setCount(out, at, column.n);
  setCount(out, at + 8, column.nulls);
  setCount(out, at + 16, column.nans);
  setCount(out, at + 24, column.plusInf);
  setCount(out, at + 32, column.minusInf);
  // Adding +0.0 turns −0.0 into +0.0 and leaves everything else.
  out.setFloat64(at + 40, column.n === 0 ? 0 : column.min + 0, true);
  out.setFloat64(at + 48, column.n === 0 ? 0 : column.max + 0, true);
  out.setInt32(at + 56, sum.sign, true);
  out.setUint32(at + 60, sum.low, true);
  out.setUint32(at + 64, sum.limbs.length, true);
  sum.limbs.forEach((limb, index) => out.setUint32(at + COLUMN_BYTES + 4 * index, limb, true));
  return at + COLUMN_BYTES + 4 * sum.limbs.length;
}

/** Largest lowLimb + limbs: 2^63 values below 2^1024 need 2161 bits above 2^-1074. */
const LIMBS_MAX = 68;

function decodeColumn(cursor: Cursor, feature: number, points: number): ColumnPartial {
  need(cursor, COLUMN_BYTES);
  const { view, at } = cursor;
  const n = getCount(view, at);
  const nulls = getCount(view, at + 8);
  const nans = getCount(view, at + 16);
  const sign = view.getInt32(at + 56, true);
  const low = view.getUint32(at + 60, true);
  const limbs = view.getUint32(at + 64, true);
  if (n + nulls + nans !== points) {
    throw corrupt(`expected ${points} values in feature ${feature}, got ${n + nulls + nans}`);
  }
  const zero = sign === 0;
  if (sign < -1 || sign > 1 || zero !== (limbs === 0) || (zero && low !== 0)) {
    throw corrupt(
      `expected a normalised sum in feature ${feature}, got sign ${sign}, ${limbs} limbs`,
    );
  }
  if (low + limbs > LIMBS_MAX) {
    throw corrupt(`expected at most ${LIMBS_MAX} limbs in feature ${feature}, got ${low + limbs}`);
  }
  cursor.at = at + COLUMN_BYTES;
  need(cursor, 4 * limbs);
  const first = limbs === 0 ? 1 : view.getUint32(cursor.at, true);
  const last = limbs === 0 ? 1 : view.getUint32(cursor.at + 4 * (limbs - 1), true);
  if (first === 0 || last === 0) {
    throw corrupt(`expected a sum without zero end limbs in feature ${feature}, got one`);
  }
  const magnitude = zero ? 0n : sumOfLimbs(view, cursor.at, low, limbs);
  cursor.at += 4 * limbs;
  return {
    n,
    nulls,
    nans,
    plusInf: getCount(view, at + 24),
    minusInf: getCount(view, at + 32),
    min: view.getFloat64(at + 40, true),
    max: view.getFloat64(at + 48, true),
    sum: sign < 0 ? -magnitude : magnitude,
  };
}

function need(cursor: Cursor, bytes: number): void {
  if (cursor.at + bytes > cursor.view.byteLength) {
    throw corrupt(
      `expected ${bytes} bytes at ${cursor.at}, got ${cursor.view.byteLength - cursor.at}`,
    );
  }
}

function setCount(out: DataView, at: number, count: number): void {
  out.setUint32(at, count >>> 0, true);
  out.setUint32(at + 4, Math.floor(count / 2 ** 32), true);
}

function getCount(view: DataView, at: number): number {
  const count = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
  if (!Number.isSafeInteger(count)) throw corrupt(`expected a count below 2^53, got ${count}`);
  return count;
}

function corrupt(text: string): DatasetError {
  return new DatasetError(
    'PARTIALS_CORRUPT',
    `an aggregate is not valid TLP1: ${text}; the part it came from must be computed again`,
  );
}
