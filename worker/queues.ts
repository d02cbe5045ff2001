// Owns which queues one worker process polls, and what it does there: workflows, io (prepare, seal,
// publish), the pools (claimHost; their slot suppliers wait while the host has no free lease), its own
// host queue (plan) and one per device (execute).
import type { Client } from '@temporalio/client';
import { Worker, type NativeConnection, type WorkerOptions } from '@temporalio/worker';
import {
  createDeviceActivities,
  createHostActivities,
  createIoActivities,
  createPoolActivities,
  withFailures,
  type PlannedWork,
} from '../activities/index.ts';
import type { Registry } from '../registry/index.ts';
import type { HostProbe } from '../telemetry/probes/index.ts';
import { QUEUES } from '../workflows/activity-contract.ts';
import { hasGpuInService, type DeviceSet } from './devices.ts';
import type { InFlight } from './in-flight.ts';
import type { LeasePool } from './lease-pool.ts';
import { trackInFlight } from './track-in-flight.ts';
import { workflowBundlePath } from './workflow-bundle.ts';

export interface QueueParts {
  readonly connection: NativeConnection;
  readonly namespace: string;
  readonly client: Client;
  readonly host: string;
  readonly bootId: string;
  readonly roots: readonly string[];
  readonly cacheDir: string;
  readonly registry: Registry;
  readonly leases: LeasePool;
  readonly devices: DeviceSet;
  readonly probe: HostProbe;
  readonly plannedWork: PlannedWork;
  /** Chunks that run on a device or are on their way there. */
  readonly slotsBusy: (deviceId: string) => number;
  readonly inFlight: InFlight;
}

/** Creates the workers of this process, which do not run yet. */
export async function createWorkers(parts: QueueParts): Promise<readonly Worker[]> {
  const common = commonOptions(parts);
  const { host, leases, devices, registry, probe, client, roots, cacheDir } = parts;
  const { plannedWork, slotsBusy } = parts;
  const leaseBook = leases.book();
  const slots = leases.capacity * 2 + 2;
  const activityWorker = (
    taskQueue: string,
    activities: object,
    options: Partial<WorkerOptions>,
  ): Promise<Worker> =>
    Worker.create({ ...common, taskQueue, activities: withFailures(activities), ...options });
  const claims = {
    leases: leaseBook,
    ...{ host, bootId: parts.bootId, devices: devices.all.map(({ deviceId }) => deviceId) },
  };
  const poolActivities = createPoolActivities(claims);
  const hasGpu = (): boolean => hasGpuInService(devices.gpus);
  const gpuPool = (): Promise<Worker> =>
    activityWorker(QUEUES.poolCuda, createPoolActivities({ ...claims, canServe: hasGpu }), {
      tuner: poolTuner(leases.createSupplier(hasGpu)),
    });
  return Promise.all([
    Worker.create({
      ...common,
      workflowBundle: { codePath: await workflowBundlePath() },
      maxCachedWorkflows: 200,
    }),
    activityWorker(QUEUES.io, createIoActivities({ client, registry, roots, cacheDir }), {
      maxConcurrentActivityTaskExecutions: 4,
    }),
    activityWorker(QUEUES.poolAny, poolActivities, { tuner: poolTuner(leases.supplier) }),
    ...(devices.gpus.length > 0 ? [gpuPool()] : []),
    activityWorker(
      QUEUES.host(host),
      {
        ...createHostActivities({
          ...{ registry, leases: leaseBook, snapshot: probe.read, plannedWork, slotsBusy },
        }),
        ...poolActivities,
      },
      { maxConcurrentActivityTaskExecutions: slots },
    ),
    ...devices.all.map(({ deviceId, deviceClass, executor }) =>
      activityWorker(
        QUEUES.device(host, deviceId),
        createDeviceActivities({
          device: { deviceClass: deviceClass ?? probe.deviceClass, executor },
          leases: leaseBook,
          plannedWork,
        }),
        { maxConcurrentActivityTaskExecutions: slots },
      ),
    ),
  ]);
}

function commonOptions({ connection, namespace, host, inFlight }: QueueParts): WorkerOptions {
  return {
    connection,
    namespace,
    taskQueue: QUEUES.workflows,
    identity: `${host}/${process.pid}`,
    maxHeartbeatThrottleInterval: '1s',
    defaultHeartbeatThrottleInterval: '1s',
    stickyQueueScheduleToStartTimeout: '1s',
    shutdownGraceTime: '30s',
    shutdownForceTime: '60s',
    interceptors: { activity: [trackInFlight(inFlight)] },
  };
}

/** Activity slots of a pool queue are the host's free leases; the other kinds are not used. */
function poolTuner(supplier: LeasePool['supplier']): NonNullable<WorkerOptions['tuner']> {
  const fixed = { type: 'fixed-size', numSlots: 2 } as const;
  return {
    workflowTaskSlotSupplier: fixed,
    activityTaskSlotSupplier: supplier,
    localActivityTaskSlotSupplier: fixed,
    nexusTaskSlotSupplier: fixed,
  };
}
