// Owns how large a GPU pack may be.
import { PackError } from './failure.mjs';

const MIB = 1024 ** 2;
const MEBIBYTES_MAX = { archive: 60, 'unpacked pack': 250 };

/** A size beside what is allowed, for a reader; throws where it is more. */
export function requireSize(what, bytes) {
  const most = MEBIBYTES_MAX[what];
  if (bytes > most * MIB) {
    throw new PackError(
      `the ${what} is too large: expected at most ${most} MiB, got ${bytes} bytes`,
    );
  }
  return `${(bytes / MIB).toFixed(1)} MiB of ${most}`;
}
