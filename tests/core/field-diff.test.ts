import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson, fieldDifferences, isSameJson } from '../../core/index.ts';

describe('fieldDifferences', () => {
  test.each([
    [{ a: 1 }, { a: 1 }, []],
    [{ a: 1 }, { a: 2 }, [{ path: 'a', left: 1, right: 2 }]],
    [{ a: { b: [1, 2] } }, { a: { b: [1] } }, [{ path: 'a.b.1', left: 2, right: undefined }]],
    [{ a: undefined }, {}, []],
    [{ a: null }, {}, [{ path: 'a', left: null, right: undefined }]],
    [[], {}, [{ path: '', left: [], right: {} }]],
    [1, '1', [{ path: '', left: 1, right: '1' }]],
    [{ toString: 1 }, {}, [{ path: 'toString', left: 1, right: undefined }]],
    [
      { b: 1, a: 1 },
      { a: 2, b: 2 },
      [
        { path: 'a', left: 1, right: 2 },
        { path: 'b', left: 1, right: 2 },
      ],
    ],
  ])('of %j and %j are %j', (left, right, expected) => {
    expect(fieldDifferences(left, right)).toEqual(expected);
    expect(isSameJson(left, right)).toBe(expected.length === 0);
  });

  test('are none exactly when canonical JSON is equal', () => {
    const value = fc.jsonValue({ maxDepth: 3 });
    fc.assert(
      fc.property(value, value, (left, right) => {
        const equal = canonicalJson(left) === canonicalJson(right);
        expect(isSameJson(left, right)).toBe(equal);
        expect(fieldDifferences(left, right).length === 0).toBe(equal);
        expect(isSameJson(left, structuredClone(left))).toBe(true);
      }),
    );
  });
});
