// Owns the process as commands see it: streams, environment, clock, Ctrl-C. Tests pass their own.
//
// I1 stdout carries data only, stderr messages only; a closed pipe ends the output without a fault.
// I2 the first Ctrl-C asks the running command to stop, the second ends the process with 130.

export interface CommandIo {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  readonly stdoutIsTty: boolean;
  readonly stderrIsTty: boolean;
  /** Width of the terminal in columns. */
  readonly columns: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly now: () => number;
  /** Resolves after a while, or at once when the signal is aborted. */
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Calls the handler at the first Ctrl-C (or SIGTERM); returns the way to unregister it. */
  readonly onInterrupt: (handler: () => void) => () => void;
}

const LEAVE_MS = 250;

/** Sleeps, waking early when the signal is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    }
  });
}

/** The real process. */
export function processIo(): CommandIo {
  const handlers: (() => void)[] = [];
  let interrupts = 0;
  const interrupt = (): void => {
    interrupts += 1;
    const handler = handlers.at(-1);
    if (interrupts > 1 || handler === undefined) {
      process.exit(130);
    }
    handler();
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  ignoreClosedPipe(process.stdout);
  ignoreClosedPipe(process.stderr);
  return {
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    stdoutIsTty: process.stdout.isTTY,
    stderrIsTty: process.stderr.isTTY && process.env['TERM'] !== 'dumb',
    columns: process.stderr.columns ?? 80,
    env: process.env,
    cwd: process.cwd(),
    now: () => Date.now(),
    sleep,
    onInterrupt: (handler) => {
      handlers.push(handler);
      return () => {
        const at = handlers.indexOf(handler);
        if (at >= 0) {
          handlers.splice(at, 1);
        }
      };
    },
  };
}

/** `tileloom run list | head -1` closes our pipe early; that is no fault of ours. */
function ignoreClosedPipe(stream: NodeJS.WriteStream): void {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') {
      process.exit(0);
    }
    throw error;
  });
}

/**
 * Ends the process once everything is written, even where a library keeps a handle open: a command
 * that is over never hangs. It does not keep the process alive itself.
 */
export function leaveSoon(): void {
  const timer = setInterval(() => {
    if (process.stdout.writableLength === 0 && process.stderr.writableLength === 0) {
      process.exit();
    }
  }, LEAVE_MS);
  timer.unref();
}

/**
 * Runs a function that stops when its signal is aborted; the first Ctrl-C aborts it after a message.
 *
 * @returns the function's value, and whether it was interrupted
 */
export async function interruptible<T>(
  io: CommandIo,
  message: string,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<{ readonly value: T; readonly interrupted: boolean }> {
  const controller = new AbortController();
  const unregister = io.onInterrupt(() => {
    // First: what redraws itself clears its block, so that the message stays.
    controller.abort();
    io.stderr(`\n${message}\n`);
  });
  try {
    const value = await run(controller.signal);
    return { value, interrupted: controller.signal.aborted };
  } finally {
    unregister();
  }
}
