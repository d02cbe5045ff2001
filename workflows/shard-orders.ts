// Owns how an open shard follows orders about parked tiles: one after the other, each once everything
// that was parked before it is named by a segment, where `selectParked` finds it.
import { CancellationScope } from '@temporalio/workflow';
import type { TileInterval } from './activity-contract.ts';
import { failureOf } from './errors.ts';
import type { RunFailure } from './messages.ts';
import { followOrder, mayHaveParked, nextOrder } from './orders.ts';
import { persist } from './persist.ts';
import type { Sealer } from './sealing.ts';
import type { ShardState } from './shard-state.ts';

export interface Follower {
  /** Follows what is not followed yet; resolves when that is done or the shard stops. */
  follow(): Promise<void>;
  isBehind(): boolean;
}

export interface FollowerPort {
  readonly sealer: Sealer;
  readonly fail: (failure: RunFailure) => void;
  readonly waiting: (sentence: string | null) => void;
  /** The number of parked tiles changed. */
  readonly parked: () => void;
}

export function createFollower(shard: ShardState, port: FollowerPort): Follower {
  let running: Promise<void> | null = null;

  const isBehind = (): boolean => nextOrder(shard.operator.parkedOrders, shard) !== null;
  const followAll = async (): Promise<void> => {
    while (shard.stop === null && isBehind()) await followNext(shard, port);
  };
  return {
    isBehind,
    follow: () => {
      if (!isBehind()) return running ?? Promise.resolve();
      running ??= CancellationScope.nonCancellable(followAll)
        .catch((error: unknown) => port.fail(failureOf(error, 'RUN_ACTIVITY_FAILED')))
        .finally(() => {
          running = null;
        });
      return running;
    },
  };
}

async function followNext(shard: ShardState, port: FollowerPort): Promise<void> {
  const order = nextOrder(shard.operator.parkedOrders, shard);
  if (order === null) return;
  await port.sealer.sealParked();
  const { head } = shard;
  let selected: readonly TileInterval[] = [];
  if (head !== null && mayHaveParked(shard, head)) {
    const { contextPath, contextDigest } = shard.input.prepared;
    const index = shard.input.progress.shard;
    const request = {
      ...{ contextPath, contextDigest, select: order.select },
      shards: [{ shard: index, head }],
    };
    const names = {
      id: `select/${order.epoch}`,
      summary: `select parked tiles of shard ${index}`,
      waiting: port.waiting,
      hurry: () => shard.stop === 'cancel' || shard.stop === 'fail',
    };
    const answer = await persist(names, (io) => io.selectParked(request));
    selected = answer.shards.find((one) => one.shard === index)?.tiles ?? [];
  }
  Object.assign(shard, followOrder(shard, order, selected, busyTiles(shard)));
  port.parked();
}

/**
 * Tiles that are free, reserved, or whose last record is not sealed yet: one that was parked once more
 * while the order was looked up must be named by a segment before a part can name it.
 */
function busyTiles(shard: ShardState): readonly TileInterval[] {
  const held = [...shard.lanes.values()].flatMap(({ reservation }) => reservation ?? []);
  const parts = shard.unsealed.map(({ answer }) => answer.part);
  const parked = shard.parkedUnsealed.map(({ tile }) => ({ firstTile: tile, endTile: tile + 1 }));
  return [...shard.free, ...held, ...parts, ...parked];
}
