// Owns independent oracles in BigInt arithmetic: orientation, point in polygon, and TLP1 partials.
import type { Area } from './geometry.ts';

/** A double as an integer multiple of 2^-1074: exact for every finite double. */
export function units(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const biased = Number((bits >> 52n) & 2047n);
  const fraction = bits & ((1n << 52n) - 1n);
  const magnitude = biased === 0 ? fraction : (fraction | (1n << 52n)) << BigInt(biased - 1);
  return bits >> 63n === 1n ? -magnitude : magnitude;
}

type Point = readonly [bigint, bigint];

function orientation(a: Point, b: Point, p: Point): bigint {
  return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]);
}

export function orientationSign(
  a: readonly [number, number],
  b: readonly [number, number],
  p: readonly [number, number],
): number {
  const exact = orientation(
    [units(a[0]), units(a[1])],
    [units(b[0]), units(b[1])],
    [units(p[0]), units(p[1])],
  );
  return exact > 0n ? 1 : exact < 0n ? -1 : 0;
}

/** Polygons with coordinates as integers, so that many points can be asked cheaply. */
export type ExactPart = readonly (readonly Point[])[];

export function exactParts(area: Area): ExactPart[] {
  const parts = area.type === 'Polygon' ? [area.coordinates] : area.coordinates;
  return parts.map((rings) =>
    rings.map((ring) =>
      ring.map((at): Point => [units((at[0] ?? 0) + 0), units((at[1] ?? 0) + 0)]),
    ),
  );
}

export interface PartState {
  readonly inside: boolean;
  readonly onBorder: boolean;
}

function partState(part: ExactPart, p: Point): PartState {
  let inside = false;
  let onBorder = false;
  for (const ring of part) {
    for (let at = 0; at + 1 < ring.length; at += 1) {
      const a = ring[at] as Point;
      const b = ring[at + 1] as Point;
      const lower = a[1] <= b[1] ? a : b;
      const upper = a[1] <= b[1] ? b : a;
      const sign = orientation(lower, upper, p);
      inside = inside !== (lower[1] <= p[1] && p[1] < upper[1] && sign > 0n);
      const between = (low: bigint, value: bigint, high: bigint): boolean =>
        low < high ? low <= value && value <= high : high <= value && value <= low;
      onBorder ||= sign === 0n && between(a[0], p[0], b[0]) && between(a[1], p[1], b[1]);
    }
  }
  return { inside, onBorder };
}

/** Features that hold a finite point, ascending. */
export function featuresOf(
  layer: readonly (readonly ExactPart[])[],
  boundary: 'half-open' | 'covers' | 'contains',
  x: number,
  y: number,
): number[] {
  const p: Point = [units(x), units(y)];
  return layer.flatMap((parts, feature) => {
    const holds = parts.some((part) => {
      const { inside, onBorder } = partState(part, p);
      if (boundary === 'covers') {
        return inside || onBorder;
      }
      return boundary === 'contains' ? inside && !onBorder : inside;
    });
    return holds ? [feature] : [];
  });
}

export interface ExpectedMeasure {
  n: bigint;
  nulls: bigint;
  nans: bigint;
  plusInf: bigint;
  minusInf: bigint;
  min: number;
  max: number;
  sum: bigint;
}

export function emptyMeasure(): ExpectedMeasure {
  const zero = { n: 0n, nulls: 0n, nans: 0n, plusInf: 0n, minusInf: 0n, sum: 0n };
  return { ...zero, min: Infinity, max: -Infinity };
}

/** Adds one value under the rules of design §7; a bigint is an int64. */
export function addValue(into: ExpectedMeasure, value: number | bigint | null): void {
  if (value === null) {
    into.nulls += 1n;
    return;
  }
  const number = Number(value) + 0;
  if (Number.isNaN(number)) {
    into.nans += 1n;
    return;
  }
  into.n += 1n;
  into.min = Math.min(into.min, number);
  into.max = Math.max(into.max, number);
  if (number === Infinity) {
    into.plusInf += 1n;
  } else if (number === -Infinity) {
    into.minusInf += 1n;
  } else {
    into.sum += typeof value === 'bigint' ? value << 1074n : units(number);
  }
}

export interface ExpectedEntry {
  count: bigint;
  readonly measures: ExpectedMeasure[];
}

export interface ExpectedCounts {
  readonly rows: number;
  readonly hits: number;
  readonly outside: number;
  readonly invalid: number;
}

/** TLP1 bytes (docs/formats.md), written from the format's text. */
export function encodePartials(
  columns: number,
  counts: ExpectedCounts,
  entries: ReadonlyMap<number, ExpectedEntry>,
): Uint8Array {
  const bytes: number[] = [...new TextEncoder().encode('TLP1')];
  const put = (value: bigint, size: number): void => {
    const wrapped = BigInt.asUintN(size * 8, value);
    for (let index = 0; index < size; index += 1) {
      bytes.push(Number((wrapped >> BigInt(8 * index)) & 255n));
    }
  };
  const putDouble = (value: number): void => {
    bytes.push(...new Uint8Array(Float64Array.of(value).buffer));
  };
  put(BigInt(columns), 4);
  put(BigInt(entries.size), 4);
  put(0n, 4);
  for (const count of [counts.rows, counts.hits, counts.outside, counts.invalid]) {
    put(BigInt(count), 8);
  }
  for (const feature of [...entries.keys()].toSorted((a, b) => a - b)) {
    const entry = entries.get(feature) as ExpectedEntry;
    put(BigInt(feature), 4);
    put(entry.count, 8);
    for (const one of entry.measures) {
      for (const count of [one.n, one.nulls, one.nans, one.plusInf, one.minusInf]) {
        put(count, 8);
      }
      putDouble(one.n === 0n ? 0 : one.min + 0);
      putDouble(one.n === 0n ? 0 : one.max + 0);
      putSum(one.sum, put);
    }
  }
  return Uint8Array.from(bytes);
}

function putSum(sum: bigint, put: (value: bigint, size: number) => void): void {
  const limbs: bigint[] = [];
  for (let rest = sum < 0n ? -sum : sum; rest > 0n; rest >>= 32n) {
    limbs.push(rest & 0xffff_ffffn);
  }
  const low = Math.max(
    limbs.findIndex((limb) => limb !== 0n),
    0,
  );
  put(sum === 0n ? 0n : sum > 0n ? 1n : -1n, 4);
  put(BigInt(low), 4);
  put(BigInt(limbs.length - low), 4);
  limbs.slice(low).forEach((limb) => put(limb, 4));
}
