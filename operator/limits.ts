// Owns the bounds of what operators may ask for, and of what a run keeps of it. The state travels in
// signals and workflow inputs: its parts are bounded in bytes, too.

/** How many pins a run holds at most, and the bytes of their canonical JSON. */
export const PINS_MAX = 32;
export const PINS_BYTES_MAX: number = 24 * 1024;
/** How many orders about parked tiles are kept at most, and their bytes; the newest always is. */
export const ORDERS_MAX = 16;
export const ORDERS_BYTES_MAX: number = 16 * 1024;
/** How many ids of accepted requests are remembered. */
export const RECENT_MAX = 64;

/** Time limits of pauses and pins, milliseconds. */
export const TTL_MS_MAX: number = 366 * 24 * 3600 * 1000;
export const CHUNKS_MAX = 1_000_000_000;
export const REASON_CHARACTERS_MAX = 500;
export const AUTHOR_CHARACTERS_MAX = 128;
export const VIA_CHARACTERS_MAX = 64;
export const TEXT_CHARACTERS_MAX = 256;
export const RANGES_MAX = 64;

export const LANES_MAX = 64;
export const CADENCE_MAX = 1000;
export const CHUNK_SECONDS_MIN = 0.05;
export const CHUNK_SECONDS_MAX = 3600;
export const MEMORY_BYTES_MIN: number = 16 * 1024 * 1024;

/** Bytes of a JSON value in UTF-8. */
export function jsonBytes(value: unknown): number {
  let bytes = 0;
  for (const one of JSON.stringify(value)) {
    const code = one.codePointAt(0) ?? 0;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}
