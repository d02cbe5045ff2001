// Owns the run context on disk: written once by prepare, read and verified by everyone else.
import { readFile } from 'node:fs/promises';
import { canonicalJson, sha256Hex } from '../core/index.ts';
import { writeFileDurable } from '../datasets/index.ts';
import type { RunContext } from '../executor/index.ts';
import { ActivityError } from './activity-error.ts';

/** Writes the context; writing it again gives the same bytes. @returns its SHA-256 */
export async function writeContext(path: string, context: RunContext): Promise<string> {
  const text = canonicalJson(context);
  await writeFileDurable(path, text);
  return sha256Hex(text);
}

/** @throws {ActivityError} `CONTEXT_CHANGED` when the file is not the one the run began with */
export async function loadContext(path: string, digest: string): Promise<RunContext> {
  const text = await readFile(path, 'utf8');
  if (sha256Hex(text) === digest) return JSON.parse(text) as RunContext;
  throw new ActivityError(
    'CONTEXT_CHANGED',
    `run context ${path} has changed: expected SHA-256 ${digest.slice(0, 12)}, got ${sha256Hex(text).slice(0, 12)}; restore it or start a new run`,
    { details: { path } },
  );
}
