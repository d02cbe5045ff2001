// Owns path safety: every path of a request is resolved here before anything is opened. A worker
// declares its roots; nothing outside them is read or written, and no last symlink is followed.
import { lstat, realpath } from 'node:fs/promises';
import path from 'node:path';
import { DatasetError } from './errors.ts';

/**
 * Resolves a path that must lie under one of the roots. The path itself need not exist, its
 * parents up to the first missing one are resolved through symlinks; the last component may not be
 * a symlink.
 *
 * @param roots absolute folders; each must exist
 * @returns the real absolute path
 * @throws {DatasetError} `PATH_OUTSIDE_ROOTS` for relative paths, `..`, NUL bytes, a last symlink,
 *   and everything that ends up outside the roots
 */
export async function resolveUnderRoots(
  requested: string,
  roots: readonly string[],
): Promise<string> {
  if (requested.includes('\0')) throw outside(requested, roots, 'a NUL byte');
  if (!path.isAbsolute(requested)) throw outside(requested, roots, 'a relative path');
  if (requested.split(path.sep).includes('..')) throw outside(requested, roots, 'a ".." component');
  const normal = path.resolve(requested);
  if (await isSymlink(normal)) throw outside(requested, roots, 'a symbolic link');
  const real = await realpathOfExisting(normal);
  for (const root of roots) {
    const realRoot = await realpath(root).catch(() => null);
    if (realRoot === null) continue;
    const relative = path.relative(realRoot, real);
    const climbs = relative === '..' || relative.startsWith(`..${path.sep}`);
    if (!climbs && !path.isAbsolute(relative)) return real;
  }
  throw outside(requested, roots, real === normal ? 'a path outside them' : `its target ${real}`);
}

async function isSymlink(file: string): Promise<boolean> {
  const stat = await lstat(file).catch(() => null);
  return stat !== null && stat.isSymbolicLink();
}

/** realpath of the longest existing prefix, with the missing rest appended. */
async function realpathOfExisting(file: string): Promise<string> {
  const missing: string[] = [];
  for (let at = file; ; at = path.dirname(at)) {
    const real = await realpath(at).catch(() => null);
    if (real !== null) return path.join(real, ...missing.reverse());
    // A dangling symlink among the parents would be created through; it is refused instead.
    if (await isSymlink(at)) return path.join(path.sep, '(dangling link)', at);
    if (path.dirname(at) === at) return file;
    missing.push(path.basename(at));
  }
}

function outside(requested: string, roots: readonly string[], got: string): DatasetError {
  const shown = requested.replaceAll('\0', '\\0');
  return new DatasetError(
    'PATH_OUTSIDE_ROOTS',
    `the path ${shown} is not allowed: expected a real path under ${roots.join(' or ')}, ` +
      `got ${got}; ` +
      'move the data there or start the worker with another root',
    { details: { path: shown, roots: roots.join(':') } },
  );
}
