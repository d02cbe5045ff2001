// Owns the folders that a command line names: one that cannot serve ends the command before it works.
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Missing } from './device.ts';

export const CORPUS_FILES = ['orientation.jsonl', 'point-in-polygon.jsonl', 'sums.jsonl'];

/** A new folder for data below a given one, by default below that for temporary files. */
export function makeDataFolder(given: string | null, prefix: string): string {
  const parent = given ?? tmpdir();
  return usable(given === null ? 'the folder for temporary files' : '--dir', parent, () =>
    mkdtempSync(join(parent, prefix)),
  );
}

/** Makes the folder that results are written to. */
export function makeOut(out: string): void {
  usable('--out', out, () => {
    mkdirSync(out, { recursive: true });
    accessSync(out, constants.W_OK | constants.X_OK);
  });
}

export function requireCorpus(corpus: string): void {
  const lacking = CORPUS_FILES.filter((name) => !existsSync(join(corpus, name)));
  if (lacking.length > 0) {
    throw new Missing(
      `--corpus cannot be used: expected a folder with ${CORPUS_FILES.join(', ')}, ` +
        `got ${corpus} without ${lacking.join(', ')}`,
    );
  }
}

function usable<T>(what: string, path: string, use: () => T): T {
  try {
    return use();
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new Missing(
      `${what} cannot be used: expected a folder that can be written to, got ${path} (${why})`,
      { cause },
    );
  }
}
