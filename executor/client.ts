// Owns one executor child process from the outside: start, chunks, crash, hang, cancel, stop.
//
// I1  A crash, a kill or a hang ends the child only; every job in flight gets an answer.
// I2  A fault is blamed on a variant only when its job was alone in the child, and a SIGKILL only when
//     it comes again. Otherwise each job gets EXECUTOR_BYSTANDER (RESIDENCY_LOST: try again) and its
//     variant becomes a suspect; suspects run alone until one of their chunks succeeds.
// I3  A job counts as hung when it is computing and its progress stands still for `stallMs`, or when
//     it is loading or writing for `loadMs`: fixed times, never multiples of a prediction.
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ExecutorError } from './errors.ts';
import { Gate } from './gate.ts';
import type {
  ChunkJob,
  ChunkProgress,
  ChunkResult,
  ExecutorOptions,
  FromExecutor,
  ToExecutor,
} from './protocol.ts';

export interface ExecutorClientOptions extends ExecutorOptions {
  /** Milliseconds without progress after which a computing job counts as hung. */
  readonly stallMs: number;
  /** Milliseconds that loading (dataset, index of the layer) or making a part durable may take. */
  readonly loadMs: number;
  /** Milliseconds a cancelled job has to stop between batches before its process is killed. */
  readonly cancelGraceMs: number;
  /** Milliseconds the child has to load its libraries and take the device lock. */
  readonly startMs: number;
  readonly onLog: (line: string) => void;
}

interface JobInFlight {
  readonly job: ChunkJob;
  /** Whether its variant was a suspect, so that nothing else ran beside it. */
  readonly alone: boolean;
  readonly onProgress: (progress: ChunkProgress) => void;
  readonly settle: (outcome: ChunkResult | ExecutorError) => void;
  progress: ChunkProgress;
  movedAt: number;
  cancelledAt: number | null;
}

interface Child {
  readonly process: ChildProcess;
  readonly ready: Promise<void>;
  /** Job whose hang or deaf ear made us kill the child. */
  culprit: { jobId: string; code: 'EXECUTOR_HUNG' | 'CHUNK_CANCELLED' } | null;
}

const ENTRY = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? '../dist/executor/main.js' : './main.js',
    import.meta.url,
  ),
);

/** Environment of the child: the libuv pool is sized for kernels in flight plus file system work. */
function childEnvironment(threads: number): NodeJS.ProcessEnv {
  return { ...process.env, UV_THREADPOOL_SIZE: String(threads + 4) };
}

/** Client of the executor child process of one device. */
export class ExecutorClient {
  readonly #options: ExecutorClientOptions;
  readonly #jobs = new Map<string, JobInFlight>();
  readonly #suspects = new Set<string>();
  readonly #gate = new Gate();
  #child: Child | null = null;
  #watchdog: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(options: ExecutorClientOptions) {
    this.#options = options;
  }

  get jobsInFlight(): number {
    return this.#jobs.size;
  }

  /** Process id of the running child, or null. */
  get pid(): number | null {
    return this.#child?.process.pid ?? null;
  }

  /** Starts the child ahead of the first chunk; a failure shows when a chunk needs it. */
  warm(): void {
    this.#start().ready.catch((error: unknown) => this.#options.onLog(String(error)));
  }

  /**
   * Runs one chunk; starts the child when there is none.
   *
   * @throws {ExecutorError} typed by what the lane should do about it
   */
  async run(
    job: ChunkJob,
    onProgress: (progress: ChunkProgress) => void,
    signal: AbortSignal,
  ): Promise<ChunkResult> {
    const alone = this.#suspects.has(job.variant);
    onProgress({ stage: 'queued', tilesDone: 0, tilesTotal: job.endTile - job.firstTile });
    const leave = await this.#gate.enter(alone, signal);
    try {
      const result = await this.#runInChild(job, alone, onProgress, signal);
      this.#suspects.delete(job.variant);
      return result;
    } finally {
      leave();
    }
  }

  /** Asks the child to finish and waits for its end; kills it after the grace time. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const child = this.#child;
    if (child === null) return;
    const ended = new Promise<void>((resolve) => child.process.once('exit', () => resolve()));
    this.#send(child, { kind: 'stop' });
    const timer = setTimeout(() => child.process.kill('SIGKILL'), this.#options.cancelGraceMs);
    await ended;
    clearTimeout(timer);
  }

  async #runInChild(
    job: ChunkJob,
    alone: boolean,
    onProgress: (progress: ChunkProgress) => void,
    signal: AbortSignal,
  ): Promise<ChunkResult> {
    const child = this.#start();
    await child.ready;
    if (signal.aborted) throw cancelled(job);
    return new Promise<ChunkResult>((resolve, reject) => {
      const onAbort = (): void => this.#cancel(job.jobId);
      const entry: JobInFlight = {
        job,
        alone,
        onProgress,
        progress: { stage: 'loading', tilesDone: 0, tilesTotal: job.endTile - job.firstTile },
        movedAt: performance.now(),
        cancelledAt: null,
        settle: (outcome) => {
          this.#jobs.delete(job.jobId);
          signal.removeEventListener('abort', onAbort);
          if (outcome instanceof ExecutorError) reject(outcome);
          else resolve(outcome);
        },
      };
      this.#jobs.set(job.jobId, entry);
      signal.addEventListener('abort', onAbort);
      this.#send(child, { kind: 'run', job });
    });
  }

  #start(): Child {
    if (this.#stopped) {
      throw new ExecutorError(
        'RESIDENCY_LOST',
        'EXECUTOR_STOPPED',
        `executor of device ${this.#options.deviceId} is stopping: it takes no more chunks`,
        { retryable: true },
      );
    }
    if (this.#child !== null) return this.#child;
    const { threads, deviceId, cacheDir, lockPath, externalRegistry, gpu } = this.#options;
    const options: ExecutorOptions = {
      ...{ threads, deviceId, cacheDir, lockPath, externalRegistry, gpu },
    };
    const process_ = fork(ENTRY, [JSON.stringify(options)], {
      env: childEnvironment(threads),
      stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
      // A process group of its own: Ctrl-C in a terminal is for the worker, which drains first.
      detached: true,
      execArgv: [],
    });
    const child: Child = { process: process_, ready: this.#awaitReady(process_), culprit: null };
    child.ready.catch(() => undefined);
    for (const stream of [process_.stdout, process_.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => this.#options.onLog(text.trimEnd()));
    }
    process_.stdin?.on('error', () => undefined);
    process_.on('error', () => undefined);
    process_.on('message', (message) => this.#onMessage(message as FromExecutor));
    process_.once('exit', (code, signal) => this.#onExit(child, code, signal));
    this.#child = child;
    this.#watchdog ??= setInterval(() => this.#watch(), 250).unref();
    return child;
  }

  #awaitReady(process_: ChildProcess): Promise<void> {
    const { deviceId, startMs } = this.#options;
    return new Promise<void>((resolve, reject) => {
      const fail = (why: string): void => {
        clearTimeout(timer);
        reject(
          new ExecutorError(
            'RESIDENCY_LOST',
            'EXECUTOR_START_FAILED',
            `executor of device ${deviceId} did not start: ${why}; see the worker's log`,
            { retryable: true },
          ),
        );
      };
      const timer = setTimeout(() => {
        process_.kill('SIGKILL');
        fail(`expected it to be ready within ${startMs} ms`);
      }, startMs);
      process_.on('message', (message) => {
        if ((message as FromExecutor).kind !== 'ready') return;
        clearTimeout(timer);
        resolve();
      });
      process_.once('exit', (code, signal) => fail(`it ended with ${signal ?? `code ${code}`}`));
      process_.once('error', (error) => fail(error.message));
    });
  }

  #send(child: Child, message: ToExecutor): void {
    if (!child.process.connected) return;
    child.process.send(message, (error) => {
      if (error !== null) this.#options.onLog(`executor channel: ${error.message}`);
    });
  }

  #cancel(jobId: string): void {
    const entry = this.#jobs.get(jobId);
    if (entry === undefined || entry.cancelledAt !== null || this.#child === null) return;
    entry.cancelledAt = performance.now();
    this.#send(this.#child, { kind: 'cancel', jobId });
  }

  #onMessage(message: FromExecutor): void {
    if (!('jobId' in message)) return;
    const entry = this.#jobs.get(message.jobId);
    if (entry === undefined) return;
    if (message.kind === 'progress') {
      entry.progress = message.progress;
      entry.movedAt = performance.now();
      entry.onProgress(message.progress);
    } else if (message.kind === 'done') {
      entry.settle(message.result);
    } else {
      const { type, code, message: text, tile, input } = message.failure;
      entry.settle(new ExecutorError(type, code, text, { tile, input }));
    }
  }

  /** Kills the child when a job stalls or ignores its cancellation. */
  #watch(): void {
    const child = this.#child;
    if (child === null || child.culprit !== null) return;
    const now = performance.now();
    for (const entry of this.#jobs.values()) {
      const deaf =
        entry.cancelledAt !== null && now - entry.cancelledAt > this.#options.cancelGraceMs;
      const hung = now - entry.movedAt > this.#patienceMs(entry.progress.stage);
      if (!deaf && !hung) continue;
      child.culprit = {
        jobId: entry.job.jobId,
        code: deaf ? 'CHUNK_CANCELLED' : 'EXECUTOR_HUNG',
      };
      child.process.kill('SIGKILL');
      return;
    }
  }

  #patienceMs(stage: ChunkProgress['stage']): number {
    if (stage === 'queued') return Number.POSITIVE_INFINITY;
    return stage === 'running' ? this.#options.stallMs : this.#options.loadMs;
  }

  #onExit(child: Child, code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#child === child) this.#child = null;
    if (this.#watchdog !== null) clearInterval(this.#watchdog);
    this.#watchdog = null;
    const ending = signal ?? `exit code ${String(code)}`;
    const lost = [...this.#jobs.values()];
    // A SIGKILL may come from anybody; only the second one in a row speaks of memory.
    const unclear = lost.length > 1 || (signal === 'SIGKILL' && lost.some(({ alone }) => !alone));
    const blameless = child.culprit !== null || this.#stopped || unclear;
    if (child.culprit === null && !this.#stopped && unclear) {
      for (const entry of lost) this.#suspects.add(entry.job.variant);
    }
    for (const entry of lost) entry.settle(this.#verdict(entry, child, ending, signal, blameless));
  }

  #verdict(
    entry: JobInFlight,
    child: Child,
    ending: string,
    signal: NodeJS.Signals | null,
    blameless: boolean,
  ): ExecutorError {
    const { job } = entry;
    const where = `chunk ${job.firstTile}-${job.endTile - 1} with ${job.variant}`;
    if (entry.cancelledAt !== null) return cancelled(job);
    if (child.culprit?.jobId === job.jobId) {
      return new ExecutorError(
        'KERNEL_FAULT',
        'EXECUTOR_HUNG',
        `${where} made no progress: expected some within ${this.#patienceMs(entry.progress.stage)} ms; its executor was killed`,
      );
    }
    if (blameless) {
      return new ExecutorError(
        'RESIDENCY_LOST',
        'EXECUTOR_BYSTANDER',
        `${where} was lost when its executor ended with ${ending}; it will be planned again`,
        { retryable: true },
      );
    }
    if (signal === 'SIGKILL') {
      return new ExecutorError(
        'OUT_OF_MEMORY',
        'EXECUTOR_KILLED',
        `${where} ended when its executor was killed with SIGKILL, as the system does when memory runs out; a smaller chunk will be tried`,
      );
    }
    return new ExecutorError(
      'KERNEL_FAULT',
      'EXECUTOR_CRASHED',
      `${where} crashed its executor with ${ending}; the variant is excluded on this device`,
    );
  }
}

function cancelled(job: ChunkJob): ExecutorError {
  return new ExecutorError(
    'CANCELLED',
    'CHUNK_CANCELLED',
    `chunk ${job.firstTile}-${job.endTile - 1} was cancelled`,
  );
}
