// Owns the quick start of the commands that operators wait for. Loading the Temporal client takes
// longer than a pause does, so the build puts these commands and the client into one script with
// V8's code cache beside it (scripts/build-quick-start.mjs).
//
// I1 the script only saves time: without one, with one for another Node.js, or with --verbose, whose
//    traces should name real files, the same command runs from its own files
// I2 script and cache are one file, so that no cache meets a script that it was not made from; a file
//    that is older than this module was made from other sources, and is left alone
import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import type { runCommandLine } from './command-line.ts';

/** Words of the command lines in the script: those of cli/commands/run-control.ts and pin.ts. */
export const QUICK_VERBS: Readonly<Record<string, readonly string[]>> = {
  run: ['pause', 'resume', 'cancel', 'limits'],
  pin: ['set', 'list', 'clear'],
};

interface QuickScript {
  readonly runCommandLine: typeof runCommandLine;
}

/** Loads the prepared script; null when the line is not in it, or it cannot be used. */
export function loadQuickly(line: readonly string[]): QuickScript | null {
  const [word = '', verb = ''] = line;
  if (QUICK_VERBS[word]?.includes(verb) !== true || line.includes('--verbose')) {
    return null;
  }
  const file = new URL('quick-start.bin', import.meta.url);
  try {
    const isStale = statSync(file).mtimeMs < statSync(new URL(import.meta.url)).mtimeMs;
    return isStale ? null : evaluate(file);
  } catch {
    return null;
  }
}

/** The file: length of the script in bytes (32 bits, little endian), the script in ASCII, the cache. */
function evaluate(url: URL): QuickScript {
  const bytes = readFileSync(url);
  const end = 4 + bytes.readUInt32LE(0);
  const filename = fileURLToPath(new URL('quick-start.cjs', import.meta.url));
  const script = new Script(bytes.toString('latin1', 4, end), {
    filename,
    cachedData: bytes.subarray(end),
  });
  const run = script.runInThisContext() as (
    exports: object,
    require: NodeJS.Require,
    module: { exports: object },
    filename: string,
    load: (file: string) => Promise<unknown>,
  ) => void;
  const module = { exports: {} };
  // A script out of a cache cannot import by itself.
  const load = (file: string): Promise<unknown> => import(new URL(file, import.meta.url).href);
  run(module.exports, createRequire(filename), module, filename, load);
  return module.exports as QuickScript;
}
