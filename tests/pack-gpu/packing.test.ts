// How packing refuses, what it leaves behind, which license it takes for Node's, and how a commit is named.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { commitOf } from '../../bench/gpu/commit.ts';
import { ROOT } from './pack.ts';

const SCRIPTS = join(ROOT, 'scripts');
const MIB = 1024 ** 2;
/** These are plain JavaScript, which has no types. */
const load = async <T>(name: string): Promise<T> =>
  (await import(pathToFileURL(join(SCRIPTS, 'pack-gpu', name)).href)) as T;
const { requireSize } = await load<{
  requireSize: (what: 'archive' | 'unpacked pack', bytes: number) => string;
}>('limits.mjs');
const { nodeLicense } = await load<{ nodeLicense: (prefix: string) => string | null }>('parts.mjs');

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tileloom-packing-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, text: string): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

describe('requireSize', () => {
  test.each([
    ['archive', 60],
    ['unpacked pack', 250],
  ] as const)('lets an %s have %i MiB and not a byte more', (what, most) => {
    expect(requireSize(what, most * MIB)).toBe(`${most}.0 MiB of ${most}`);
    expect(() => requireSize(what, most * MIB + 1)).toThrow(
      `the ${what} is too large: expected at most ${most} MiB, got ${most * MIB + 1} bytes`,
    );
  });
});

describe('pack-gpu.mjs', { timeout: 120_000 }, () => {
  const packWith = (
    words: readonly string[],
    temporary: string,
  ): { readonly status: number | null; readonly stderr: string } =>
    spawnSync(process.execPath, [join(SCRIPTS, 'pack-gpu.mjs'), ...words], {
      ...{ encoding: 'utf8', env: { ...process.env, TMPDIR: temporary } },
    });

  test('leaves nothing behind where it fails after staging', () => {
    const temporary = join(folder, 'temporary');
    mkdirSync(temporary);
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      version: string;
    };
    // Folders where the archive should be.
    const out = join(folder, 'out');
    const commit = commitOf(ROOT).replace('-changed', '');
    for (const state of ['', '-changed']) {
      mkdirSync(join(out, `tileloom-gpu-${version}-${commit}${state}.tar.gz`), { recursive: true });
    }
    const { status, stderr } = packWith(['--image', 'present', '--out', out], temporary);
    expect(stderr).toContain('ERR_FS_CP_NON_DIR_TO_DIR');
    expect(status).toBe(1);
    expect(readdirSync(temporary)).toEqual([]);
  });

  test('refuses a folder that cannot be one before it builds', () => {
    const file = write('file', 'a file where a folder should be');
    for (const [out, why] of [
      [file, 'EEXIST'],
      [join(file, 'below'), 'ENOTDIR'],
    ] as const) {
      const { status, stderr } = packWith(['--image', 'none', '--out', out], folder);
      expect(stderr).toBe(
        `--out cannot be used: expected a folder that can be written to, got ${out} (${why})\n`,
      );
      expect(status).toBe(2);
    }
  });

  test.each([
    [['--image', 'maybe'], '--image is not known: expected auto, present or none, got maybe'],
    [['--fast'], "Unknown option '--fast'"],
  ])('refuses %j and shows its help', (words, text) => {
    const { status, stderr } = packWith(words, folder);
    expect(status).toBe(2);
    expect(stderr).toContain(text);
    expect(stderr).toContain('Usage: npm run pack:gpu');
    expect(stderr).not.toContain('    at ');
  });
});

describe('nodeLicense', () => {
  const TEXT = 'Node.js is licensed for use as follows:\n';

  test.each(['LICENSE', 'share/doc/nodejs/LICENSE', 'share/licenses/nodejs/LICENSE'])(
    'finds %s below the prefix',
    (name) => {
      const path = write(name, TEXT);
      expect(nodeLicense(folder)).toBe(path);
    },
  );

  test('takes no license of something else, and none for granted', () => {
    expect(nodeLicense(folder)).toBeNull();
    write('LICENSE', 'Apache License\n');
    expect(nodeLicense(folder)).toBeNull();
    const path = write('share/doc/nodejs/LICENSE', TEXT);
    expect(nodeLicense(folder)).toBe(path);
  });
});

describe('commitOf', () => {
  function git(...words: readonly string[]): string {
    const identity = ['-c', 'user.name=t', '-c', 'user.email=t@example.org'];
    const command = [...identity, '-c', 'commit.gpgsign=false', ...words];
    return execFileSync('git', command, { cwd: folder, encoding: 'utf8' }).trim();
  }

  test('tells a tree that is the commit from one that differs', () => {
    git('init', '--quiet');
    // What a user may have set, and what must not hide a new file.
    git('config', 'status.showUntrackedFiles', 'no');
    write('.gitignore', 'out\n');
    const source = write('native/a.cpp', 'int a;\n');
    git('add', '.');
    git('commit', '--quiet', '-m', 'x');
    const commit = git('rev-parse', '--short', 'HEAD');
    expect(commitOf(folder)).toBe(commit);
    write('out/pack.tar.gz', 'ignored');
    write('bench/record/machine/2026-01-31-kernels.json', '{}');
    expect(commitOf(folder)).toBe(commit);
    for (const name of ['native/b.cpp', 'bench/record.ts']) {
      const added = write(name, '\n');
      expect(commitOf(folder), name).toBe(`${commit}-changed`);
      rmSync(added);
      expect(commitOf(folder), name).toBe(commit);
    }
    writeFileSync(source, 'int c;\n');
    expect(commitOf(folder)).toBe(`${commit}-changed`);
  });
});
