// Aggregates as values and as TLP1 bytes: equal data gives equal bytes, in any split and order.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodePartials,
  emptyPartials,
  encodePartials,
  finishColumn,
  mergePartials,
  partialOfValues,
  type Partials,
} from '../../datasets/index.ts';

interface Row {
  readonly feature: number;
  readonly values: readonly (number | null)[];
}

const value = fc.oneof(
  fc.constant(null),
  fc.double(),
  fc.constantFrom(0, -0, Number.MIN_VALUE, -Number.MAX_VALUE, Infinity, -Infinity, NaN, 0.1),
);
const rowsOf = fc.array(
  fc.record({ feature: fc.integer({ min: -1, max: 5 }), values: fc.tuple(value, value) }),
  { maxLength: 60 },
);

/** Aggregates rows in the plainest way: group, then sum each group at once. */
function aggregate(rows: readonly Row[]): Partials {
  const hits = rows.filter((row) => row.feature >= 0);
  const features = [...new Set(hits.map((row) => row.feature))].sort((a, b) => a - b);
  return {
    columns: 2,
    rows: rows.length,
    hits: hits.length,
    outside: rows.length - hits.length,
    invalid: 0,
    entries: features.map((feature) => {
      const mine = hits.filter((row) => row.feature === feature);
      const columns = [0, 1].map((at) =>
        partialOfValues(mine.map((row) => row.values[at] ?? null)),
      );
      return { feature, count: mine.length, columns };
    }),
  };
}

describe('mergePartials', () => {
  test('gives the same bytes for any split and any order', () => {
    fc.assert(
      fc.property(rowsOf, fc.infiniteStream(fc.nat()), (rows, choices) => {
        const pieces: Row[][] = [[], [], [], []];
        for (const row of rows) pieces[Number(choices.next().value) % 4]?.push(row);
        const whole = encodePartials(aggregate(rows));
        const merged = mergePartials(pieces.map(aggregate));
        const nested = mergePartials([
          mergePartials([...pieces.slice(2)].reverse().map(aggregate)),
          mergePartials(pieces.slice(0, 2).map(aggregate)),
        ]);
        expect(encodePartials(merged)).toEqual(whole);
        expect(encodePartials(nested)).toEqual(whole);
      }),
      { numRuns: 300 },
    );
  });

  test('has the empty aggregate as its neutral element', () => {
    const some = aggregate([{ feature: 3, values: [1, null] }]);
    expect(mergePartials([emptyPartials(2), some, emptyPartials(2)])).toEqual(some);
  });

  test('refuses aggregates of other columns, and nothing at all', () => {
    const mismatch = expect.objectContaining({ code: 'PARTIALS_MISMATCH' });
    expect(() => mergePartials([emptyPartials(1), emptyPartials(2)])).toThrowError(mismatch);
    expect(() => mergePartials([])).toThrowError(mismatch);
  });
});

describe('TLP1', () => {
  test('survives a round trip', () => {
    fc.assert(
      fc.property(rowsOf, (rows) => {
        const partials = aggregate(rows);
        const decoded = decodePartials(encodePartials(partials));
        expect(encodePartials(decoded)).toEqual(encodePartials(partials));
        decoded.entries.forEach((entry, index) =>
          entry.columns.forEach((column, at) => {
            const original = partials.entries[index]?.columns[at];
            expect(finishColumn(column)).toEqual(original && finishColumn(original));
          }),
        );
      }),
      { numRuns: 200 },
    );
  });

  test('has the documented bytes', () => {
    const bytes = encodePartials({
      columns: 1,
      rows: 5,
      hits: 2,
      outside: 2,
      invalid: 1,
      entries: [{ feature: 9, count: 2, columns: [partialOfValues([-1.5, null])] }],
    });
    const view = new DataView(bytes.buffer);
    expect(new TextDecoder().decode(bytes.subarray(0, 4))).toBe('TLP1');
    expect([4, 8, 12].map((at) => view.getUint32(at, true))).toEqual([1, 1, 0]);
    expect([16, 24, 32, 40].map((at) => Number(view.getBigUint64(at, true)))).toEqual([5, 2, 2, 1]);
    expect(view.getUint32(48, true)).toBe(9);
    expect(view.getBigUint64(52, true)).toBe(2n);
    const counts = [60, 68, 76, 84, 92].map((at) => Number(view.getBigUint64(at, true)));
    expect(counts).toEqual([1, 1, 0, 0, 0]);
    expect([view.getFloat64(100, true), view.getFloat64(108, true)]).toEqual([-1.5, -1.5]);
    // 1.5 = 3·2^-1 = 3·2^1073 units: bit 1073 is bit 17 of limb 33.
    expect([view.getInt32(116, true), view.getUint32(120, true)]).toEqual([-1, 33]);
    expect([view.getUint32(124, true), view.getUint32(128, true)]).toEqual([1, 3 << 17]);
    expect(bytes.length).toBe(132);
  });

  test('keeps counts above 2^32', () => {
    const big = { ...emptyPartials(0), rows: 2 ** 40 + 3 };
    expect(decodePartials(encodePartials(big)).rows).toBe(2 ** 40 + 3);
  });

  test('refuses every truncation, any tail and non-canonical bytes', () => {
    const corrupt = expect.objectContaining({ code: 'PARTIALS_CORRUPT' });
    const bytes = encodePartials(
      aggregate([
        { feature: 0, values: [0.1, 1e300] },
        { feature: 4, values: [-3, null] },
      ]),
    );
    for (let length = 0; length < bytes.length; length += 1) {
      expect(() => decodePartials(bytes.subarray(0, length))).toThrowError(corrupt);
    }
    expect(() => decodePartials(Uint8Array.of(...bytes, 0))).toThrowError(corrupt);
    const changed = (at: number, to: number): Uint8Array => bytes.with(at, to) as Uint8Array;
    expect(() => decodePartials(changed(48, 4))).toThrowError(corrupt); // feature twice
    expect(() => decodePartials(changed(12, 1))).toThrowError(corrupt); // reserved
    expect(() => decodePartials(changed(60, 9))).toThrowError(corrupt); // n beyond the points
    expect(() => decodePartials(changed(116, 2))).toThrowError(corrupt); // sign
  });
});
