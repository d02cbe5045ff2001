// Owns the plan lines of a run from whatever knows them: the service, and the run's sink where the
// service has forgotten.
import { runWorkflowIdOf } from './names.ts';
import { HistoryError } from './errors.ts';
import { begunShards, shardLines, type BegunShard, type HistorySource } from './live.ts';
import type { HistoryLine } from './plan-lines.ts';
import { sealedLines, sealedShards, type SealedShard } from './sealed.ts';

/** Where the lines of a run may come from. */
export interface LineOrigin {
  /** Null: the service is not asked. */
  readonly service: HistorySource | null;
  /** Null: not known, or on another machine. */
  readonly sink: string | null;
  /** Hears that sealed records stand in: for one shard, or (null) for the whole run. */
  readonly onForgotten?: (shard: number | null) => void;
}

/**
 * Yields the plan lines of a run in their one order.
 *
 * @throws {HistoryError} `HISTORY_RUN_UNKNOWN` when neither knows the run, `HISTORY_INCOMPLETE` when
 *   part of it is forgotten and not sealed either
 */
export async function* runLines(runId: string, origin: LineOrigin): AsyncGenerator<HistoryLine> {
  const { service, sink, onForgotten } = origin;
  const begun = service === null ? null : await begunShards(service, runId);
  const sealed = sink === null ? [] : await sealedShards(sink);
  if (begun === null && sealed.length === 0) {
    throw new HistoryError(
      'HISTORY_RUN_UNKNOWN',
      `run ${runId} is unknown: expected a run of this server or its sealed records, got neither; ` +
        'see tileloom run list, or name its sink with --from',
      { details: { runId } },
    );
  }
  if (begun === null && service !== null) onForgotten?.(null);
  for (const shard of shardNumbers(begun, sealed)) {
    const chain = sealed.find((one) => one.shard === shard);
    const fromSink = chain === undefined || sink === null ? null : () => sealedLines(sink, chain);
    if (service === null || begun === null) {
      if (fromSink !== null) yield* fromSink();
      continue;
    }
    const live = begun.find((one) => one.shard === shard) ?? forgottenShard(runId, shard);
    yield* shardLines(service, live, fromSink, () => onForgotten?.(shard));
  }
}

function shardNumbers(
  begun: readonly BegunShard[] | null,
  sealed: readonly SealedShard[],
): readonly number[] {
  const numbers = new Set([...(begun ?? []), ...sealed].map(({ shard }) => shard));
  return [...numbers].toSorted((a, b) => a - b);
}

/** A shard whose start is not known any more; its later executions may be. */
function forgottenShard(runId: string, shard: number): BegunShard {
  return { shard, workflowId: `${runWorkflowIdOf(runId)}/shard-${String(shard)}`, starts: [] };
}
