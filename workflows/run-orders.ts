// Owns how the run follows orders about parked tiles for shards that are not open: those that were left
// over, and those that are done, which it opens again when a tile of them is to be retried.
import { CancellationScope } from '@temporalio/workflow';
import type { ParkedOrder } from '../operator/index.ts';
import type { PreparedRun, SelectParkedAnswer } from './activity-contract.ts';
import { failureOf } from './errors.ts';
import type { ShardProgress } from './messages.ts';
import { followOrder, mayHaveParked, nextOrder } from './orders.ts';
import { persist } from './persist.ts';
import type { RunState } from './run-state.ts';

/** Whether a shard that is not open has not followed the last order. */
export function isBehind(run: RunState): boolean {
  const { parkedOrders } = run.operator;
  return run.shards.some(
    (one) => !run.open.has(one.shard) && nextOrder(parkedOrders, one) !== null,
  );
}

/**
 * Follows the orders that shards which are not open have not followed; a failure becomes the run's.
 * No shard may be opened meanwhile.
 */
export async function followClosed(
  run: RunState,
  prepared: PreparedRun,
  hurry: () => boolean,
): Promise<void> {
  while (run.failure === null && !hurry() && isBehind(run)) {
    try {
      await CancellationScope.nonCancellable(() => followNext(run, prepared, hurry));
    } catch (error) {
      run.failure ??= failureOf(error, 'RUN_ACTIVITY_FAILED');
    }
  }
}

async function followNext(
  run: RunState,
  prepared: PreparedRun,
  hurry: () => boolean,
): Promise<void> {
  const closed = run.shards.filter(({ shard }) => !run.open.has(shard));
  const orders = closed.flatMap((one) => nextOrder(run.operator.parkedOrders, one) ?? []);
  const [order] = orders.toSorted((one, other) => one.epoch - other.epoch);
  if (order === undefined) return;
  const behind = closed.filter(({ ordersThrough }) => ordersThrough < order.epoch);
  const answer = await select(run, prepared, order, behind, hurry);
  const followed = new Map(
    behind.map((one) => {
      const tiles = answer.shards.find(({ shard }) => shard === one.shard)?.tiles ?? [];
      return [one.shard, reopened({ ...one, ...followOrder(one, order, tiles, one.free) })];
    }),
  );
  run.shards = run.shards.map((one) => followed.get(one.shard) ?? one);
}

/** A shard that is done and has work again is left over. */
function reopened(progress: ShardProgress): ShardProgress {
  const hasWork = progress.suspects.length > 0;
  return progress.state === 'done' && hasWork ? { ...progress, state: 'yielded' } : progress;
}

async function select(
  run: RunState,
  { contextPath, contextDigest }: PreparedRun,
  order: ParkedOrder,
  behind: readonly ShardProgress[],
  hurry: () => boolean,
): Promise<SelectParkedAnswer> {
  const shards = behind.flatMap((one) => {
    const { shard, head } = one;
    return head !== null && mayHaveParked(one, head) ? [{ shard, head }] : [];
  });
  if (shards.length === 0) return { shards: [] };
  const names = {
    id: `select/${order.epoch}`,
    summary: `select parked tiles of ${shards.length} shards`,
    waiting: (sentence: string | null): void => {
      run.waiting = sentence;
    },
    hurry,
  };
  const request = { contextPath, contextDigest, shards, select: order.select };
  return persist(names, (io) => io.selectParked(request));
}
