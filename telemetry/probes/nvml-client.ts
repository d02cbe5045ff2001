// Owns the NVML child process from the outside: start, time limits, a driver that hangs, its end.
//
// I1  A reading never rejects and takes at most `readMs`; a child that exceeds it is killed.
// I2  At most one child exists, counting one that was killed and that the kernel cannot end yet.
// I3  A child starts when a reading needs it, at most one every `restartMs`; in between, readings fail at
//     once with the last failure. No library at all is remembered for good.
// I4  Neither the child nor its channel keeps this process alive.
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { FromNvml, NvmlDevice, NvmlReading, ToNvml } from './nvml-messages.ts';

export interface NvmlReader {
  /**
   * Reads the given devices, or all that NVML knows.
   *
   * @param devices null: all
   */
  read(devices: readonly NvmlDevice[] | null): Promise<NvmlReading>;
  close(): void;
}

export interface NvmlClientOptions {
  /** Milliseconds that a reading may take. */
  readonly readMs?: number;
  /** Milliseconds that the child has to load the library and to start NVML. */
  readonly startMs?: number;
  /** Milliseconds between two starts of a child. */
  readonly restartMs?: number;
  /** Of the child; TILELOOM_NVML in it names another library. Default: this process's. */
  readonly environment?: NodeJS.ProcessEnv;
}

type Failure = Extract<NvmlReading, { kind: 'failed' }>;

interface Child {
  readonly process: ChildProcess;
  readonly startTimer: NodeJS.Timeout;
  /** Settles when the child is ready, or never will be. */
  readonly settled: Promise<void>;
  readonly settle: () => void;
  ready: boolean;
  /** A reading has waited for the start in vain: the next ones do not. */
  slow: boolean;
  lastWords: string;
}

const READ_MS = 1_000;
const START_MS = 10_000;
const RESTART_MS = 10_000;
const REASON_LENGTH_MAX = 160;

const ENTRY = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? '../../dist/telemetry/probes/nvml-main.js' : './nvml-main.js',
    import.meta.url,
  ),
);

/** Creates a reader; its child starts with the first reading. */
export function createNvmlReader(options: NvmlClientOptions = {}): NvmlReader {
  return new NvmlClient(options);
}

class NvmlClient implements NvmlReader {
  readonly #readMs: number;
  readonly #startMs: number;
  readonly #restartMs: number;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #pending = new Map<number, (reading: NvmlReading) => void>();
  #child: Child | null = null;
  #killed: Child | null = null;
  #startedAt = -Infinity;
  #failure: Failure = failed('unavailable', 'NVML was not asked yet');
  #hopeless = false;
  #lastId = 0;

  constructor({ readMs, startMs, restartMs, environment }: NvmlClientOptions) {
    this.#readMs = readMs ?? READ_MS;
    this.#startMs = startMs ?? START_MS;
    this.#restartMs = restartMs ?? RESTART_MS;
    this.#environment = environment ?? process.env;
  }

  async read(devices: readonly NvmlDevice[] | null): Promise<NvmlReading> {
    const child = this.#child ?? this.#start();
    if (child === null) return this.#failure;
    if (!child.ready) {
      const starting = failed('starting', `NVML is not ready after ${this.#readMs} ms`);
      if (child.slow) return starting;
      await this.#inTime(child.settled);
      if (this.#child !== child) return this.#failure;
      if (!child.ready) {
        child.slow = true;
        return starting;
      }
    }
    return this.#ask(child, devices);
  }

  close(): void {
    this.#hopeless = true;
    if (this.#child !== null) {
      this.#abandon(this.#child, failed('unavailable', 'the NVML reader is closed'));
    }
  }

  async #inTime(promise: Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.#readMs);
    });
    await Promise.race([promise, late]);
    clearTimeout(timer);
  }

  #ask(child: Child, devices: readonly NvmlDevice[] | null): Promise<NvmlReading> {
    const id = (this.#lastId += 1);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#abandon(child, failed('timeout', `NVML did not answer within ${this.#readMs} ms`));
      }, this.#readMs);
      this.#pending.set(id, (reading) => {
        this.#pending.delete(id);
        clearTimeout(timer);
        resolve(reading);
      });
      // A channel that is closed already shows in the exit that follows.
      child.process.send({ id, devices } satisfies ToNvml, () => undefined);
    });
  }

  #start(): Child | null {
    const now = performance.now();
    if (this.#hopeless || this.#killed !== null || now - this.#startedAt < this.#restartMs) {
      return null;
    }
    this.#startedAt = now;
    try {
      this.#child = this.#fork();
    } catch (error) {
      this.#failure = failed('unavailable', `the NVML process did not start: ${String(error)}`);
    }
    return this.#child;
  }

  #fork(): Child {
    const process_ = fork(ENTRY, [String(process.pid)], {
      env: this.#environment,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // A process group of its own: Ctrl-C in a terminal is for the worker.
      detached: true,
      execArgv: [],
    });
    let settle = (): void => undefined;
    const settled = new Promise<void>((resolve) => {
      settle = resolve;
    });
    const startTimer = setTimeout(() => {
      this.#abandon(child, failed('timeout', `NVML did not start within ${this.#startMs} ms`));
    }, this.#startMs).unref();
    const child: Child = {
      ...{ process: process_, startTimer, settled, settle },
      ...{ ready: false, slow: false, lastWords: '' },
    };
    process_.stderr?.setEncoding('utf8').on('data', (text: string) => {
      child.lastWords = `${child.lastWords}${text}`.slice(-REASON_LENGTH_MAX);
    });
    process_.on('error', (error) => this.#onExit(child, error.message));
    process_.on('message', (message) => this.#onMessage(child, message as FromNvml));
    process_.once('close', (code, signal) => this.#onExit(child, signal ?? `code ${String(code)}`));
    process_.unref();
    process_.channel?.unref();
    (process_.stderr as { unref?: () => void } | null)?.unref?.();
    return child;
  }

  #onMessage(child: Child, message: FromNvml): void {
    if (message.kind === 'reading') {
      this.#pending.get(message.id)?.({ kind: 'read', devices: message.devices });
    } else if (message.kind === 'ready') {
      child.ready = true;
      clearTimeout(child.startTimer);
      child.settle();
    } else {
      this.#hopeless ||= message.lasting;
      this.#abandon(child, failed('unavailable', message.reason));
    }
  }

  #onExit(child: Child, ending: string): void {
    if (this.#killed === child) this.#killed = null;
    if (this.#child !== child) return;
    const words = child.lastWords.trim();
    const why = `the NVML process ended with ${ending}${words === '' ? '' : `: ${words}`}`;
    this.#abandon(child, failed('unavailable', why));
    this.#killed = null;
  }

  /** Kills the child and answers what waits for it. Another one starts when a reading needs it. */
  #abandon(child: Child, failure: Failure): void {
    if (this.#child !== child) return;
    this.#child = null;
    this.#killed = child;
    this.#failure = failure;
    clearTimeout(child.startTimer);
    child.process.kill('SIGKILL');
    child.settle();
    for (const answer of this.#pending.values()) answer(failure);
  }
}

function failed(code: Failure['code'], reason: string): Failure {
  return { kind: 'failed', code, reason: reason.slice(0, REASON_LENGTH_MAX) };
}
