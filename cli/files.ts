// Owns reading files that the user named on the command line, with errors that say which and why.
import { readFile } from 'node:fs/promises';
import { dirname, relative, resolve } from 'node:path';
import { absolutiseSpec, parseSpec, type ParsedSpec, type PipelineSpec } from '../spec/index.ts';
import { CliError } from './errors.ts';
import type { CommandIo } from './io.ts';

/**
 * Reads a text file that a user named; `-` is standard input.
 *
 * @throws {CliError} `CLI_FILE_UNREADABLE`
 */
export async function readUserFile(io: CommandIo, path: string, what: string): Promise<string> {
  try {
    return await readFile(path === '-' ? '/dev/stdin' : resolve(io.cwd, path), 'utf8');
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new CliError(
      'CLI_FILE_UNREADABLE',
      `${what} ${path} cannot be read: expected a readable file, got ${reason}; check the path`,
      { details: { file: path, reason }, cause: error },
    );
  }
}

export interface LoadedSpec extends ParsedSpec {
  /** The spec with every path absolute, as it is submitted. */
  readonly absolute: PipelineSpec;
}

/** Reads, checks and absolutises a spec; relative paths are taken from the spec's own folder. */
export async function loadSpec(io: CommandIo, path: string): Promise<LoadedSpec> {
  const text = await readUserFile(io, path, 'spec');
  const file = path === '-' ? 'stdin' : path;
  const parsed = parseSpec(text, { file });
  const base = path === '-' ? io.cwd : dirname(resolve(io.cwd, path));
  return {
    ...parsed,
    absolute: absolutiseSpec(parsed.spec, base, (dir, one) => resolve(dir, one)),
  };
}

/** A path as short as it can be said from the current folder. */
export function shortPath(io: CommandIo, path: string): string {
  const near = relative(io.cwd, path);
  return near === '' ? '.' : near.startsWith('..') ? path : near;
}
