import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson } from '../../core/index.ts';

/** The same form written a second way: sort keys while copying, then let JSON do the rest. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(sorted);
  }
  return typeof value === 'object' && value !== null
    ? new Map(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : value;
}

function text(value: unknown): string {
  const copy = sorted(value);
  if (Array.isArray(copy)) {
    return `[${copy.map(text).join(',')}]`;
  }
  return copy instanceof Map
    ? `{${[...copy].map(([key, item]) => `${JSON.stringify(key)}:${text(item)}`).join(',')}}`
    : JSON.stringify(copy);
}

describe('canonicalJson', () => {
  test.each([
    [{ b: 1, a: [] }, '{"a":[],"b":1}'],
    [{ 10: 1, 9: 2 }, '{"10":1,"9":2}'],
    [{ a: undefined, b: null }, '{"b":null}'],
    [[-0, 1e21, 0.1], '[0,1e+21,0.1]'],
    [{}, '{}'],
    ['\u2028"', '"\u2028\\""'],
  ])('writes %j as %s', (value, expected) => {
    expect(canonicalJson(value)).toBe(expected);
  });

  test('equals an independent writer and reads back as the same value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(canonicalJson(value)).toBe(text(value));
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test.each([NaN, Infinity, undefined, () => 1, [undefined], 1n])('refuses %s', (value) => {
    expect(() => canonicalJson(value)).toThrow(TypeError);
  });
});
