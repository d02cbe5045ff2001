// Owns a GPU pack that was made and unpacked for tests, and running it as on a host without Node: with an
// empty environment and a PATH that holds nothing but what a test puts there.
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Pack {
  readonly folder: string;
  /** What the pack was unpacked to. */
  readonly unpacked: string;
  readonly archiveBytes: number;
  /** What packing printed. */
  readonly told: string;
  run(words: readonly string[], options?: RunOptions): Promise<Outcome>;
  remove(): void;
}

export interface RunOptions {
  readonly environment?: Readonly<Record<string, string>>;
  /** Folders of PATH besides the one with a shell. */
  readonly path?: readonly string[];
  /** Another unpacked pack. */
  readonly unpacked?: string;
}

export function makePack(): Pack {
  const folder = mkdtempSync(join(tmpdir(), 'tileloom-pack-test-'));
  const script = join(ROOT, 'scripts', 'pack-gpu.mjs');
  const words = [script, '--out', folder, '--image', 'present'];
  const told = execFileSync(process.execPath, words, { encoding: 'utf8' });
  const archive = join(folder, readdirSync(folder)[0] ?? '');
  execFileSync('tar', ['-xzf', archive, '-C', folder]);
  const shell = join(folder, 'bin');
  mkdirSync(shell);
  symlinkSync('/bin/sh', join(shell, 'sh'));
  const unpacked = join(folder, 'tileloom-gpu');
  return {
    folder,
    unpacked,
    told,
    archiveBytes: statSync(archive).size,
    remove: () => rmSync(folder, { recursive: true, force: true }),
    run: (given, options = {}) =>
      new Promise((resolve) => {
        const path = [...(options.path ?? []), shell].join(':');
        const settings = {
          ...{ cwd: tmpdir(), maxBuffer: 1 << 26 },
          env: { PATH: path, ...options.environment },
        };
        const command = join(options.unpacked ?? unpacked, 'run');
        execFile(command, [...given], settings, (error, stdout, stderr) => {
          const code = typeof error?.code === 'number' ? error.code : error === null ? 0 : -1;
          resolve({ code, stdout, stderr });
        });
      }),
  };
}

/** Path, size and time of change of every file below a folder. */
export function filesOf(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => ({ name, facts: statSync(join(folder, name)) }))
    .filter(({ facts }) => facts.isFile())
    .map(({ name, facts }) => `${name} ${facts.size} ${facts.mtimeMs}`);
}
