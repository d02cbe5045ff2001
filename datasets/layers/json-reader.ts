// Owns a strict pull parser for JSON text that never holds more than one token (or one captured value)
// in memory, so a file, or a single feature in it, may be larger than memory and than the longest string.
//
// I1  It accepts exactly what JSON.parse accepts (UTF-8, RFC 8259), apart from a depth limit and,
//     where a caller skips a value, invalid UTF-8 inside strings.
// I2  `buffer[at..end)` are the bytes not yet consumed; `buffer[end]` is 0, so a loop over digits or
//     spaces stops at the end without a bounds check.
// I3  Bytes from `#mark` on survive a refill.
import type { ByteSource } from './byte-source.ts';
import type { LayerError } from './errors.ts';
import {
  encodingOf,
  invalidJson,
  notUtf8,
  tokenTooLarge,
  tooDeep,
  wrongEncoding,
} from './json-errors.ts';

const BUFFER_BYTES = 1 << 18;
/** Longest token or captured value: V8 holds strings up to 2^29 − 24 characters. */
const TOKEN_BYTES_MAX = 1 << 28;
const DEPTH_MAX = 1000;
const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/u;
const POWERS_OF_TEN = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));
const LITERALS = { t: 'true', f: 'false', n: 'null' } as const;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

export class JsonReader {
  readonly name: string;
  readonly #source: ByteSource;
  #buffer: Buffer = Buffer.alloc(BUFFER_BYTES + 1);
  #at = 0;
  #end = 0;
  #ended = false;
  /** Offset in the file of `#buffer[0]`. */
  #base = 0;
  #mark = -1;

  constructor(source: ByteSource) {
    this.name = source.name;
    this.#source = source;
    this.#checkEncoding();
  }

  /** Offset in the file of the next byte. */
  get offset(): number {
    return this.#base + this.#at;
  }

  /** Skips white space; returns the next byte without consuming it, −1 at the end of the text. */
  peek(): number {
    for (;;) {
      const byte = this.#buffer[this.#at] ?? 0;
      if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) {
        this.#at += 1;
      } else if (this.#at < this.#end) {
        return byte;
      } else if (!this.#refill()) {
        return -1;
      }
    }
  }

  /** Like `peek`, and skips record separators too (RFC 8142). */
  peekRecord(): number {
    while (this.peek() === 0x1e) this.#at += 1;
    return this.peek();
  }

  /** Consumes the next byte, which `peek` has just returned. */
  take(): void {
    this.#at += 1;
  }

  /**
   * Steps through an object: call with `first` true, then with false until it returns null.
   *
   * @returns the next key, with the reader standing before its value
   */
  nextKey(first: boolean): string | null {
    if (first) {
      this.#expect(OPEN_BRACE, '{');
      if (this.peek() === CLOSE_BRACE) return this.#close();
    } else {
      const byte = this.peek();
      if (byte === CLOSE_BRACE) return this.#close();
      if (byte !== COMMA) throw this.invalid('"," or "}"');
      this.#at += 1;
    }
    if (this.peek() !== QUOTE) throw this.invalid('a member name in double quotes');
    const key = this.string();
    this.#expect(COLON, ':');
    return key;
  }

  /** Steps through an array; true when the reader stands before an element. */
  nextElement(first: boolean): boolean {
    if (first) {
      this.#expect(OPEN_BRACKET, '[');
      if (this.peek() !== CLOSE_BRACKET) return true;
    } else {
      const byte = this.peek();
      if (byte === COMMA) {
        this.#at += 1;
        if (this.peek() === CLOSE_BRACKET) throw this.invalid('a value (no trailing comma)');
        return true;
      }
      if (byte !== CLOSE_BRACKET) throw this.invalid('"," or "]"');
    }
    this.#at += 1;
    return false;
  }

  /** Reads a string. */
  string(): string {
    if (this.peek() !== QUOTE) throw this.invalid('a string');
    this.#mark = this.#at;
    const plain = this.#skipString();
    const start = this.#mark;
    this.#mark = -1;
    if (plain) return this.#buffer.toString('latin1', start + 1, this.#at - 1);
    return JSON.parse(this.#decode(start, this.#at)) as string;
  }

  /** Reads any value through JSON.parse. */
  value(): unknown {
    this.peek();
    this.#mark = this.#at;
    this.skip();
    const start = this.#mark;
    this.#mark = -1;
    return JSON.parse(this.#decode(start, this.#at)) as unknown;
  }

  /** Skips any value, checking its syntax. */
  skip(): void {
    // One bit of history a level: true for objects.
    const open: boolean[] = [];
    for (;;) {
      const byte = this.peek();
      if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (open.length >= DEPTH_MAX) throw tooDeep(this.name, this.offset, DEPTH_MAX);
        this.#at += 1;
        const isObject = byte === OPEN_BRACE;
        open.push(isObject);
        if (this.peek() !== (isObject ? CLOSE_BRACE : CLOSE_BRACKET)) {
          if (isObject) this.#skipKey();
          continue;
        }
      } else {
        this.#skipScalar(byte);
      }
      if (this.#closeLevels(open)) return;
    }
  }

  /** After a value: closes what ends here; true when the outermost value has ended. */
  #closeLevels(open: boolean[]): boolean {
    for (;;) {
      const isObject = open.at(-1);
      if (isObject === undefined) return true;
      const byte = this.peek();
      if (byte === (isObject ? CLOSE_BRACE : CLOSE_BRACKET)) {
        this.#at += 1;
        open.pop();
        continue;
      }
      if (byte !== COMMA) throw this.invalid(isObject ? '"," or "}"' : '"," or "]"');
      this.#at += 1;
      if (isObject) this.#skipKey();
      else if (this.peek() === CLOSE_BRACKET) throw this.invalid('a value (no trailing comma)');
      return false;
    }
  }

  #skipKey(): void {
    if (this.peek() !== QUOTE) throw this.invalid('a member name in double quotes');
    this.#skipString();
    this.#expect(COLON, ':');
  }

  #skipScalar(byte: number): void {
    if (byte === QUOTE) this.#skipString();
    else if (byte === 0x2d || (byte >= 0x30 && byte <= 0x39)) this.number();
    else this.#literal(byte);
  }

  /** Consumes true, false or null. */
  #literal(byte: number): void {
    const word = LITERALS[String.fromCharCode(byte) as keyof typeof LITERALS] as string | undefined;
    if (word === undefined) throw this.invalid('a value');
    for (let i = 0; i < word.length; i += 1) {
      if (this.#at === this.#end) this.#refill();
      if (this.#at === this.#end || this.#buffer[this.#at] !== word.charCodeAt(i)) {
        throw this.invalid(word);
      }
      this.#at += 1;
    }
  }

  /** Tells whether the next bytes are the given ASCII text. */
  looksAt(text: string): boolean {
    while (this.#end - this.#at < text.length && this.#refill());
    for (let i = 0; i < text.length; i += 1) {
      if (this.#buffer[this.#at + i] !== text.charCodeAt(i)) return false;
    }
    return this.#at + text.length <= this.#end;
  }

  /** Consumes a word of letters, for the non-JSON numbers that some writers emit; null if not one. */
  takeWord(words: readonly string[]): string | null {
    this.peek();
    for (const word of words) {
      if (this.looksAt(word)) {
        this.#at += word.length;
        return word;
      }
    }
    return null;
  }

  /** Consumes a string; true when it is ASCII without escapes. */
  #skipString(): boolean {
    let plain = true;
    this.#at += 1;
    for (;;) {
      const byte = this.#buffer[this.#at] ?? 0;
      if (byte === QUOTE) {
        this.#at += 1;
        return plain;
      }
      if (byte >= 0x20 && byte !== BACKSLASH) {
        if (byte >= 0x80) plain = false;
        this.#at += 1;
      } else if (byte === BACKSLASH) {
        plain = false;
        this.#skipEscape();
      } else if (this.#at < this.#end || !this.#refill()) {
        throw this.invalid(this.#at < this.#end ? 'no control character in a string' : '"');
      }
    }
  }

  #skipEscape(): void {
    while (this.#end - this.#at < 6 && this.#refill());
    const text = this.#buffer.toString('latin1', this.#at, Math.min(this.#at + 6, this.#end));
    const escape = /^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/u.exec(text);
    if (escape === null) throw this.invalid('an escape sequence');
    this.#at += escape[0].length;
  }

  /**
   * Reads a number, rounded to nearest as JSON.parse does: a mantissa below 2^53 divided by an exact power
   * of ten is rounded once (Clinger 1990); everything else goes through Number().
   */
  number(): number {
    while (this.#end - this.#at < 32 && this.#refill());
    const buffer = this.#buffer;
    let i = this.#at;
    const negative = buffer[i] === 0x2d;
    if (negative) i += 1;
    const first = i;
    let mantissa = 0;
    let byte = buffer[i] ?? 0;
    for (; byte >= 0x30 && byte <= 0x39; byte = buffer[i] ?? 0) {
      mantissa = mantissa * 10 + (byte - 0x30);
      i += 1;
    }
    const whole = i - first;
    let decimals = 0;
    if (byte === 0x2e) {
      i += 1;
      const point = i;
      for (byte = buffer[i] ?? 0; byte >= 0x30 && byte <= 0x39; byte = buffer[i] ?? 0) {
        mantissa = mantissa * 10 + (byte - 0x30);
        i += 1;
      }
      decimals = i - point;
      if (decimals === 0) return this.#slowNumber();
    }
    const exact = mantissa <= Number.MAX_SAFE_INTEGER && decimals <= 22;
    const wellFormed = whole === 1 || (whole > 1 && buffer[first] !== 0x30);
    if (!exact || !wellFormed || byte === 0x65 || byte === 0x45 || i >= this.#end) {
      return this.#slowNumber();
    }
    this.#at = i;
    const value = decimals === 0 ? mantissa : mantissa / (POWERS_OF_TEN[decimals] ?? 1);
    return negative ? -value : value;
  }

  #slowNumber(): number {
    const outer = this.#mark;
    if (outer < 0) this.#mark = this.#at;
    const start = this.#at - this.#mark;
    let length = 0;
    for (;;) {
      const byte = this.#buffer[this.#at + length] ?? 0;
      const isNumberByte =
        (byte >= 0x30 && byte <= 0x39) ||
        byte === 0x2b ||
        byte === 0x2d ||
        byte === 0x2e ||
        byte === 0x45 ||
        byte === 0x65;
      if (isNumberByte && this.#at + length < this.#end) length += 1;
      else if (this.#at + length < this.#end || !this.#refill()) break;
    }
    const from = this.#mark + start;
    const text = this.#buffer.toString('latin1', from, from + length);
    if (outer < 0) this.#mark = -1;
    if (!NUMBER.test(text)) throw this.invalid('a number');
    this.#at += length;
    return Number(text);
  }

  #close(): null {
    this.#at += 1;
    return null;
  }

  #expect(byte: number, shown: string): void {
    if (this.peek() !== byte) throw this.invalid(`"${shown}"`);
    this.#at += 1;
  }

  /** Makes `end` grow by reading on; false at the end of the text. */
  #refill(): boolean {
    if (this.#ended) return false;
    const keep = this.#mark < 0 ? this.#at : this.#mark;
    if (keep > 0) {
      this.#buffer.copyWithin(0, keep, this.#end);
      this.#at -= keep;
      this.#end -= keep;
      this.#base += keep;
      if (this.#mark >= 0) this.#mark = 0;
    }
    if (this.#end + 1 >= this.#buffer.length) this.#grow();
    const room = this.#buffer.subarray(0, this.#buffer.length - 1);
    const count = this.#source.read(room, this.#end);
    this.#end += count;
    this.#buffer[this.#end] = 0;
    this.#ended = count === 0;
    return count > 0;
  }

  #grow(): void {
    if (this.#buffer.length > TOKEN_BYTES_MAX) {
      throw tokenTooLarge(this.name, this.#base, TOKEN_BYTES_MAX);
    }
    const grown = Buffer.alloc(this.#buffer.length * 2);
    this.#buffer.copy(grown, 0, 0, this.#end);
    this.#buffer = grown;
  }

  #decode(start: number, end: number): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
        this.#buffer.subarray(start, end),
      );
    } catch (error) {
      throw notUtf8(this.name, this.#base + start, error);
    }
  }

  /** Skips a UTF-8 byte order mark; refuses what is plainly not UTF-8 text. */
  #checkEncoding(): void {
    while (this.#end < 4 && this.#refill());
    const [a, b, c, d] = this.#buffer;
    const got = encodingOf(
      a ?? 0,
      b ?? 0,
      this.#end > 3 ? (c ?? 0) : 1,
      this.#end > 3 ? (d ?? 0) : 1,
    );
    if (a === 0xef && b === 0xbb && c === 0xbf) this.#at = 3;
    else if (got !== null && this.#end >= 2) {
      throw wrongEncoding(this.name, got);
    }
  }

  /** Builds the error for unexpected text at the current position. */
  invalid(expected: string): LayerError {
    const byte = this.#at < this.#end ? (this.#buffer[this.#at] ?? 0) : -1;
    return invalidJson(this.name, this.offset, expected, byte);
  }
}
