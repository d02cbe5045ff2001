// Owns the runs of NVIDIA's compute-sanitizer over a reduced self-check. The tool is not part of the
// pack: it is looked for on PATH and in the CUDA toolkit.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { performance } from 'node:perf_hooks';

export interface SanitizerRun {
  readonly tool: string;
  readonly outcome: 'clean' | 'failed' | 'absent';
  readonly seconds: number;
  /** The end of what it printed when it failed. */
  readonly note: string;
}

/** Tool and its options. */
const TOOLS: readonly (readonly [string, readonly string[]])[] = [
  ['memcheck', ['--leak-check', 'full']],
  ['racecheck', []],
  ['synccheck', []],
];
const ERROR_EXIT = 86;
const TIME_MS_MAX = 3 * 60_000;
const NOTE_LENGTH = 2_000;

export async function runSanitizer(ordinal: number): Promise<readonly SanitizerRun[]> {
  const sanitizer = findSanitizer();
  if (sanitizer === null) {
    const note = 'is not present: neither on PATH nor in a CUDA toolkit';
    return [{ tool: 'compute-sanitizer', outcome: 'absent', seconds: 0, note }];
  }
  const runs: SanitizerRun[] = [];
  for (const [tool, options] of TOOLS) runs.push(await run(sanitizer, tool, options, ordinal));
  return runs;
}

/** Path of compute-sanitizer, or null. */
export function findSanitizer(): string | null {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const nvcc = folders.find((folder) => isProgram(join(folder, 'nvcc')));
  const toolkits = [process.env['CUDA_HOME'], process.env['CUDA_PATH'], ...installed()]
    .filter((root) => root !== undefined && root !== '')
    .map((root) => join(root as string, 'bin'));
  const beside = nvcc === undefined ? [] : [nvcc];
  return (
    [...folders, ...beside, ...toolkits]
      .map((folder) => join(folder, 'compute-sanitizer'))
      .find((path) => isProgram(path)) ?? null
  );
}

function installed(): readonly string[] {
  const root = '/usr/local';
  try {
    return readdirSync(root)
      .filter((name) => name.startsWith('cuda'))
      .map((name) => join(root, name));
  } catch {
    return [];
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function run(
  sanitizer: string,
  tool: string,
  options: readonly string[],
  ordinal: number,
): Promise<SanitizerRun> {
  const words = ['selfcheck', '--reduced', '--without-sanitizer', '--device', String(ordinal)];
  const target = [process.execPath, process.argv[1] ?? '', ...words];
  const own = ['--tool', tool, ...options, '--error-exitcode', String(ERROR_EXIT)];
  const started = performance.now();
  const child = spawn(sanitizer, [...own, ...target], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  const keep = (piece: Buffer): void =>
    void (text = `${text}${piece.toString()}`.slice(-NOTE_LENGTH));
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const timer = setTimeout(() => child.kill('SIGKILL'), TIME_MS_MAX);
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  clearTimeout(timer);
  const seconds = (performance.now() - started) / 1000;
  const clean = code === 0;
  const end =
    signal === 'SIGKILL' ? `took more than ${TIME_MS_MAX / 1000} s` : `ended with ${code}`;
  const note = clean ? '' : `${end}:\n${text}`;
  return { tool, outcome: clean ? 'clean' : 'failed', seconds, note };
}
