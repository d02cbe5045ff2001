// Owns the replay of recorded histories against a bundle, without a server.
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import type { WorkerOptions } from '@temporalio/worker';
import type { GoldenHistory } from './histories.ts';

export interface Mismatch {
  readonly golden: GoldenHistory;
  readonly message: string;
}

/** For processes that only replay: what goes wrong is asserted, not logged. */
export function installQuietRuntime(): void {
  Runtime.install({
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging: { forward: {}, filter: { core: 'ERROR', other: 'ERROR' } } },
    shutdownSignals: [],
  });
}

/**
 * Replays histories in turn.
 *
 * @param enough stop after so many mismatches
 */
export async function replay(
  workflowBundle: NonNullable<WorkerOptions['workflowBundle']>,
  histories: readonly GoldenHistory[],
  enough = Infinity,
): Promise<readonly Mismatch[]> {
  const replayed = Worker.runReplayHistories(
    { workflowBundle },
    histories.map(({ workflowId, history }) => ({
      workflowId,
      history: historyFromJSON(history),
    })),
  );
  const mismatches: Mismatch[] = [];
  let index = 0;
  for await (const { error } of replayed) {
    const golden = histories[index];
    index += 1;
    if (error !== undefined && golden !== undefined) {
      mismatches.push({ golden, message: error.message });
    }
    if (mismatches.length >= enough) break;
  }
  return mismatches;
}
