// Owns commands that stay with a run: what they print meanwhile, at the end, and with which exit code.
import type { ActionContext } from '../command.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { interruptible } from '../io.ts';
import type { Session } from '../session.ts';
import { exitCodeOfPhase, followRun, type Followed } from './follow.ts';
import { isReached, type Goal } from './goals.ts';
import { readStatus } from './read-status.ts';
import { renderStatus } from './render-status.ts';
import type { RunReport } from './report.ts';

export const STATUS_SCHEMA = 'tileloom.cli.run-status/1';

export interface FollowChoices {
  readonly timeoutMs?: number | undefined;
  readonly until?: ((report: RunReport) => boolean) | undefined;
  /** No progress, no line per change; undefined: progress in text, lines in jsonl. */
  readonly quiet: boolean | undefined;
}

/** Follows a run; the first Ctrl-C detaches. */
export async function follow(
  { io, output }: ActionContext,
  runId: string,
  read: () => Promise<RunReport>,
  { timeoutMs, until, quiet }: FollowChoices,
): Promise<Followed> {
  const message = `detached; the run goes on. See it again: tileloom run watch ${runId}`;
  let last = '';
  const { value } = await interruptible(io, message, (signal) =>
    followRun({
      io,
      label: runId,
      signal,
      read,
      until,
      timeoutMs,
      quiet: quiet ?? output.format !== 'text',
      onReport: (report) => {
        const { phase, counts, waiting, epoch } = report;
        const line = JSON.stringify([phase, counts, waiting, epoch]);
        if (output.format === 'jsonl' && quiet !== true && report.open && line !== last) {
          last = line;
          output.document(STATUS_SCHEMA, report, () => '');
        }
      },
    }),
  );
  return value;
}

/** Prints the final status and gives the exit code. */
export function finishFollowing(
  { output }: ActionContext,
  runId: string,
  { report, end }: Followed,
  print: boolean,
): number {
  if (report !== null && print) {
    output.document(STATUS_SCHEMA, report, () => renderStatus(report));
  }
  if (end === 'detached') {
    return EXIT.interrupted;
  }
  if (end === 'timed-out') {
    output.note(`run ${runId} has not ended in time; it goes on`);
    return EXIT.waitTimedOut;
  }
  return report === null ? EXIT.unexpected : exitCodeOfPhase(report.phase);
}

/**
 * Waits silently for a goal and prints the status in which it came.
 *
 * @returns the exit code: 0 once a goal other than `finished` has come
 * @throws {CliError} `CLI_RUN_ENDED` when the run ends first
 */
export async function followUntil(
  action: ActionContext,
  session: Session,
  runId: string,
  { goal, timeoutMs }: { readonly goal: Goal; readonly timeoutMs: number | undefined },
): Promise<number> {
  const read = (): Promise<RunReport> => readStatus(session, runId);
  const until = (report: RunReport): boolean => isReached(goal, report);
  const followed = await follow(action, runId, read, { timeoutMs, until, quiet: true });
  const { report, end } = followed;
  if (goal === 'finished') {
    return finishFollowing(action, runId, followed, true);
  }
  if (end === 'closed' && report !== null) {
    throw new CliError(
      'CLI_RUN_ENDED',
      `run ${runId} has ended: expected it to be ${goal} before, got phase ${report.phase}; ` +
        `see tileloom run status ${runId}`,
      { details: { runId, phase: report.phase } },
    );
  }
  if (report !== null) {
    action.output.document(STATUS_SCHEMA, report, () => renderStatus(report));
  }
  if (end === 'timed-out') {
    action.output.note(`run ${runId} is not ${goal} in time; it goes on`);
    return EXIT.waitTimedOut;
  }
  return end === 'detached' ? EXIT.interrupted : EXIT.ok;
}
