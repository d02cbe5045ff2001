// Owns the devices of one worker process: its CPU, and the GPUs that the driver knew when it started.
//
// I1 a device has one executor process at most, and one queue
// I2 GPUs are never a condition: without them, or with a driver that hangs, the CPU does the work
import { join } from 'node:path';
import {
  ExecutorClient,
  LANES_PER_DEVICE,
  discoverGpus,
  type DiscoveredGpus,
  type ExecutorClientOptions,
} from '../executor/index.ts';
import { gpuClassOf } from '../telemetry/index.ts';
import type { GpuDeviceState } from '../telemetry/probes/index.ts';

export type GpuEntry = DiscoveredGpus['gpus'][number];

export interface WorkerDevice {
  readonly deviceId: string;
  /** Null: of the probe, which looks at the processor. */
  readonly deviceClass: string | null;
  readonly executor: ExecutorClient;
  /** Null: the CPU. */
  readonly gpu: GpuEntry | null;
}

export interface DeviceSet {
  readonly all: readonly WorkerDevice[];
  readonly cpu: WorkerDevice;
  readonly gpus: readonly WorkerDevice[];
  /** Why CUDA finds no GPU although there may be one; null: there is one, or none is to be found. */
  readonly gpuProblem: string | null;
}

export interface DeviceSettings {
  readonly threads: number;
  readonly externalRegistry: string | undefined;
  readonly useGpus: boolean;
  readonly gpuMemoryBytesMax: number | null;
  readonly stallMs: number | undefined;
  /** Folder of the host, of device locks, layers and images. */
  readonly folders: {
    readonly host: string;
    readonly devices: string;
    readonly layers: string;
    readonly images: string;
  };
  readonly onLog: (deviceId: string, line: string) => void;
  readonly onState: () => void;
}

/**
 * Batches in flight on a GPU: reading, computing and settling at the same time. The planner counts with
 * as many (`memory.device.slots` of its policy; a test holds both together).
 */
export const GPU_SLOTS = 3;
const STALL_MS = 60_000;
const LOAD_MS = 15 * 60_000;
const CANCEL_GRACE_MS = 3_000;
const EXECUTOR_START_MS = 60_000;

const NOT_LOOKED_FOR: DiscoveredGpus = {
  ...{ gpus: [], driverVersion: null, problem: null, hasDriver: false },
};

/** Finds the devices; starts nothing but the look at the driver. */
export async function findDevices(settings: DeviceSettings): Promise<DeviceSet> {
  const found = settings.useGpus ? await discoverGpus() : NOT_LOOKED_FOR;
  const { folders, threads } = settings;
  const cpu: WorkerDevice = {
    deviceId: 'cpu',
    deviceClass: null,
    gpu: null,
    executor: createExecutor(settings, {
      deviceId: 'cpu',
      threads,
      lockPath: join(folders.host, 'device-cpu.lock'),
      gpu: null,
    }),
  };
  const gpus = found.gpus.map((gpu) => createGpu(settings, gpu));
  const gpuProblem = found.hasDriver ? found.problem : null;
  return { all: [cpu, ...gpus], cpu, gpus, gpuProblem };
}

function createGpu(settings: DeviceSettings, gpu: GpuEntry): WorkerDevice {
  const { folders, gpuMemoryBytesMax } = settings;
  return {
    deviceId: gpu.uuid,
    deviceClass: gpuClassOf(gpu.capability),
    gpu,
    executor: createExecutor(settings, {
      deviceId: gpu.uuid,
      threads: GPU_SLOTS,
      lockPath: join(folders.devices, `${gpu.uuid}.lock`),
      gpu: {
        ordinal: gpu.ordinal,
        uuid: gpu.uuid,
        memoryBytesMax: gpuMemoryBytesMax,
        imagesDir: folders.images,
      },
    }),
  };
}

function createExecutor(
  { folders, externalRegistry, stallMs, onLog, onState }: DeviceSettings,
  device: Pick<ExecutorClientOptions, 'deviceId' | 'threads' | 'lockPath' | 'gpu'>,
): ExecutorClient {
  return new ExecutorClient({
    ...device,
    cacheDir: folders.layers,
    externalRegistry: externalRegistry ?? null,
    stallMs: stallMs ?? STALL_MS,
    loadMs: LOAD_MS,
    cancelGraceMs: CANCEL_GRACE_MS,
    startMs: EXECUTOR_START_MS,
    onLog: (line) => onLog(device.deviceId, line),
    onState,
  });
}

/** Tries GPUs that are out of service again, each where it is time for that. */
export function reopenGpus(gpus: readonly WorkerDevice[]): void {
  for (const { executor } of gpus) executor.reopenIfDue();
}

/**
 * GPUs as a snapshot shows them.
 *
 * @param busyOn chunks that run on a device or are on their way there
 * @param memoryBytesMax what the worker was told that each may take; null: no more than is free
 */
export function gpuStates(
  gpus: readonly WorkerDevice[],
  busyOn: (deviceId: string) => number,
  memoryBytesMax: number | null,
): readonly GpuDeviceState[] {
  return gpus.flatMap(({ gpu, deviceClass, executor }) => {
    if (gpu === null) return [];
    const { uuid, pciBusId, name, memTotalBytes, fp64Ratio } = gpu;
    const { quarantine, resident } = executor;
    return [
      {
        ...{ uuid, pciBusId, name, memTotalBytes, fp64Ratio, quarantine, resident },
        deviceClass: deviceClass ?? 'gpu',
        slotsBusy: busyOn(uuid),
        slots: LANES_PER_DEVICE,
        memoryBytesMax,
      },
    ];
  });
}

/** Whether work that needs a GPU can be done here now. */
export function hasGpuInService(gpus: readonly WorkerDevice[]): boolean {
  return gpus.some(({ executor }) => executor.quarantine === null);
}
