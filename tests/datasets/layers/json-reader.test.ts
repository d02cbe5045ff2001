import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { memorySource } from '../../../datasets/layers/byte-source.ts';
import { LayerError } from '../../../datasets/layers/errors.ts';
import { JsonReader } from '../../../datasets/layers/json-reader.ts';

function reader(text: string | Uint8Array, chunk: number | (() => number) = 1 << 20): JsonReader {
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  return new JsonReader(memorySource('test.json', bytes, chunk));
}

/** Walks the value with the stepping calls that the GeoJSON reader uses. */
function walk(json: JsonReader): unknown {
  const byte = json.peek();
  if (byte === 0x7b) {
    const entries: [string, unknown][] = [];
    for (let key = json.nextKey(true); key !== null; key = json.nextKey(false)) {
      entries.push([key, walk(json)]);
    }
    return Object.fromEntries(entries);
  }
  if (byte === 0x5b) {
    const items: unknown[] = [];
    for (let more = json.nextElement(true); more; more = json.nextElement(false)) {
      items.push(walk(json));
    }
    return items;
  }
  if (byte === 0x22) return json.string();
  if (byte === 0x2d || (byte >= 0x30 && byte <= 0x39)) return json.number();
  return json.value();
}

function outcome(read: () => unknown): { value: unknown } | 'refused' {
  try {
    return { value: read() };
  } catch {
    return 'refused';
  }
}

function readWhole(text: string, chunk: number, how: 'walk' | 'value' | 'skip'): unknown {
  const json = reader(text, chunk);
  const value = how === 'walk' ? walk(json) : how === 'value' ? json.value() : json.skip();
  if (json.peek() !== -1) throw json.invalid('the end');
  return value;
}

describe('JsonReader', () => {
  test('reads what JSON.parse reads, whatever the chunks', () => {
    const texts = fc
      .tuple(fc.json({ maxDepth: 6 }), fc.boolean())
      .map(([text, spaced]) => (spaced ? JSON.stringify(JSON.parse(text), null, '\t') : text));
    fc.assert(
      fc.property(texts, fc.integer({ min: 1, max: 9 }), (text, chunk) => {
        const expected = JSON.parse(text) as unknown;
        expect(readWhole(text, chunk, 'walk')).toEqual(expected);
        expect(readWhole(text, chunk, 'value')).toEqual(expected);
        readWhole(text, chunk, 'skip');
      }),
      { numRuns: 300 },
    );
  });

  test('refuses exactly the damaged texts that JSON.parse refuses', () => {
    const damage = fc.tuple(
      fc.json({ maxDepth: 4 }),
      fc.nat(),
      fc.constantFrom(
        '',
        ',',
        '"',
        ']',
        '}',
        '[',
        '{',
        ':',
        '0',
        '-',
        '.',
        'e',
        '\\',
        'u',
        '\n',
        't',
      ),
      fc.integer({ min: 0, max: 2 }),
      fc.integer({ min: 1, max: 5 }),
    );
    fc.assert(
      fc.property(damage, ([text, at, insert, cut, chunk]) => {
        const place = at % (text.length + 1);
        const damaged = text.slice(0, place) + insert + text.slice(place + cut);
        if (/\p{Surrogate}/u.test(damaged)) return;
        const expected = outcome(() => JSON.parse(damaged) as unknown);
        expect(outcome(() => readWhole(damaged, chunk, 'walk'))).toEqual(expected);
        const skipped = outcome(() => readWhole(damaged, chunk, 'skip'));
        expect(skipped === 'refused').toBe(expected === 'refused');
      }),
      { numRuns: 2000 },
    );
  });

  test('rounds every number like JSON.parse', () => {
    const numbers = fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
      fc
        .tuple(fc.bigInt({ min: 0n, max: 10n ** 24n }), fc.nat({ max: 24 }))
        .map(([digits, point]) => {
          const text = String(digits).padStart(point + 1, '0');
          return point === 0 ? text : `${text.slice(0, -point)}.${text.slice(-point)}`;
        }),
    );
    fc.assert(
      fc.property(numbers, fc.boolean(), (text, negative) => {
        const signed = negative && !text.startsWith('-') ? `-${text}` : text;
        expect(Object.is(reader(`${signed} `).number(), JSON.parse(signed))).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });

  test.each([
    ['[1,2,]', 5, 'a trailing comma in an array'],
    ['{"a":1,}', 7, 'a trailing comma in an object'],
    ['[1 2]', 3, 'a missing comma'],
    ['{"a" 1}', 5, 'a missing colon'],
    ['[01]', 1, 'a leading zero'],
    ['"a\u0001b"', 2, 'a control character'],
    ['"\\x"', 1, 'an unknown escape'],
    ['[1,', 3, 'a cut-off text'],
    ['nul', 3, 'a cut-off word'],
  ])('names the offset in %j', (text, offset) => {
    for (const how of ['value', 'skip'] as const) {
      const error: unknown = (() => {
        try {
          return readWhole(text, 1, how);
        } catch (caught) {
          return caught;
        }
      })();
      expect(error).toBeInstanceOf(LayerError);
      expect(error).toMatchObject({ code: 'LAYER_JSON_INVALID', details: { offset } });
    }
  });

  test('refuses nesting beyond a thousand levels without a deep stack', () => {
    expect(() => reader('['.repeat(1_000_000)).skip()).toThrow(
      expect.objectContaining({ code: 'LAYER_JSON_TOO_DEEP' }),
    );
    expect(reader(`${'['.repeat(1000)}${']'.repeat(1000)}`).value()).toBeInstanceOf(Array);
  });

  test('refuses other encodings by name', () => {
    const wrong: [number[], string][] = [
      [[0xff, 0xfe, 0x7b, 0x00], 'UTF-16'],
      [[0xfe, 0xff, 0x00, 0x7b], 'UTF-16'],
      [[0x7b, 0x00, 0x22, 0x00], 'zero bytes'],
      [[0x1f, 0x8b, 0x08, 0x00], 'gzip'],
      [[0x50, 0x4b, 0x03, 0x04], 'ZIP'],
    ];
    for (const [bytes, name] of wrong) {
      expect(() => reader(Uint8Array.from(bytes))).toThrow(name);
    }
    const latin1 = Uint8Array.from([0x22, 0xe9, 0x22]);
    expect(() => reader(latin1).string()).toThrow(
      expect.objectContaining({ code: 'LAYER_ENCODING' }),
    );
  });

  test('skips a byte order mark and keeps a string across many refills', () => {
    const long = 'ä'.repeat(300_000);
    expect(reader(`\ufeff${JSON.stringify({ long })}`, 4096).value()).toEqual({ long });
  });
});
