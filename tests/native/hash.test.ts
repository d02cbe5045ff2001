import { xxh3 } from '@node-rs/xxhash';
import { describe, expect, test } from 'vitest';
import { openKernels } from '../../native/index.ts';

const library = openKernels();

function bytesOf(size: number, seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length: size }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
}

function expectedOf(bytes: Uint8Array): string {
  return xxh3.xxh128(bytes).toString(16).padStart(32, '0');
}

describe('hash128', () => {
  test('equals the reference implementation for every length up to 2048', () => {
    const bytes = bytesOf(2048, 1);
    for (let size = 0; size <= bytes.length; size += 1) {
      const part = bytes.slice(0, size);
      expect(library.hash128(part), `length ${size}`).toBe(expectedOf(part));
    }
  });

  test('equals it for large inputs around block borders and at odd addresses', () => {
    for (const size of [1024 * 64 - 1, 1024 * 64, 1024 * 64 + 1, 532_480, 3_000_017]) {
      const bytes = bytesOf(size + 3, size).subarray(3);
      expect(library.hash128(bytes), `length ${size}`).toBe(expectedOf(bytes));
    }
  });
});
