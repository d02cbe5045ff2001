// Owns the image file as native/cuda/image_file.hpp reads it: magic, digest of the sources, digest
// of the payload, payload.
import { renameSync, writeFileSync } from 'node:fs';
import { hash128 } from './sources.mjs';

const MAGIC = Buffer.from('TLCUDA01', 'latin1');
const HEAD_BYTES = MAGIC.length + 32;

/** Writes it by rename. */
export function writeImageFile(path, sources, payload) {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, Buffer.concat([MAGIC, sources, hash128(payload), payload]));
  renameSync(temporary, path);
}

/** What the driver would be given: a bare cubin or fat binary is its own payload. */
export function payloadOf(content) {
  return content.subarray(0, MAGIC.length).equals(MAGIC) ? content.subarray(HEAD_BYTES) : content;
}
