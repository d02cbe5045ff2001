// Owns a worker in a child process, for commands that bring their own: `demo` and `run start
// --with-worker`. It ends with its parent, also when the parent is killed (its IPC channel closes).
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CliError } from './errors.ts';
import type { CommandIo } from './io.ts';

export interface ChildWorkerOptions {
  readonly io: CommandIo;
  readonly roots: readonly string[];
  readonly logFile: string;
  readonly threads?: number | undefined;
  readonly lanes?: number | undefined;
}

export interface ChildWorker {
  /** Rejects when the worker ends on its own; never resolves while it lives. */
  readonly failed: Promise<never>;
  /** Asks it to finish its chunks and waits until it is gone. */
  readonly stop: () => Promise<void>;
}

const STOP_MS_MAX = 60_000;

/** Starts `tileloom worker start` as a child process. */
export function startChildWorker(options: ChildWorkerOptions): ChildWorker {
  mkdirSync(dirname(options.logFile), { recursive: true });
  const log = openSync(options.logFile, 'a');
  const words = ['worker', 'start', ...options.roots.flatMap((root) => ['--roots', root])];
  if (options.threads !== undefined) {
    words.push('--threads', String(options.threads));
  }
  if (options.lanes !== undefined) {
    words.push('--lanes', String(options.lanes));
  }
  // Its own process group: Ctrl-C is for the parent, which then stops the worker in order.
  const child = spawn(process.execPath, [mainPath(), ...words], {
    stdio: ['ignore', log, log, 'ipc'],
    detached: true,
    cwd: options.io.cwd,
    env: options.io.env,
  });
  closeSync(log);
  let stopping = false;
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      resolve();
    });
  });
  const failed = new Promise<never>((_resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (!stopping) {
        reject(workerEnded(options.logFile, code, signal));
      }
    });
  });
  failed.catch(() => undefined);
  const stop = async (): Promise<void> => {
    stopping = true;
    if (child.exitCode !== null || child.signalCode !== null) {
      return;
    }
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
    await exited;
    clearTimeout(timer);
  };
  return { failed, stop };
}

/** This command line's own entry file, in the sources' or in dist's form. */
export function mainPath(): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return fileURLToPath(new URL(`./main.${extension}`, import.meta.url));
}

function workerEnded(logFile: string, code: number | null, signal: string | null): CliError {
  const tail = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-5).join('\n');
  return new CliError(
    'CLI_NO_WORKER',
    `the worker ended too soon: expected it to run on, got ${signal ?? `exit code ${String(code)}`}; ` +
      `its last words, from ${logFile}:\n${tail}`,
    { details: { logFile } },
  );
}
