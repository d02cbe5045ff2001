// Owns the execute activity: one planned chunk on one device. It starts at once and waits inside,
// heartbeating `queued`, so that schedule-to-start measures liveness of the queue, not load.
import { activityInfo, cancellationSignal, heartbeat } from '@temporalio/activity';
import type { ChunkJob, ChunkProgress, ExecutorClient } from '../executor/index.ts';
import { ExecutorError } from '../executor/index.ts';
import type {
  DeviceActivities,
  ExecuteAnswer,
  ExecuteOrder,
} from '../workflows/activity-contract.ts';
import type { LeaseBook } from './leases.ts';
import type { PlannedWork } from './planned-work.ts';

/** One device of this host, as activities see it. */
export interface DeviceSlot {
  readonly deviceClass: string;
  readonly executor: ExecutorClient;
}

export interface ExecuteDependencies {
  readonly device: DeviceSlot;
  readonly leases: LeaseBook;
  readonly plannedWork?: PlannedWork;
}

const HEARTBEAT_MS = 500;

/** Creates the activities of one device queue. */
export function createDeviceActivities(dependencies: ExecuteDependencies): DeviceActivities {
  return { execute: (order) => execute(dependencies, order) };
}

async function execute(
  { device, leases, plannedWork }: ExecuteDependencies,
  order: ExecuteOrder,
): Promise<ExecuteAnswer> {
  plannedWork?.ended(order.leaseId);
  const lease = leases.hold(order.leaseId);
  let progress: ChunkProgress = {
    stage: 'queued',
    tilesDone: 0,
    tilesTotal: order.endTile - order.firstTile,
  };
  const beat = setInterval(() => {
    lease.renew();
    heartbeat(progress);
  }, HEARTBEAT_MS);
  try {
    const job = jobOf(order, activityInfo().activityId);
    const result = await device.executor.run(
      job,
      (next) => (progress = next),
      cancellationSignal(),
    );
    const { file, sha256, bytes, rows, ...rest } = result;
    const part = { file, sha256, bytes, rows, firstTile: order.firstTile, endTile: order.endTile };
    return { part, deviceClass: device.deviceClass, ...rest };
  } catch (error) {
    if (error instanceof ExecutorError && error.type === 'CANCELLED') {
      throw cancellationSignal().reason;
    }
    throw error;
  } finally {
    clearInterval(beat);
    lease.done();
  }
}

function jobOf(order: ExecuteOrder, jobId: string): ChunkJob {
  return {
    jobId: `${jobId}/${crypto.randomUUID()}`,
    contextPath: order.contextPath,
    contextDigest: order.contextDigest,
    variant: order.variant,
    precision: order.precision,
    firstTile: order.firstTile,
    endTile: order.endTile,
    shard: order.shard,
    token: crypto.randomUUID().slice(0, 8),
  };
}
