// Owns the composition of one worker process: identity, leases, device executors, Temporal workers. It
// holds no native code; kernels run in the executor children.
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import { PlannedWork } from '../activities/index.ts';
import { LANES_PER_DEVICE } from '../executor/index.ts';
import { homePaths, writeDeviceStates, type ConnectionSettings } from '../server/index.ts';
import { createHostProbe, type HostProbe } from '../telemetry/probes/index.ts';
import { findDevices, gpuStates, hasGpuInService, reopenGpus, type DeviceSet } from './devices.ts';
import { takeHostIdentity, type HostIdentity } from './host-identity.ts';
import { InFlight } from './in-flight.ts';
import { LeasePool } from './lease-pool.ts';
import { createLogger } from './logging.ts';
import { createWorkers } from './queues.ts';
import { failLostActivities } from './recover.ts';
import { loadRegistry } from './registry.ts';
import { createReopener } from './reopen.ts';
import { scheduleTimer } from './schedule.ts';

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
  /** False: GPUs are not looked for. */
  readonly useGpus?: boolean | undefined;
  /** Device memory that each GPU's arenas and indexes may take; default: 7/8 of what is free. */
  readonly gpuMemoryBytesMax?: number | undefined;
  readonly logLevel?: string | undefined;
  /** Milliseconds without progress after which a chunk counts as hung. */
  readonly stallMs?: number | undefined;
  /** Milliseconds that a reading of NVML may take, and so hold up a plan; default: a second. */
  readonly nvmlReadMs?: number | undefined;
}

export interface RunningWorker {
  readonly hostId: string;
  /** Devices that it works with: `cpu`, then GPUs. */
  readonly deviceIds: readonly string[];
  /** Resolves when the worker has shut down. */
  run(): Promise<void>;
  /** Stops claiming, finishes the chunks in flight, then ends. */
  shutdown(): Promise<void>;
}

const LEASE_TTL_MS = 30_000;
const DRAIN_POLL_MS = 50;
const GPU_OPEN_MS = 10_000;
const DRAIN_MS_MAX = 120_000;

/** Starts a worker process's parts and connects them to the Temporal service. */
export async function startWorker(options: StartWorkerOptions): Promise<RunningWorker> {
  const log = createLogger(options.logLevel ?? 'info');
  const identity = await takeHostIdentity(homePaths().hosts, options.hostId);
  const undos: Undo[] = [() => identity.release()];
  const close = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (const undo of undos.splice(0).toReversed()) {
      try {
        await undo();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  };
  try {
    const parts = await createParts(options, identity, log);
    const executors = parts.devices.all.map(({ executor }) => executor);
    undos.push(
      () => parts.probe.close(),
      async () => void (await Promise.all(executors.map((executor) => executor.stop()))),
    );
    return await connectWorkers(parts, (undo) => undos.push(undo), close);
  } catch (error) {
    // What failed first is told: a connection that half-made workers hold, say, cannot be closed.
    await close().catch(() => undefined);
    throw error;
  }
}

/** Ends something that was started; the last one begun goes first. */
type Undo = () => Promise<void> | void;

interface WorkerParts {
  readonly options: StartWorkerOptions;
  readonly identity: HostIdentity;
  readonly devices: DeviceSet;
  readonly leases: LeasePool;
  readonly registry: Awaited<ReturnType<typeof loadRegistry>>;
  readonly log: Logger;
  readonly threads: number;
  readonly probe: HostProbe;
  readonly plannedWork: PlannedWork;
  /** Chunks that run on a device or are on their way there. */
  readonly slotsBusy: (deviceId: string) => number;
}

async function createParts(
  options: StartWorkerOptions,
  identity: HostIdentity,
  log: Logger,
): Promise<WorkerParts> {
  const paths = homePaths();
  const registry = await loadRegistry(options.externalRegistry);
  const threads = options.threads ?? availableCores();
  let changed = (): void => undefined;
  const devices = await findDevices({
    threads,
    externalRegistry: options.externalRegistry,
    useGpus: options.useGpus ?? true,
    gpuMemoryBytesMax: options.gpuMemoryBytesMax ?? null,
    stallMs: options.stallMs,
    folders: {
      host: identity.directory,
      ...{ devices: paths.devices, layers: paths.layers, images: paths.images },
    },
    onLog: (deviceId, line) => log.warn({ executor: deviceId }, line),
    onState: () => changed(),
  });
  const leases = new LeasePool({
    capacity: options.lanes ?? LANES_PER_DEVICE * devices.all.length,
    ttlMs: LEASE_TTL_MS,
    now: () => Date.now(),
  });
  const plannedWork = new PlannedWork();
  const slotsBusy = (deviceId: string): number => {
    const found = devices.all.find((device) => device.deviceId === deviceId);
    return (found?.executor.jobsInFlight ?? 0) + plannedWork.count(deviceId);
  };
  const reopen = createReopener({
    isInService: () => devices.gpus.length === 0 || hasGpuInService(devices.gpus),
    look: () => {
      reopenGpus(devices.gpus);
      leases.wake();
    },
  });
  changed = (): void => {
    leases.wake();
    reopen();
    writeDeviceStates(identity.directory, statesOf(devices));
  };
  const probe = createHostProbe({
    host: identity.hostId,
    bootId: identity.bootId,
    coresMax: threads,
    cpuState: () => {
      const { deviceId, executor } = devices.cpu;
      return { slotsBusy: slotsBusy(deviceId), slots: 1, quarantine: executor.quarantine };
    },
    gpus: () => {
      // Whoever plans would use them: what is out of service is looked at before it is told.
      reopenGpus(devices.gpus);
      return gpuStates(devices.gpus, slotsBusy, options.gpuMemoryBytesMax ?? null);
    },
    gpuProblem: devices.gpuProblem,
    nvmlReadMs: options.nvmlReadMs,
  });
  const parts = { options, identity, devices, leases, registry, log, threads };
  return { ...parts, probe, plannedWork, slotsBusy };
}

function statesOf({ all }: DeviceSet): Parameters<typeof writeDeviceStates>[1] {
  return all.map(({ deviceId, executor }) => ({
    deviceId,
    quarantine: executor.quarantine,
    resident: executor.resident,
  }));
}

/** Cores this process may use: control group quota and affinity included. */
function availableCores(): number {
  return createHostProbe({ host: '' }).readHost().cores;
}

function elapsed(delayMs: number): Promise<void> {
  return new Promise((resolve) => scheduleTimer(delayMs, resolve));
}

async function connectWorkers(
  parts: WorkerParts,
  atEnd: (undo: Undo) => void,
  close: () => Promise<void>,
): Promise<RunningWorker> {
  const { options, identity, devices, leases, log, probe, registry, plannedWork, slotsBusy } =
    parts;
  const { connectionOptions, namespace } = options.settings;
  const native = await NativeConnection.connect(connectionOptions);
  atEnd(() => native.close());
  const connection = await Connection.connect(connectionOptions);
  atEnd(() => connection.close());
  const client = new Client({ connection, namespace });
  const inFlight = new InFlight(join(identity.directory, 'in-flight'), identity.bootId);
  const opening = devices.all.map(({ executor }) => executor.warm());
  const workers = await createWorkers({
    ...{ connection: native, namespace, client, roots: options.roots, registry },
    ...{ host: identity.hostId, bootId: identity.bootId, cacheDir: homePaths().layers },
    ...{ leases, devices, probe, plannedWork, slotsBusy, inFlight },
  });
  const recovered = await failLostActivities(client, inFlight);
  // A host polls for GPU work only once it knows whether it can do any; a slow device is not waited for.
  if (devices.gpus.length > 0) await Promise.race([Promise.all(opening), elapsed(GPU_OPEN_MS)]);
  const deviceIds = devices.all.map(({ deviceId }) => deviceId);
  const { gpuProblem } = devices;
  log.info(
    {
      ...{ host: identity.hostId, lanes: leases.capacity, threads: parts.threads, recovered },
      ...{ devices: deviceIds, ...(gpuProblem === null ? {} : { gpuProblem }) },
    },
    'worker is polling',
  );
  const stopped = Promise.all(workers.map((worker) => worker.run()));
  stopped.catch(() => undefined);
  let ending: Promise<void> | null = null;
  const run = async (): Promise<void> => {
    try {
      await stopped;
    } finally {
      await (ending ??= close());
    }
  };
  const isBusy = (): boolean => devices.all.some(({ executor }) => executor.jobsInFlight > 0);
  const shutdown = async (): Promise<void> => {
    leases.drain();
    const deadline = performance.now() + DRAIN_MS_MAX;
    while (isBusy() && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
    await run();
  };
  return { hostId: identity.hostId, deviceIds, run, shutdown };
}
