// Owns how a result names the sources it was made of.
import { execFileSync } from 'node:child_process';

/**
 * Short hash, with `-changed` where files differ from it; a file that git does not know yet counts, for
 * it is built and packed like the others. Records are results, not sources: one that was just written
 * says nothing against the next. scripts/pack-gpu.mjs, which is plain JavaScript, says the same.
 */
export function commitOf(root: string): string {
  const git = (...words: string[]): string =>
    execFileSync('git', words, { cwd: root, encoding: 'utf8' }).trim();
  const sources = ['--', '.', ':(exclude)bench/record'];
  const status = git('status', '--porcelain', '--untracked-files=normal', ...sources);
  return `${git('rev-parse', '--short', 'HEAD')}${status === '' ? '' : '-changed'}`;
}
