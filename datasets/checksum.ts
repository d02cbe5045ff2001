// Owns the one XXH3-128 of the TypeScript side: seed 0, canonical big-endian hex. It checks tiles
// when they are written, converted and inspected; executors compute the same digest in native code.
import { xxh3 } from '@node-rs/xxhash';

/** XXH3-128 of bytes as 32 lower-case hex digits. */
export function hash128(bytes: Uint8Array): string {
  return xxh3.xxh128(bytes).toString(16).padStart(32, '0');
}

/**
 * Checksum of one column of one tile: of its validity bytes (when it has nulls) followed by its
 * values.
 */
export function columnChecksum(validity: Uint8Array | null, values: Uint8Array): string {
  if (validity === null) return hash128(values);
  const joined = new Uint8Array(validity.length + values.length);
  joined.set(validity);
  joined.set(values, validity.length);
  return hash128(joined);
}
