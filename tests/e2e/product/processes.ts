// Owns real worker processes of the built product in tests: start, kill, and proof that none is left.
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ENTRY = fileURLToPath(new URL('./worker-entry.mjs', import.meta.url));

export interface WorkerOptions {
  readonly hostId: string;
  readonly roots: readonly string[];
  readonly threads?: number;
  readonly lanes?: number;
  readonly externalRegistry?: string;
  readonly stallMs?: number;
  /** Milliseconds that a reading of NVML may take. */
  readonly nvmlReadMs?: number;
  /** Device memory that each GPU's arenas and indexes may take. */
  readonly gpuMemoryBytesMax?: number;
  /** False: GPUs are not looked for. */
  readonly useGpus?: boolean;
}

export interface WorkerProcess {
  readonly pid: number;
  /** Everything the process wrote to stderr so far. */
  log(): string;
  /** SIGKILL, and the end of the process. */
  kill(): Promise<void>;
  /** SIGTERM, and the exit code. */
  stop(): Promise<number | null>;
  /** Process ids of its children: executors, and the one that asks NVML. */
  executors(): readonly number[];
  /** Process id of the executor of a device, or null while there is none. */
  executorOf(deviceId: string): number | null;
}

const running = new Set<ChildProcess>();

/** Starts a worker process and waits until it polls. */
export async function startWorkerProcess(
  options: WorkerOptions,
  environment: NodeJS.ProcessEnv,
): Promise<WorkerProcess> {
  const child = spawn(process.execPath, [ENTRY, JSON.stringify({ logLevel: 'warn', ...options })], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
  const ended = new Promise<number | null>((resolve) => {
    child.once('exit', (code) => {
      running.delete(child);
      resolve(code);
    });
  });
  await new Promise<void>((resolve, reject) => {
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
      if (out.includes('READY')) resolve();
    });
    void ended.then((code) => reject(new Error(`worker ended with ${String(code)}:\n${log}`)));
  });
  return {
    pid: child.pid ?? 0,
    log: () => log,
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
    stop: async () => {
      child.kill('SIGTERM');
      return ended;
    },
    executors: () => childrenOf(child.pid ?? 0),
    executorOf: (deviceId) =>
      childrenOf(child.pid ?? 0).find((pid) =>
        commandOf(pid).includes(`"deviceId":"${deviceId}"`),
      ) ?? null,
  };
}

/** Kills what a failed test left running. */
export async function killAllWorkers(): Promise<void> {
  await Promise.all(
    [...running].map(
      (child) =>
        new Promise<void>((resolve) => {
          child.once('exit', () => resolve());
          child.kill('SIGKILL');
        }),
    ),
  );
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
  } catch {
    return false;
  }
}

function childrenOf(pid: number): readonly number[] {
  try {
    const text = readFileSync(`/proc/${String(pid)}/task/${String(pid)}/children`, 'utf8');
    return text.trim().split(/\s+/u).filter(Boolean).map(Number);
  } catch {
    return [];
  }
}
