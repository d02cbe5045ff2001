// Owns the lines of a run as commands about the live run read them: from the service only, and a run
// that it does not know is the user's mistake.
import {
  HistoryError,
  runLines as linesOf,
  type HistoryLine,
  type HistorySource,
} from '../../history/index.ts';
import { CliError } from '../errors.ts';

export {
  isNotFound,
  serviceHistory,
  type HistorySource,
  type LinkEvent,
} from '../../history/index.ts';

/**
 * Yields the plan lines of a run, shard by shard.
 *
 * @throws {CliError} `CLI_RUN_UNKNOWN` when the server knows no execution of the run
 */
export async function* runLines(source: HistorySource, runId: string): AsyncGenerator<HistoryLine> {
  try {
    yield* linesOf(runId, { service: source, sink: null });
  } catch (error) {
    if (!(error instanceof HistoryError) || error.code !== 'HISTORY_RUN_UNKNOWN') throw error;
    throw new CliError(
      'CLI_RUN_UNKNOWN',
      `run ${runId} is unknown: expected a run of this server, got none; see tileloom run list`,
      { details: { runId }, cause: error },
    );
  }
}
