import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openKernels } from '../../native/index.ts';
import { units } from './helpers/exact.ts';

const library = openKernels();

/** Nearest double to numerator / denominator × 2^-1074, ties to even, by BigInt division. */
function roundedRatio(numerator: bigint, denominator: bigint): number {
  const negative = numerator < 0n;
  const scaled = (negative ? -numerator : numerator) << 64n;
  let low = 0n;
  let high = 0x7ff0_0000_0000_0000n;
  // Bisect over the bit patterns of non-negative doubles, infinity included as 2^1024.
  const valueOf = (bits: bigint): bigint => {
    const biased = bits >> 52n;
    const fraction = bits & ((1n << 52n) - 1n);
    return biased === 0n ? fraction : (fraction | (1n << 52n)) << (biased - 1n);
  };
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if ((valueOf(middle) << 64n) * denominator <= scaled) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const twice = 2n * scaled;
  const midpoint = ((valueOf(low) + valueOf(high)) << 64n) * denominator;
  const chosen = twice > midpoint || (twice === midpoint && (low & 1n) === 1n) ? high : low;
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, chosen);
  const value = view.getFloat64(0);
  return value === 0 ? 0 : negative ? -value : value;
}

const finite = fc.double({ noNaN: true, noDefaultInfinity: true });
const moderate = fc.double({ noNaN: true, min: -1e6, max: 1e6 });
const lists = fc.oneof(
  fc.array(finite, { maxLength: 60 }),
  fc.array(moderate, { maxLength: 200 }),
  fc.array(fc.oneof(moderate, fc.constantFrom(-3.4028234663852886e38, 0, -0, 1e-300))),
);

describe('exactSum', () => {
  test('equals the exact rational sum and mean, rounded once, for any split and order', () => {
    fc.assert(
      fc.property(
        lists,
        fc.integer({ min: 1, max: 9 }),
        fc.boolean(),
        (values, splits, reverse) => {
          const total = values.reduce((sum, value) => sum + units(value), 0n);
          const got = library.exactSum(reverse ? values.toReversed() : values, splits);
          expect(got.count).toBe(values.length);
          if (values.length > 0) {
            expect(got.sum).toBe(roundedRatio(total, 1n));
            expect(got.mean).toBe(roundedRatio(total, BigInt(values.length)));
            expect(got.min).toBe(Math.min(...values) + 0);
            expect(got.max).toBe(Math.max(...values) + 0);
          }
        },
      ),
      { numRuns: 1500, seed: 7 },
    );
  });

  test('keeps a hundred thousand values of mixed size exact', () => {
    const values = Array.from(
      { length: 100_000 },
      (_, index) => Math.sin(index) * 10 ** (index % 17),
    );
    const total = values.reduce((sum, value) => sum + units(value), 0n);
    for (const splits of [1, 2, 97]) {
      expect(library.exactSum(values, splits).sum).toBe(roundedRatio(total, 1n));
    }
  });

  test('counts nulls, NaN and infinities apart', () => {
    expect(library.exactSum([null, 1, Number.NaN, 2, null])).toEqual({
      ...{
        count: 2,
        nulls: 2,
        nans: 1,
        plusInf: 0,
        minusInf: 0,
        sum: 3,
        mean: 1.5,
        min: 1,
        max: 2,
      },
    });
    expect(library.exactSum([Infinity, 1]).sum).toBe(Infinity);
    expect(library.exactSum([Infinity, -Infinity]).mean).toBeNaN();
    expect(library.exactSum([null])).toMatchObject({ count: 0, sum: null, mean: null, min: null });
  });
});
