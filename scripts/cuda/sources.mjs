// Owns what the kernels are made of, read from the two lists that the library itself includes:
// native/cuda/embedded.inc and native/cuda/options.inc.
import xxhash from '@node-rs/xxhash';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** XXH3-128 in canonical form: 16 bytes, high half first. */
export function hash128(bytes) {
  return Buffer.from(xxhash.xxh3.xxh128(bytes).toString(16).padStart(32, '0'), 'hex');
}

/** The embedded files of a folder `native/`, the program first. */
export function embeddedFiles(native) {
  const text = readFileSync(join(native, 'cuda', 'embedded.inc'), 'utf8');
  const rows = text.matchAll(/^TL_EMBEDDED\(\w+,\s*"([^"]+)",\s*"([^"]+)"\)$/gmu);
  return [...rows].map(([, name, path]) => ({
    name,
    path,
    text: readFileSync(join(native, path)),
  }));
}

/** What nvcc and NVRTC are told besides the architecture. */
export function exactOptions(native) {
  const text = readFileSync(join(native, 'cuda', 'options.inc'), 'utf8');
  return [...text.matchAll(/^TL_OPTION\("([^"]+)"\)$/gmu)].map(([, option]) => option);
}

/** Digest that the library of these sources tells and an image file must carry: 16 bytes. */
export function sourcesDigest(native) {
  const files = embeddedFiles(native).flatMap(({ name, text }) => [
    `${name}\n${text.length}\n`,
    text,
  ]);
  const options = exactOptions(native).map((option) => `${option}\n`);
  return hash128(Buffer.concat([...files, ...options].map((part) => Buffer.from(part))));
}
