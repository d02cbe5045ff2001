import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson } from '../../core/index.ts';

/** The same form written a second way, with lists of fields. */
function text(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${value.map(text).join(',')}]`;
  }
  if (typeof value !== 'object' || value === null) {
    return JSON.stringify(value);
  }
  const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([key, item]) => `${JSON.stringify(key)}:${text(item)}`).join(',')}}`;
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
