// Owns expanding file patterns: `*`, `?` and `[…]` within a name, `**` for any number of folders.
// Matches come in byte order of their paths, whatever order the file system lists them in.
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { DatasetError } from './errors.ts';

const MAGIC = /[*?[]/u;

/**
 * Expands patterns in the order given; a file that several of them match is taken once.
 *
 * @throws {DatasetError} `INPUT_NOT_FOUND` for a pattern or name without a file
 */
export async function expandGlobs(patterns: readonly string[]): Promise<string[]> {
  const found = new Set<string>();
  for (const pattern of patterns) {
    // A name that exists is meant literally, even when it has brackets in it.
    const exists = await isFile(pattern);
    const matches = exists || !MAGIC.test(pattern) ? [pattern] : await expand(pattern);
    const [first] = matches;
    if (first === undefined || (matches.length === 1 && !(await isFile(first)))) {
      throw new DatasetError(
        'INPUT_NOT_FOUND',
        `no input matches ${pattern}: expected at least one file, got none; check the path`,
        { details: { path: pattern } },
      );
    }
    for (const match of matches) found.add(path.resolve(match));
  }
  return [...found];
}

async function expand(pattern: string): Promise<string[]> {
  const absolute = path.resolve(pattern);
  const segments = absolute.split(path.sep).slice(1);
  const matches = (await walk(path.sep, segments)).filter(
    (match, at, all) => all.indexOf(match) === at,
  );
  return matches.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

async function walk(folder: string, segments: readonly string[]): Promise<string[]> {
  const [segment, ...rest] = segments;
  if (segment === undefined) return [];
  if (!MAGIC.test(segment)) {
    const next = path.join(folder, segment);
    if (rest.length > 0) return walk(next, rest);
    return (await isFile(next)) ? [next] : [];
  }
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const found: string[] = [];
  if (segment === '**') found.push(...(await walk(folder, rest)));
  for (const entry of entries) {
    const next = path.join(folder, entry.name);
    if (segment === '**') {
      if (entry.isDirectory()) found.push(...(await walk(next, segments)));
    } else if (matches(segment, entry.name)) {
      if (rest.length > 0) found.push(...(await walk(next, rest)));
      else if (await isFile(next)) found.push(next);
    }
  }
  return found;
}

function matches(segment: string, name: string): boolean {
  if (name.startsWith('.') && !segment.startsWith('.')) return false;
  const source = segment.replaceAll(/\*+|\?|\[!?[^\]]+\]|[\\^$.|+(){}[\]]/gu, (token) => {
    if (token.startsWith('*')) return '.*';
    if (token === '?') return '.';
    if (token.length > 1) return token.replace('[!', '[^').replaceAll('\\', '\\\\');
    return `\\${token}`;
  });
  return new RegExp(`^${source}$`, 'su').test(name);
}

async function isFile(file: string): Promise<boolean> {
  return stat(file).then(
    (found) => found.isFile(),
    () => false,
  );
}
