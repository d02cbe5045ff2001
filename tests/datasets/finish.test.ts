// Sums, means and ranges against the conformance corpus, which was computed with exact rationals.
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  exactUnits,
  finishAggregate,
  finishColumn,
  mergeColumn,
  partialOfValues,
  roundRational,
  type ColumnPartial,
} from '../../datasets/index.ts';

interface SumCase {
  readonly id: string;
  readonly values: readonly (number | null)[];
  readonly count: number;
  readonly nulls: number;
  readonly nans: number;
  readonly sum: number | null;
  readonly mean: number | null;
  readonly min: number | null;
  readonly max: number | null;
}

const CORPUS = readFileSync(new URL('../fixtures/corpus/sums.jsonl', import.meta.url), 'utf8');
const CASES: SumCase[] = CORPUS.trimEnd().split('\n').map(parseCase);

function parseCase(line: string): SumCase {
  const raw = JSON.parse(line) as Record<string, unknown>;
  const special: Record<string, number> = { NaN, Infinity, '-Infinity': -Infinity };
  const values = (raw['values'] as unknown[]).map((value) =>
    typeof value === 'string' ? (special[value] ?? null) : (value as number | null),
  );
  const result = (name: string): number | null =>
    raw[name] === null ? null : hexFloat(raw[name] as string);
  return {
    ...(raw as unknown as SumCase),
    values,
    sum: result('sum'),
    mean: result('mean'),
    min: result('min'),
    max: result('max'),
  };
}

/** Reads C99 hexadecimal floats; exact, since 53 bits fit a double before scaling. */
function hexFloat(text: string): number {
  const named: Record<string, number> = { inf: Infinity, '-inf': -Infinity, nan: NaN };
  if (text in named) return named[text] ?? NaN;
  const match = /^(-?)0x([01])\.([0-9a-f]+)p([+-]?[0-9]+)$/u.exec(text);
  if (match === null) throw new Error(`no hexadecimal float: ${text}`);
  const [, sign, lead, digits = '', exponent] = match;
  const mantissa = Number(BigInt(`0x${lead}${digits}`));
  let power = Number(exponent) - 4 * digits.length;
  let value = mantissa;
  for (; power > 0; power -= 1) value *= 2;
  // Down in steps that stay exact: the value is a multiple of the least positive double.
  for (; power < 0; power += 1) value /= 2;
  return sign === '-' ? -value : value;
}

function split(values: readonly (number | null)[], parts: number): ColumnPartial {
  const size = Math.max(1, Math.ceil(values.length / parts));
  let merged = partialOfValues([]);
  for (let from = 0; from < values.length; from += size) {
    merged = mergeColumn(partialOfValues(values.slice(from, from + size)), merged);
  }
  return merged;
}

describe('finishColumn', () => {
  test('has the whole corpus', () => expect(CASES.length).toBe(395));

  test.each(CASES.map((item) => [item.id, item] as const))('agrees with %s', (_, item) => {
    for (const parts of [1, 2, 7]) {
      const column = split(item.values, parts);
      const finished = finishColumn(column);
      expect(column.nulls).toBe(item.nulls);
      expect(column.nans).toBe(item.nans);
      expect(finished.count).toBe(item.count);
      for (const name of ['sum', 'mean', 'min', 'max'] as const) {
        expect(Object.is(finished[name], item[name]), `${name}: ${finished[name]}`).toBe(true);
      }
    }
  });
});

describe('exactUnits', () => {
  test('is undone by rounding for every finite double', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        expect(Object.is(roundRational(exactUnits(value), 1n), value + 0)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test('knows the extremes', () => {
    expect(exactUnits(Number.MIN_VALUE)).toBe(1n);
    expect(exactUnits(-Number.MIN_VALUE)).toBe(-1n);
    expect(exactUnits(2 ** -1022)).toBe(1n << 52n);
    expect(exactUnits(1)).toBe(1n << 1074n);
    expect(exactUnits(Number.MAX_VALUE)).toBe((2n ** 53n - 1n) << 2045n);
  });
});

describe('roundRational', () => {
  test('rounds ties to even, in the normal and the subnormal range', () => {
    expect(roundRational(1n, 2n)).toBe(0);
    expect(roundRational(3n, 2n)).toBe(2 * Number.MIN_VALUE);
    expect(roundRational((2n ** 53n + 1n) << 1074n, 1n)).toBe(2 ** 53);
    expect(roundRational((2n ** 53n + 3n) << 1074n, 1n)).toBe(2 ** 53 + 4);
  });

  test('overflows where half a unit above the largest double begins', () => {
    const largest = exactUnits(Number.MAX_VALUE);
    const half = 1n << (1074n + 970n);
    expect(roundRational(largest + half - 1n, 1n)).toBe(Number.MAX_VALUE);
    expect(roundRational(largest + half, 1n)).toBe(Infinity);
    expect(roundRational(-largest - half, 1n)).toBe(-Infinity);
  });

  test('never answers −0', () => {
    expect(Object.is(roundRational(-1n, 3n), 0)).toBe(true);
    expect(Object.is(roundRational(0n, 5n), 0)).toBe(true);
  });
});

describe('finishAggregate', () => {
  const column = partialOfValues([1, 2, null, NaN]);
  const partials = {
    columns: 1,
    rows: 9,
    hits: 4,
    outside: 5,
    invalid: 0,
    entries: [{ feature: 7, count: 4, columns: [column] }],
  };

  test('answers the measures in their order; count is of points, not of values', () => {
    const measures = [
      { kind: 'mean', column: 'v' },
      { kind: 'count' },
      { kind: 'max', column: 'v' },
    ] as const;
    expect(finishAggregate(partials, measures, ['v'])).toEqual([
      { feature: 7, count: 4, values: [1.5, 4, 2] },
    ]);
  });

  test('refuses a column that was not measured', () => {
    const run = (): unknown => finishAggregate(partials, [{ kind: 'sum', column: 'w' }], ['v']);
    expect(run).toThrowError(expect.objectContaining({ code: 'COLUMN_MISSING' }));
  });
});
