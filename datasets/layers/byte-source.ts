// Owns where the bytes of a text layer come from. Reading is synchronous so that the parser can pull;
// the caller gives way to the event loop between features.
import { closeSync, openSync, readSync } from 'node:fs';

export interface ByteSource {
  /** Name of the file for messages. */
  readonly name: string;
  /** Copies the next bytes to `into` from `offset` on; returns how many, 0 at the end. */
  read(into: Uint8Array, offset: number): number;
  close(): void;
}

/** Reads a file from its beginning. */
export function fileSource(path: string): ByteSource {
  const handle = openSync(path, 'r');
  return {
    name: path,
    read: (into, offset) => readSync(handle, into, offset, into.length - offset, null),
    close: () => closeSync(handle),
  };
}

/** Serves bytes that are in memory, at most `chunkBytes` a call. */
export function memorySource(
  name: string,
  bytes: Uint8Array,
  chunkBytes: number | (() => number) = bytes.length,
): ByteSource {
  let at = 0;
  return {
    name,
    read(into, offset) {
      const wanted = typeof chunkBytes === 'number' ? chunkBytes : chunkBytes();
      const count = Math.min(Math.max(1, wanted), into.length - offset, bytes.length - at);
      into.set(bytes.subarray(at, at + count), offset);
      at += count;
      return count;
    },
    close: () => undefined,
  };
}
