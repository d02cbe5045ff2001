// Owns one executor child process from the outside: start, chunks, crash, hang, cancel, stop.
//
// I1  A crash, a kill or a hang ends the child only; every job in flight gets an answer.
// I2  A fault is blamed on a variant only when its job was alone in the child, and a SIGKILL only when
//     it comes again. Otherwise each job gets EXECUTOR_BYSTANDER (RESIDENCY_LOST: try again) and its
//     variant becomes a suspect; suspects run alone until one of their chunks succeeds.
//     A GPU that is lost names its culprit, too, if one job alone had calls on it.
// I3  A job counts as hung when it is computing and its progress stands still for `stallMs`, or when
//     it is loading or writing for `loadMs`: fixed times, never multiples of a prediction.
// I4  A child that outlives its kill, because a driver keeps it in the kernel, counts as ended after
//     `cancelGraceMs`. It keeps the lock of its device until it is gone: no other works there before.
import type { ChildProcess } from 'node:child_process';
import { forkExecutor } from './child.ts';
import { DeviceHealth } from './device-health.ts';
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
import { cancelled, verdictOf, type Culprit } from './verdict.ts';

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
  /** Hears that the state of the device has changed: in service or not, layers resident. */
  readonly onState?: () => void;
  /** What is known of the GPU's health; by default nothing bad. */
  readonly health?: DeviceHealth;
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
  /** Job whose hang, deaf ear or loss of the device made us kill the child. */
  culprit: Culprit | null;
  /** Whether its jobs have been judged. */
  hasEnded: boolean;
}

/** Client of the executor child process of one device. */
export class ExecutorClient {
  readonly #options: ExecutorClientOptions;
  readonly #jobs = new Map<string, JobInFlight>();
  readonly #suspects = new Set<string>();
  readonly #gate = new Gate();
  readonly #health: DeviceHealth;
  /** Chunks from their coming to their answer, those at the gate and before a start included. */
  #chunks = 0;
  #resident: readonly string[] = [];
  #child: Child | null = null;
  #watchdog: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(options: ExecutorClientOptions) {
    this.#options = options;
    this.#health = options.health ?? new DeviceHealth();
  }

  /** Chunks that wait or run here. */
  get jobsInFlight(): number {
    return this.#chunks;
  }

  /** Process id of the running child, or null. */
  get pid(): number | null {
    return this.#child?.process.pid ?? null;
  }

  /** Whether the device is out of service; asking changes nothing. */
  get quarantine(): string | null {
    return this.#options.gpu === null ? null : this.#health.quarantine;
  }

  /** Keys of layers whose index lies on the device. */
  get resident(): readonly string[] {
    return this.#resident;
  }

  /** Tries a device that is out of service again, where it is time for that. */
  reopenIfDue(): void {
    if (this.quarantine !== null && !this.#stopped && this.#health.mayOpen) void this.warm();
  }

  /** Starts the child ahead of the first chunk; settles when it is ready or has failed, never rejects. */
  async warm(): Promise<void> {
    try {
      await this.#start().ready;
    } catch (error) {
      this.#options.onLog(String(error));
    }
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
    let leave = (): void => undefined;
    this.#chunks += 1;
    try {
      leave = await this.#gate.enter(alone, signal);
      const result = await this.#runInChild(job, alone, onProgress, signal);
      this.#suspects.delete(job.variant);
      return result;
    } finally {
      leave();
      this.#chunks -= 1;
    }
  }

  /** Asks the child to finish and waits for its end; kills it after the grace time. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const child = this.#child;
    if (child === null) return;
    const { cancelGraceMs } = this.#options;
    this.#send(child, { kind: 'stop' });
    const timer = setTimeout(() => this.#kill(child), cancelGraceMs);
    await new Promise<void>((resolve) => {
      const leave = setTimeout(resolve, 2 * cancelGraceMs);
      child.process.once('exit', () => {
        clearTimeout(leave);
        resolve();
      });
    });
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
    this.#refuseQuarantined();
    const { threads, deviceId, cacheDir, lockPath, lockWaitMs, externalRegistry, gpu } =
      this.#options;
    const options: ExecutorOptions = {
      ...{ threads, deviceId, cacheDir, lockPath, externalRegistry, gpu },
      ...(lockWaitMs === undefined ? {} : { lockWaitMs }),
    };
    const process_ = forkExecutor(options, this.#options.onLog);
    const ready = this.#awaitReady(process_);
    ready.catch(() => undefined);
    const child: Child = { process: process_, ready, culprit: null, hasEnded: false };
    process_.on('message', (message) => this.#onMessage(child, message as FromExecutor));
    process_.once('exit', (code, signal) => this.#onExit(child, code, signal));
    this.#child = child;
    this.#watchdog ??= setInterval(() => this.#watch(), 250).unref();
    return child;
  }

  /** @throws {ExecutorError} with the code of the quarantine, while the device is not to be opened */
  #refuseQuarantined(): void {
    const { quarantine } = this;
    if (quarantine === null || this.#health.mayOpen) return;
    throw new ExecutorError(
      'RESIDENCY_LOST',
      quarantine.split(':', 1)[0] ?? 'DEVICE_MISSING',
      `device ${this.#options.deviceId} is out of service: ${quarantine}; it is planned elsewhere`,
      { retryable: true },
    );
  }

  #awaitReady(process_: ChildProcess): Promise<void> {
    const { deviceId, startMs, gpu } = this.#options;
    return new Promise<void>((resolve, reject) => {
      let isSettled = false;
      // The first word counts: a child that is killed for being late ends as well.
      const refuse = (code: string, message: string): void => {
        if (isSettled) return;
        isSettled = true;
        clearTimeout(timer);
        if (gpu !== null && !this.#stopped) this.#health.refused(code, message);
        reject(new ExecutorError('RESIDENCY_LOST', code, message, { retryable: true }));
        this.#options.onState?.();
      };
      const fail = (why: string): void =>
        refuse(
          'EXECUTOR_START_FAILED',
          `executor of device ${deviceId} did not start: ${why}; see the worker's log`,
        );
      const timer = setTimeout(() => {
        if (this.#child?.process === process_) this.#kill(this.#child);
        fail(`expected it to be ready within ${startMs} ms`);
      }, startMs);
      process_.on('message', (received) => {
        const message = received as FromExecutor;
        if (message.kind === 'unusable') refuse(message.code, message.message);
        else if (message.kind === 'ready' && !isSettled) {
          isSettled = true;
          clearTimeout(timer);
          this.#health.opened();
          resolve();
          this.#options.onState?.();
        }
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

  #onMessage(child: Child, message: FromExecutor): void {
    if (child.hasEnded) return;
    if (message.kind === 'resident') {
      this.#resident = message.layers;
      this.#options.onState?.();
    }
    if (message.kind === 'lost') this.#loseDevice(child, message);
    if (!('jobId' in message) || message.kind === 'lost') return;
    const entry = this.#jobs.get(message.jobId);
    if (entry === undefined) return;
    if (message.kind === 'progress') {
      entry.progress = message.progress;
      entry.movedAt = performance.now();
      entry.onProgress(message.progress);
    } else if (message.kind === 'done') {
      entry.settle(message.result);
    } else if (child.culprit === null) {
      const { type, code, message: text, tile, input } = message.failure;
      entry.settle(new ExecutorError(type, code, text, { tile, input }));
    }
  }

  /** What jobs of the child answer from now on only tells that the device is lost: the end judges them. */
  #loseDevice(child: Child, { jobId, code, message }: FromExecutor & { kind: 'lost' }): void {
    if (child.culprit !== null) return;
    child.culprit = { jobId, code: 'DEVICE_LOST', why: message };
    this.#options.onLog(`device lost: ${message}`);
    this.#health.lost(code);
    this.#options.onState?.();
    this.#kill(child);
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
        why: `${this.#patienceMs(entry.progress.stage)} ms`,
      };
      if (!deaf) this.#health.lost('EXECUTOR_HUNG');
      this.#kill(child);
      return;
    }
  }

  /** Ends the child, and gives up on it where even that takes too long. */
  #kill(child: Child): void {
    child.process.kill('SIGKILL');
    setTimeout(() => this.#onExit(child, null, 'SIGKILL'), this.#options.cancelGraceMs).unref();
  }

  #patienceMs(stage: ChunkProgress['stage']): number {
    if (stage === 'queued') return Number.POSITIVE_INFINITY;
    return stage === 'running' ? this.#options.stallMs : this.#options.loadMs;
  }

  #onExit(child: Child, code: number | null, signal: NodeJS.Signals | null): void {
    if (child.hasEnded) return;
    child.hasEnded = true;
    if (this.#child === child) this.#child = null;
    if (this.#watchdog !== null) clearInterval(this.#watchdog);
    this.#watchdog = null;
    this.#resident = [];
    const ending = signal ?? `exit code ${String(code)}`;
    const lost = [...this.#jobs.values()];
    const { culprit } = child;
    // A SIGKILL may come from anybody; only the second one in a row speaks of memory.
    const unclear = lost.length > 1 || (signal === 'SIGKILL' && lost.some(({ alone }) => !alone));
    const isBlameless = culprit !== null || this.#stopped || unclear;
    const isNobodys = culprit === null ? !this.#stopped && unclear : culprit.jobId === null;
    if (isNobodys) for (const entry of lost) this.#suspects.add(entry.job.variant);
    for (const { job, cancelledAt, settle } of lost) {
      const isCancelled = cancelledAt !== null;
      settle(verdictOf({ job, isCancelled, culprit, ending, signal, isBlameless }));
    }
    this.#options.onState?.();
  }
}
