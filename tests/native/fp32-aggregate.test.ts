// Sums as the fused CUDA kernels add them up, as host code with warps of 32 lanes: equal to the exact
// sums of this library, however rows fall into warps. (host_kernels.cpp)
import { join } from 'node:path';
import fc from 'fast-check';
import koffi from 'koffi';
import { describe, expect, test } from 'vitest';
import { openKernels } from '../../native/index.ts';

const HOST = join(
  import.meta.dirname,
  '..',
  '..',
  'native',
  'build',
  'libtileloom_host_kernels.so',
);
const RESULT_BYTES = 72;
const library = openKernels();
const aggregate = koffi
  .load(HOST)
  .func(
    'int tl_test_aggregate(const void *values, const void *validity, const void *ids, uint64_t rows, uint32_t integers, uint32_t features, uint32_t together, void *out, void *counts)',
  );

type Value = number | bigint | null;
interface Row {
  readonly id: number;
  readonly value: Value;
}

function aggregated(rows: readonly Row[], features: number, together: boolean) {
  const integers = rows.some((row) => typeof row.value === 'bigint');
  const values = integers
    ? BigInt64Array.from(rows, (row) => BigInt(row.value ?? 0))
    : Float64Array.from(rows, (row) => Number(row.value ?? Number.NaN));
  const validity = new Uint8Array(Math.ceil(rows.length / 8));
  rows.forEach((row, index) => {
    if (row.value !== null) validity[index >> 3] = (validity[index >> 3] ?? 0) | (1 << (index & 7));
  });
  const ids = Int32Array.from(rows, (row) => row.id);
  const out = new DataView(new ArrayBuffer(RESULT_BYTES * features));
  const counts = new Uint32Array(features);
  const nulls = rows.some((row) => row.value === null);
  const bytes = new Uint8Array(out.buffer);
  const options = [rows.length, integers ? 1 : 0, features, together ? 1 : 0] as const;
  aggregate(values, nulls ? validity : null, ids, ...options, bytes, counts);
  return Array.from({ length: features }, (_, feature) => {
    const at = feature * RESULT_BYTES;
    const count = (index: number): number => Number(out.getBigUint64(at + 8 * index, true));
    const real = (index: number): number => out.getFloat64(at + 8 * index, true);
    return {
      rows: counts[feature],
      ...{
        count: count(0),
        nulls: count(1),
        nans: count(2),
        plusInf: count(3),
        minusInf: count(4),
      },
      ...{ sum: real(5), mean: real(6), min: real(7), max: real(8) },
    };
  });
}

function expectedOf(rows: readonly Row[], feature: number) {
  const values = rows.filter((row) => row.id === feature).map((row) => row.value);
  if (values.some((value) => typeof value === 'bigint')) {
    const known = values.filter((value) => typeof value === 'bigint');
    const total = known.reduce((sum, value) => sum + value, 0n);
    const asDoubles = known.map(Number);
    return {
      ...{ rows: values.length, count: known.length, nulls: values.length - known.length },
      ...{ sum: Number(total), min: Math.min(...asDoubles), max: Math.max(...asDoubles) },
    };
  }
  const exact = library.exactSum(values as (number | null)[]);
  const finite = library.exactSum(
    (values as (number | null)[]).filter((value) => value !== null && Number.isFinite(value)),
  );
  return {
    ...{ rows: values.length, count: exact.count, nulls: exact.nulls, nans: exact.nans },
    ...{ plusInf: exact.plusInf, minusInf: exact.minusInf },
    ...{ sum: finite.sum ?? 0, min: exact.min ?? 0, max: exact.max ?? 0 },
  };
}

const bits = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((pattern) => {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, pattern);
  return view.getFloat64(0);
});
const doubles = fc.oneof(
  bits,
  fc.double(),
  fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  fc.constantFrom(0, -0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308),
  fc.constantFrom(-1.7976931348623157e308, Infinity, -Infinity, Number.NaN, null),
);
const integers = fc.oneof(
  fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
  fc.constantFrom(-(1n << 63n), (1n << 63n) - 1n, 0n, -1n, 1n << 32n, -(1n << 31n), null),
);

/** Rows in runs of one feature, as in tile order; ids below 0 are in none. */
function rowsOf(values: fc.Arbitrary<Value>, features: number): fc.Arbitrary<Row[]> {
  const run = fc.record({
    id: fc.integer({ min: -3, max: features - 1 }),
    values: fc.array(values, { minLength: 1, maxLength: 70 }),
  });
  const mixed = fc.array(
    fc.record({ id: fc.integer({ min: -3, max: features - 1 }), value: values }),
    { maxLength: 70 },
  );
  const ordered = fc
    .array(run, { maxLength: 6 })
    .map((runs) => runs.flatMap(({ id, values: all }) => all.map((value) => ({ id, value }))));
  return fc.tuple(ordered, mixed).map((both) => both.flat());
}

describe('sums of a warp', () => {
  for (const [name, values] of [
    ['doubles of any exponent', doubles],
    ['int64 up to its ends', integers],
  ] as const) {
    for (const together of [true, false]) {
      test(`of ${name} are exact, ${together ? 'lanes together' : 'each lane alone'}`, () => {
        fc.assert(
          fc.property(rowsOf(values, 4), (rows) => {
            aggregated(rows, 4, together).forEach((got, feature) => {
              const expected = expectedOf(rows, feature);
              if (expected.count === 0) {
                expect({ ...got, min: 0, max: 0 }).toMatchObject({ ...expected, min: 0, max: 0 });
              } else {
                expect(got).toMatchObject(expected);
              }
            });
          }),
          { numRuns: 600, seed: 5 },
        );
      });
    }
  }

  test('of every exponent and both signs cancel to nothing and leave the extremes', () => {
    const values = Array.from({ length: 2046 }, (_, exponent) => {
      const view = new DataView(new ArrayBuffer(8));
      view.setBigUint64(0, (BigInt(exponent) << 52n) | 0xf_ffff_ffff_ffffn);
      return view.getFloat64(0);
    });
    const signed = [...values, ...values.map((value) => -value)];
    const rows = signed.map((value) => ({ id: 0, value }));
    const [got] = aggregated(rows, 1, true);
    const largest = Math.max(...values);
    expect(got).toMatchObject({ count: 4092, sum: 0, mean: 0, min: -largest, max: largest });
  });
});
