// An io that records what a command writes, with a clock that only moves by sleeping.
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { main } from '../../cli/main.ts';
import type { CommandIo } from '../../cli/io.ts';

export interface Recorded {
  readonly io: CommandIo;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Presses Ctrl-C. */
  readonly interrupt: () => void;
}

/** Creates a recording io; without a terminal unless asked for. */
export function recordingIo(overrides: Partial<CommandIo> = {}): Recorded {
  let out = '';
  let err = '';
  let now = Date.UTC(2026, 0, 2, 3, 4, 5);
  const handlers: (() => void)[] = [];
  const io: CommandIo = {
    stdout: (text) => {
      out += text;
    },
    stderr: (text) => {
      err += text;
    },
    stdoutIsTty: false,
    stderrIsTty: false,
    columns: 100,
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      TILELOOM_HOME: join(tmpdir(), 'tileloom-cli-test-no-server'),
      TILELOOM_PORT: '1',
    },
    cwd: process.cwd(),
    now: () => now,
    sleep: async (ms) => {
      now += ms;
      await Promise.resolve();
    },
    onInterrupt: (handler) => {
      handlers.push(handler);
      return () => {
        handlers.splice(handlers.indexOf(handler), 1);
      };
    },
    ...overrides,
  };
  return {
    io,
    stdout: () => out,
    stderr: () => err,
    interrupt: () => {
      handlers.at(-1)?.();
    },
  };
}

/** Runs one command line and returns what came of it. */
export async function runCli(
  words: readonly string[],
  overrides: Partial<CommandIo> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const recorded = recordingIo(overrides);
  const code = await main(words, recorded.io);
  return { code, stdout: recorded.stdout(), stderr: recorded.stderr() };
}
