// Owns the built command line in tests: run it, talk to it, and prove that it left no process behind.
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { isAlive } from './processes.ts';
import type { Stage } from './stage.ts';

const MAIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));

export interface CliOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Milliseconds after which it is killed and the test fails: a command may never hang. */
  readonly timeoutMs?: number;
}

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliProcess {
  readonly pid: number;
  stdout(): string;
  stderr(): string;
  signal(name: NodeJS.Signals): void;
  /** @throws Error when it had to be killed */
  readonly ended: Promise<CliResult>;
}

/** Starts a command line. */
export function startCli(words: readonly string[], options: CliOptions): CliProcess {
  const { env, cwd, timeoutMs = 60_000 } = options;
  const child = spawn(process.execPath, [MAIN, ...words], {
    cwd,
    env: { ...process.env, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, timeoutMs);
  const ended = new Promise<CliResult>((resolve, reject) => {
    child.once('close', (code) => {
      clearTimeout(timer);
      if (!late) return resolve({ code, stdout, stderr });
      const line = `tileloom ${words.join(' ')}`;
      reject(new Error(`${line} did not end in ${timeoutMs} ms:\n${stdout}\n${stderr}`));
    });
  });
  ended.catch(() => undefined);
  return {
    pid: child.pid ?? 0,
    stdout: () => stdout,
    stderr: () => stderr,
    signal: (name) => void child.kill(name),
    ended,
  };
}

/** Runs a command line to its end. */
export function runCli(words: readonly string[], options: CliOptions): Promise<CliResult> {
  return startCli(words, options).ended;
}

/** The one JSON document on stdout. */
export function jsonOf<T>({ stdout, stderr }: CliResult): T {
  try {
    return JSON.parse(stdout) as T;
  } catch {
    throw new Error(`expected one JSON document on stdout, got:\n${stdout}\n${stderr}`);
  }
}

/** Process ids that were started with this TILELOOM_HOME: server, workers, executors. */
export function processesOf(home: string): number[] {
  const found: number[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/u.test(name) || Number(name) === process.pid) continue;
    try {
      const variables = readFileSync(`/proc/${name}/environ`, 'utf8').split('\0');
      if (variables.includes(`TILELOOM_HOME=${home}`) && isAlive(Number(name))) {
        found.push(Number(name));
      }
    } catch {
      // It ended meanwhile, or is not ours to look at.
    }
  }
  return found;
}

/** Nothing that was started with this home is left, but for a moment of ending. */
export async function expectNoProcesses(home: string): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (processesOf(home).length > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(processesOf(home)).toEqual([]);
}

/** Asserts that a message is for people: no stack trace, no object dump. */
export function expectNoTrace(text: string): void {
  expect(text).not.toMatch(/^\s+at .+[:(]\d+/mu);
  expect(text).not.toMatch(/node:internal|\[object Object\]|UnhandledPromise|undefined/u);
}

export interface YamlSetting {
  readonly dataset?: string;
  readonly layer?: string;
  readonly sink?: string;
  /** Further lines of the layer, in flow style. */
  readonly layerOptions?: string;
  readonly crs?: string;
  readonly rows?: boolean;
  readonly failedTiles?: number;
  readonly plan?: string;
}

/** Writes a pipeline into the stage and returns its path. */
export function writeYaml(stage: Stage, name: string, setting: YamlSetting = {}): string {
  const { layer = stage.layer, layerOptions = "object: counties, id: '@id'" } = setting;
  const file = join(stage.root, `${name}.yaml`);
  const text = `apiVersion: tileloom/v1
kind: Pipeline
name: ${name}
source: { dataset: ${setting.dataset ?? stage.dataset}, crs: ${setting.crs ?? 'OGC:CRS84'} }
layers:
  counties: { file: ${layer}, ${layerOptions} }
steps:
  - assign: { layer: counties, as: county }
  - aggregate: { by: county, measures: [count, { sum: value }] }
sink: { path: ${setting.sink ?? stage.sink(name)}, rows: ${String(setting.rows ?? false)} }
plan: ${setting.plan ?? '{ mode: auto }'}
limits: { memory: 1 GiB, failedTiles: ${String(setting.failedTiles ?? 0)} }
`;
  writeFileSync(file, text);
  return file;
}
