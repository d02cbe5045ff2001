// Owns how an executor process is started: its entry, its pipes, its environment.
import { fork, type ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutorOptions } from './protocol.ts';

const ENTRY = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? '../dist/executor/main.js' : './main.js',
    import.meta.url,
  ),
);

/**
 * Starts an executor process; what it writes goes to the log, line by line as it comes.
 *
 * @throws {Error} of the file system, where the folder of the device's lock cannot be made
 */
export function forkExecutor(
  options: ExecutorOptions,
  onLog: (line: string) => void,
): ChildProcess {
  mkdirSync(dirname(options.lockPath), { recursive: true });
  const child = fork(ENTRY, [JSON.stringify(options)], {
    env: childEnvironment(options.threads),
    stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
    // A process group of its own: Ctrl-C in a terminal is for the worker, which drains first.
    detached: true,
    execArgv: [],
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => onLog(text.trimEnd()));
  }
  child.stdin?.on('error', () => undefined);
  child.on('error', () => undefined);
  return child;
}

/** The libuv pool is sized for kernels in flight plus file system work. */
function childEnvironment(threads: number): NodeJS.ProcessEnv {
  return { ...process.env, UV_THREADPOOL_SIZE: String(threads + 4) };
}
