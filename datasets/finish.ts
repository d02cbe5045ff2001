// Owns the one rounding of aggregates: exact sums and counts become doubles, nearest, ties to even.
// Conventions: shared conformance corpus. ±Inf among the values gives ±Inf, both give NaN; a result
// that is or rounds to zero is +0.0; without values everything but the count is null.
import type { ColumnPartial, Partials } from './partials.ts';
import { DatasetError } from './errors.ts';

/** Sums are integers in units of 2^-1074, the least positive double. */
export const UNIT_EXPONENT = -1074;

export interface MeasureRequest {
  readonly kind: 'count' | 'sum' | 'mean' | 'min' | 'max';
  readonly column?: string;
}

export interface FinishedFeature {
  readonly feature: number;
  readonly count: number;
  /** One per requested measure; null where no value was counted. */
  readonly values: readonly (number | null)[];
}

export interface FinishedColumn {
  readonly count: number;
  readonly sum: number | null;
  readonly mean: number | null;
  readonly min: number | null;
  readonly max: number | null;
}

/**
 * Rounds an aggregate to the measures of a spec.
 *
 * @param columns names of the measured columns in the order of the partials
 * @returns features ascending; only those with a point
 * @throws {DatasetError} `COLUMN_MISSING` when a measure asks for a column that was not measured
 */
export function finishAggregate(
  partials: Partials,
  measures: readonly MeasureRequest[],
  columns: readonly string[],
): FinishedFeature[] {
  const wanted = measures.map((measure) => {
    if (measure.kind === 'count') return { kind: measure.kind, at: -1 };
    const at = columns.indexOf(measure.column ?? '');
    if (at < 0 || at >= partials.columns) {
      throw new DatasetError(
        'COLUMN_MISSING',
        `the measure ${measure.kind} of "${measure.column ?? ''}" cannot be finished: ` +
          'expected one of ' +
          `${columns.join(', ') || 'no columns'}, got "${measure.column ?? ''}"`,
      );
    }
    return { kind: measure.kind, at };
  });
  return partials.entries.map((entry) => {
    const finished = entry.columns.map(finishColumn);
    const values = wanted.map(({ kind, at }) =>
      kind === 'count' ? entry.count : (finished[at]?.[kind] ?? null),
    );
    return { feature: entry.feature, count: entry.count, values };
  });
}

/** Rounds one column; sum and mean are rounded apart, the mean from the exact sum. */
export function finishColumn(column: ColumnPartial): FinishedColumn {
  if (column.n === 0) return { count: 0, sum: null, mean: null, min: null, max: null };
  const infinite = infinityOf(column);
  return {
    count: column.n,
    sum: infinite ?? roundRational(column.sum, 1n),
    mean: infinite ?? roundRational(column.sum, BigInt(column.n)),
    min: column.min + 0,
    max: column.max + 0,
  };
}

function infinityOf(column: ColumnPartial): number | null {
  if (column.plusInf > 0) return column.minusInf > 0 ? Number.NaN : Number.POSITIVE_INFINITY;
  return column.minusInf > 0 ? Number.NEGATIVE_INFINITY : null;
}

/**
 * Rounds numerator / denominator × 2^-1074 to the nearest double, ties to even; overflow is
 * infinite.
 *
 * @param denominator positive
 */
export function roundRational(numerator: bigint, denominator: bigint): number {
  if (numerator === 0n) return 0;
  const negative = numerator < 0n;
  const magnitude = negative ? -numerator : numerator;
  // In units of 2^-1074 a quotient below 2^53 is rounded to an integer; above, 53 bits are kept.
  const excess = bitLength(magnitude / denominator) - 53;
  const shift = BigInt(Math.max(0, excess));
  const divisor = denominator << shift;
  let quotient = magnitude / divisor;
  const twice = (magnitude - quotient * divisor) << 1n;
  if (twice > divisor || (twice === divisor && (quotient & 1n) === 1n)) quotient += 1n;
  const exponent = Number(shift) + UNIT_EXPONENT;
  const result = scale(Number(quotient), exponent);
  return negative && result !== 0 ? -result : result;
}

/** quotient × 2^exponent, exact because the caller has rounded already; at most 2^53 × 2^971. */
function scale(quotient: number, exponent: number): number {
  if (exponent > 971) return Number.POSITIVE_INFINITY;
  if (exponent >= -1022) return quotient * 2 ** exponent;
  return quotient * 2 ** (exponent + 52) * 2 ** -52;
}

function bitLength(value: bigint): number {
  if (value === 0n) return 0;
  const hex = value.toString(16);
  return 4 * (hex.length - 1) + (32 - Math.clz32(Number.parseInt(hex[0] ?? '0', 16)));
}

/**
 * The exact value of a finite double in units of 2^-1074.
 */
export function exactUnits(value: number): bigint {
  if (value === 0) return 0n;
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const biased = (bits >> 52n) & 0x7ffn;
  const fraction = bits & 0xfffffffffffffn;
  const magnitude = biased === 0n ? fraction : (fraction | 0x10000000000000n) << (biased - 1n);
  return value < 0 ? -magnitude : magnitude;
}

/** Aggregates plain values; the reference that tests and small callers use. */
export function partialOfValues(values: Iterable<number | null>): ColumnPartial {
  let [n, nulls, nans, plusInf, minusInf] = [0, 0, 0, 0, 0];
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let sum = 0n;
  for (const value of values) {
    if (value === null) nulls += 1;
    else if (Number.isNaN(value)) nans += 1;
    else {
      n += 1;
      min = Math.min(min, value + 0);
      max = Math.max(max, value + 0);
      if (value === Number.POSITIVE_INFINITY) plusInf += 1;
      else if (value === Number.NEGATIVE_INFINITY) minusInf += 1;
      else sum += exactUnits(value);
    }
  }
  if (n === 0) [min, max] = [0, 0];
  return { n, nulls, nans, plusInf, minusInf, min, max, sum };
}
