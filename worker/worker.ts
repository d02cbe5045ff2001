// Owns the composition of one worker process: identity, leases, device executors, Temporal workers.
//
// The process polls five queues: workflows, io (prepare, seal, publish), the pool (claimHost; its slot
// supplier waits while the host has no free lease), its own host queue (plan) and one per device
// (execute). It holds no native code; kernels run in the executor children.
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker, type WorkerOptions } from '@temporalio/worker';
import type { Logger } from 'pino';
import {
  createDeviceActivities,
  createHostActivities,
  createIoActivities,
  createPoolActivities,
  withFailures,
} from '../activities/index.ts';
import { ExecutorClient } from '../executor/index.ts';
import { homePaths, type ConnectionSettings } from '../server/index.ts';
import { createHostProbe, type HostProbe } from '../telemetry/probes/index.ts';
import { QUEUES } from '../workflows/activity-contract.ts';
import { takeHostIdentity, type HostIdentity } from './host-identity.ts';
import { InFlight } from './in-flight.ts';
import { LeasePool } from './lease-pool.ts';
import { createLogger } from './logging.ts';
import { failLostActivities } from './recover.ts';
import { loadRegistry } from './registry.ts';
import { trackInFlight } from './track-in-flight.ts';
import { workflowBundlePath } from './workflow-bundle.ts';

export interface StartWorkerOptions {
  readonly settings: ConnectionSettings;
  readonly hostId?: string | undefined;
  /** Folders under which every path of a run must lie. */
  readonly roots: readonly string[];
  /** Native calls in flight at once; default: the cores this process may use. */
  readonly threads?: number | undefined;
  /** Chunks planned or executed at once; default: two per device, so that they overlap. */
  readonly lanes?: number | undefined;
  /** JSON file that adds variants of external kernel libraries to the registry. */
  readonly externalRegistry?: string | undefined;
  readonly logLevel?: string | undefined;
  /** Milliseconds without progress after which a chunk counts as hung. */
  readonly stallMs?: number | undefined;
}

export interface RunningWorker {
  readonly hostId: string;
  /** Resolves when the worker has shut down. */
  run(): Promise<void>;
  /** Stops claiming, finishes the chunks in flight, then ends. */
  shutdown(): Promise<void>;
}

const LANES_PER_DEVICE = 2;
const LEASE_TTL_MS = 30_000;
const STALL_MS = 60_000;
const LOAD_MS = 15 * 60_000;
const CANCEL_GRACE_MS = 3_000;
const EXECUTOR_START_MS = 60_000;
const DRAIN_POLL_MS = 50;
const DRAIN_MS_MAX = 120_000;

/** Starts a worker process's parts and connects them to the Temporal service. */
export async function startWorker(options: StartWorkerOptions): Promise<RunningWorker> {
  const log = createLogger(options.logLevel ?? 'info');
  const paths = homePaths();
  const identity = await takeHostIdentity(paths.hosts, options.hostId);
  try {
    const registry = await loadRegistry(options.externalRegistry);
    const threads = options.threads ?? availableCores();
    const executor = new ExecutorClient({
      deviceId: 'cpu',
      threads,
      cacheDir: paths.layers,
      lockPath: join(identity.directory, 'device-cpu.lock'),
      externalRegistry: options.externalRegistry ?? null,
      gpu: null,
      stallMs: options.stallMs ?? STALL_MS,
      loadMs: LOAD_MS,
      cancelGraceMs: CANCEL_GRACE_MS,
      startMs: EXECUTOR_START_MS,
      onLog: (line) => log.warn({ executor: 'cpu' }, line),
    });
    const leases = new LeasePool({
      capacity: options.lanes ?? LANES_PER_DEVICE,
      ttlMs: LEASE_TTL_MS,
      now: () => Date.now(),
    });
    const probe = createHostProbe({
      host: identity.hostId,
      bootId: identity.bootId,
      coresMax: threads,
      cpuState: () => ({ slotsBusy: executor.jobsInFlight, slots: 1, quarantine: null }),
    });
    const parts: WorkerParts = {
      options,
      identity,
      executor,
      leases,
      registry,
      log,
      threads,
      probe,
    };
    return await connectWorkers(parts);
  } catch (error) {
    identity.release();
    throw error;
  }
}

interface WorkerParts {
  readonly options: StartWorkerOptions;
  readonly identity: HostIdentity;
  readonly executor: ExecutorClient;
  readonly leases: LeasePool;
  readonly registry: Awaited<ReturnType<typeof loadRegistry>>;
  readonly log: Logger;
  readonly threads: number;
  readonly probe: HostProbe;
}

/** Cores this process may use: control group quota and affinity included. */
function availableCores(): number {
  return createHostProbe({ host: '' }).readHost().cores;
}

async function connectWorkers(parts: WorkerParts): Promise<RunningWorker> {
  const { options, identity, executor, leases, log } = parts;
  const { connectionOptions, namespace } = options.settings;
  const native = await NativeConnection.connect(connectionOptions);
  const connection = await Connection.connect(connectionOptions);
  const client = new Client({ connection, namespace });
  const inFlight = new InFlight(join(identity.directory, 'in-flight'), identity.bootId);
  executor.warm();
  const workers = await createWorkers(parts, native, client, inFlight);
  const recovered = await failLostActivities(client, inFlight);
  log.info(
    { host: identity.hostId, lanes: leases.capacity, threads: parts.threads, recovered },
    'worker is polling',
  );
  const stopped = Promise.all(workers.map((worker) => worker.run()));
  stopped.catch(() => undefined);
  let ending: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    await executor.stop();
    await connection.close();
    await native.close();
    identity.release();
  };
  const run = async (): Promise<void> => {
    try {
      await stopped;
    } finally {
      await (ending ??= close());
    }
  };
  const shutdown = async (): Promise<void> => {
    leases.drain();
    const deadline = performance.now() + DRAIN_MS_MAX;
    while (executor.jobsInFlight > 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
    await run();
  };
  return { hostId: identity.hostId, run, shutdown };
}

async function createWorkers(
  parts: WorkerParts,
  connection: NativeConnection,
  client: Client,
  inFlight: InFlight,
): Promise<readonly Worker[]> {
  const { options, identity, executor, leases, registry, probe } = parts;
  const host = identity.hostId;
  const leaseBook = leases.book();
  const poolActivities = createPoolActivities({
    leases: leaseBook,
    host,
    bootId: identity.bootId,
    devices: ['cpu'],
  });
  const common: WorkerOptions = {
    connection,
    namespace: options.settings.namespace,
    taskQueue: QUEUES.workflows,
    identity: `${host}/${process.pid}`,
    maxHeartbeatThrottleInterval: '1s',
    defaultHeartbeatThrottleInterval: '1s',
    stickyQueueScheduleToStartTimeout: '1s',
    shutdownGraceTime: '30s',
    shutdownForceTime: '60s',
    interceptors: { activity: [trackInFlight(inFlight)] },
  };
  const activityWorker = (taskQueue: string, activities: object, slots: number): Promise<Worker> =>
    Worker.create({
      ...common,
      taskQueue,
      activities: withFailures(activities),
      maxConcurrentActivityTaskExecutions: slots,
    });
  return Promise.all([
    Worker.create({
      ...common,
      workflowBundle: { codePath: await workflowBundlePath() },
      maxCachedWorkflows: 200,
    }),
    activityWorker(
      QUEUES.io,
      createIoActivities({ client, registry, roots: options.roots, cacheDir: homePaths().layers }),
      4,
    ),
    Worker.create({
      ...common,
      taskQueue: QUEUES.poolAny,
      activities: withFailures(poolActivities),
      tuner: poolTuner(leases),
    }),
    activityWorker(
      QUEUES.host(host),
      {
        ...createHostActivities({ registry, leases: leaseBook, snapshot: probe.read }),
        ...poolActivities,
      },
      leases.capacity * 2 + 2,
    ),
    activityWorker(
      QUEUES.device(host, 'cpu'),
      createDeviceActivities({
        device: { deviceClass: probe.deviceClass, executor },
        leases: leaseBook,
      }),
      leases.capacity * 2 + 2,
    ),
  ]);
}

/** Activity slots of the pool queue are the host's free leases; the other kinds are not used. */
function poolTuner(leases: LeasePool): NonNullable<WorkerOptions['tuner']> {
  const fixed = { type: 'fixed-size', numSlots: 2 } as const;
  return {
    workflowTaskSlotSupplier: fixed,
    activityTaskSlotSupplier: leases.supplier,
    localActivityTaskSlotSupplier: fixed,
    nexusTaskSlotSupplier: fixed,
  };
}
