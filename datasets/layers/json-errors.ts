// Owns the messages about text that is not JSON, not UTF-8 or too large to be a layer.
import { LayerError } from './errors.ts';

/** @param byte the unexpected byte, −1 at the end of the text */
export function invalidJson(
  name: string,
  offset: number,
  expected: string,
  byte: number,
): LayerError {
  const got =
    byte < 0
      ? 'the end of the file'
      : byte > 0x20 && byte < 0x7f
        ? `"${String.fromCharCode(byte)}"`
        : `byte 0x${byte.toString(16).padStart(2, '0')}`;
  return new LayerError(
    'LAYER_JSON_INVALID',
    `${name} is not valid JSON at byte ${offset}: expected ${expected}, got ${got}; ` +
      (byte < 0 ? 'the file is cut off, copy it again' : 'correct the file'),
    { details: { path: name, offset } },
  );
}

export function tooDeep(name: string, offset: number, levelsMax: number): LayerError {
  return new LayerError(
    'LAYER_JSON_TOO_DEEP',
    `${name} is nested too deeply at byte ${offset}: expected at most ${levelsMax} levels, ` +
      'got more; this is not a layer',
    { details: { path: name, offset } },
  );
}

export function tokenTooLarge(name: string, offset: number, bytesMax: number): LayerError {
  return new LayerError(
    'LAYER_TOO_LARGE',
    `${name} holds one string or member near byte ${offset} that is too large: expected at ` +
      `most ${bytesMax} bytes, got more; leave that property out`,
    { details: { path: name, offset } },
  );
}

export function notUtf8(name: string, offset: number, cause: unknown): LayerError {
  return new LayerError(
    'LAYER_ENCODING',
    `${name} is not UTF-8 near byte ${offset}: expected UTF-8 text, got other bytes; ` +
      'convert the file, for example with iconv -t UTF-8',
    { details: { path: name, offset }, cause },
  );
}

export function wrongEncoding(name: string, got: string): LayerError {
  return new LayerError(
    'LAYER_ENCODING',
    `${name} is not UTF-8 text: expected UTF-8, got ${got}; convert or unpack the file first`,
    { details: { path: name, offset: 0 } },
  );
}

/** Names what the first four bytes of a file give away, null for what may be UTF-8 text. */
export function encodingOf(a: number, b: number, c: number, d: number): string | null {
  if (a === 0xff && b === 0xfe) return 'UTF-16 or UTF-32 (byte order mark FF FE)';
  if (a === 0xfe && b === 0xff) return 'UTF-16 (byte order mark FE FF)';
  if (a === 0x1f && b === 0x8b) return 'gzip';
  if (a === 0x50 && b === 0x4b) return 'a ZIP archive';
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return 'zstd';
  if (a === 0 || b === 0 || c === 0 || d === 0) return 'zero bytes (UTF-16, UTF-32 or binary)';
  return null;
}
