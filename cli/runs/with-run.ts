// Owns the way into every command about one run: its id is checked before any server is asked.
import { CliError } from '../errors.ts';
import type { CommandIo } from '../io.ts';
import { withSession, type Session } from '../session.ts';
import { isRunId } from './local-runs.ts';

/** Opens a session for a command about one run. */
export async function withRun<T>(
  io: CommandIo,
  runId: string,
  run: (session: Session) => Promise<T>,
): Promise<T> {
  requireRunId(runId);
  return withSession(io, {}, run);
}

/**
 * Checks that a text can be a run id.
 *
 * @throws {CliError} `CLI_USAGE`
 */
export function requireRunId(runId: string): void {
  if (!isRunId(runId)) {
    throw new CliError(
      'CLI_USAGE',
      `${JSON.stringify(runId)} is no run id: expected letters, digits, dots, dashes and underscores; ` +
        'see tileloom run list',
    );
  }
}
