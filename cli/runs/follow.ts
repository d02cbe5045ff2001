// Owns following a run until it ends, a time is up or Ctrl-C detaches: progress on stderr, in jsonl
// a status line on stdout per change. The run itself does not notice.
import { escapeControl } from '../../operator/index.ts';
import { EXIT, exitCodeOf, type ExitCode } from '../exit.ts';
import type { CommandIo } from '../io.ts';
import { createProgress } from '../progress.ts';
import { currentPlan } from './render-status.ts';
import type { RunReport } from './report.ts';

export interface FollowOptions {
  readonly io: CommandIo;
  readonly label: string;
  readonly signal: AbortSignal;
  readonly read: () => Promise<RunReport>;
  readonly timeoutMs?: number | undefined;
  /** Ends early, with `reached`, at the first report for which it holds. */
  readonly until?: ((report: RunReport) => boolean) | undefined;
  readonly quiet?: boolean | undefined;
  readonly onReport?: ((report: RunReport) => void) | undefined;
}

export interface Followed {
  readonly report: RunReport | null;
  readonly end: 'closed' | 'reached' | 'detached' | 'timed-out';
}

/** Errors that no further look can change: wrong id, newer version. */
const FINAL: readonly ExitCode[] = [EXIT.usage, EXIT.conflict];
const POLL_MS = 500;
const SILENCE_MS_MAX = 60_000;

/** Follows a run; errors of the connection are ridden out for a minute. */
export async function followRun(options: FollowOptions): Promise<Followed> {
  const { io, signal } = options;
  const progress = createProgress(io, signal);
  const aborted = once(signal);
  const startedAt = io.now();
  let heardAt = startedAt;
  let report: RunReport | null = null;
  const finish = (end: Followed['end']): Followed => {
    progress.clear();
    return { report, end };
  };
  for (;;) {
    try {
      // A service that does not answer must not hold up Ctrl-C.
      const heard = await Promise.race([options.read(), aborted]);
      if (heard !== null) {
        report = heard;
        heardAt = io.now();
        options.onReport?.(report);
      }
    } catch (error) {
      if (FINAL.includes(exitCodeOf(error)) || io.now() - heardAt > SILENCE_MS_MAX) {
        progress.clear();
        throw error;
      }
    }
    if (report !== null && options.quiet !== true) {
      const silent = io.now() - heardAt > 2_000;
      progress.update(progressOf(options.label, report, silent));
    }
    if (report !== null && options.until?.(report) === true) {
      return finish('reached');
    }
    if (report !== null && !report.open) {
      return finish('closed');
    }
    if (signal.aborted) {
      return finish('detached');
    }
    if (options.timeoutMs !== undefined && io.now() - startedAt >= options.timeoutMs) {
      return finish('timed-out');
    }
    await io.sleep(POLL_MS, signal);
  }
}

/** Resolves with null once the signal is aborted. */
function once(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(null), { once: true });
    if (signal.aborted) {
      resolve(null);
    }
  });
}

function progressOf(
  label: string,
  report: RunReport,
  silent: boolean,
): Parameters<ReturnType<typeof createProgress>['update']>[0] {
  return {
    label: `${label} ${report.phase}`,
    done: report.rows ?? 0,
    total: report.rowsTotal ?? 0,
    unit: 'rows',
    detail: currentPlan(report),
    waiting: silent ? 'the server does not answer' : escapedOrNull(report.waiting),
    paused: report.pause !== null,
  };
}

function escapedOrNull(text: string | null): string | null {
  return text === null ? null : escapeControl(text);
}

/** Exit code of a run that has ended. */
export function exitCodeOfPhase(phase: RunReport['phase']): ExitCode {
  return phase === 'finished' ? EXIT.ok : phase === 'partial' ? EXIT.parked : EXIT.runFailed;
}
