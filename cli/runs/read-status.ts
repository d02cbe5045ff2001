// Owns reading a run's status within a session, joined with what this machine remembers.
import type { Session } from '../session.ts';
import { recallRun } from './local-runs.ts';
import type { RunReport } from './report.ts';
import { readRunStatus } from './status.ts';

/** @throws {CliError} `CLI_RUN_UNKNOWN`, `CLI_RUN_FOREIGN`, `CLI_RUN_NEWER` */
export async function readStatus(session: Session, runId: string): Promise<RunReport> {
  const local = await recallRun(session.runsFolder, runId);
  return readRunStatus({ client: session.client, now: session.now, local }, runId);
}
