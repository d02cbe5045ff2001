// Owns the snapshot of this host: load, memory, cores and instruction sets from /proc and control
// groups. What cannot be read is null. The GPU part is unavailable, with its reason.
import type { TelemetrySnapshot } from '../index.ts';
import { readCgroupLimits } from './cgroup.ts';
import { MACHINE, type ProbeEnvironment } from './environment.ts';
import {
  readCores,
  readLoad,
  readProcessor,
  readProcessorTime,
  utilizationPct,
  type ProcessorTime,
} from './processor.ts';

/** What only the host's own worker knows about its CPU device. */
export interface CpuDeviceState {
  readonly slotsBusy: number | null;
  readonly slots: number;
  readonly quarantine: string | null;
}

/** What the host's own worker knows about one of its GPUs; the driver's telemetry adds the rest. */
export interface GpuDeviceState {
  readonly uuid: string;
  readonly pciBusId: string;
  readonly name: string;
  /** `gpu-sm90`. */
  readonly deviceClass: string;
  readonly memTotalBytes: number | null;
  readonly fp64Ratio: number | null;
  readonly slotsBusy: number | null;
  readonly slots: number;
  /** Starts with the code of the error that took it out of service. */
  readonly quarantine: string | null;
  readonly resident: readonly string[];
}

export interface HostProbeOptions {
  readonly host: string;
  /** Identity of this boot of the host; default: the kernel's. */
  readonly bootId?: string;
  /** Upper bound on cores, where the worker gives its executor fewer. */
  readonly coresMax?: number;
  readonly cpuState?: () => CpuDeviceState;
  readonly environment?: ProbeEnvironment;
}

export interface HostProbe {
  readonly deviceClass: string;
  /** Takes a snapshot. Utilisation is the average since the one before, so the first has none. */
  readonly read: () => Promise<TelemetrySnapshot>;
  /** The same without asking for GPUs. */
  readonly readHost: () => TelemetrySnapshot;
}

const IDLE: CpuDeviceState = { slotsBusy: null, slots: 1, quarantine: null };

const NVML_PATHS: readonly string[] = Object.freeze(
  [
    '/usr/lib/x86_64-linux-gnu',
    '/usr/lib/aarch64-linux-gnu',
    '/usr/lib64',
    '/usr/lib',
    '/usr/lib/wsl/lib',
    '/usr/local/nvidia/lib64',
  ].map((folder) => `${folder}/libnvidia-ml.so.1`),
);

/** Creates the probe of this host; what cannot change is read once. */
export function createHostProbe(options: HostProbeOptions): HostProbe {
  const environment = options.environment ?? MACHINE;
  const processor = readProcessor(environment);
  const kernelBootId = environment.readText('/proc/sys/kernel/random/boot_id')?.trim();
  const bootId = options.bootId ?? kernelBootId ?? 'unknown';
  const gpuReason = gpuUnavailableReason(environment);
  let timeBefore: ProcessorTime | null = null;
  const readHost = (): TelemetrySnapshot => {
    const timeNow = readProcessorTime(environment);
    const cpuUtilizationPct = utilizationPct(timeBefore, timeNow);
    timeBefore = timeNow;
    const limits = readCgroupLimits(environment);
    const memory = readMemory(environment, limits.memoryLimitBytes, limits.memoryUsedBytes);
    const state = options.cpuState?.() ?? IDLE;
    return {
      host: options.host,
      bootId,
      takenAt: environment.nowMs(),
      ageMs: 0,
      backend: 'unavailable',
      reason: gpuReason,
      cores: Math.min(readCores(environment, limits.cpuQuotaCores), options.coresMax ?? Infinity),
      load1: readLoad(environment),
      memAvailableBytes: memory.availableBytes,
      memLimitBytes: memory.limitBytes,
      isa: processor.isa,
      devices: [
        {
          deviceId: 'cpu',
          kind: 'cpu',
          name: processor.name,
          deviceClass: processor.deviceClass,
          utilizationPct: cpuUtilizationPct,
          memTotalBytes: memory.limitBytes,
          memFreeBytes: memory.availableBytes,
          fp64Ratio: 1,
          temperatureC: null,
          throttled: null,
          slotsBusy: state.slotsBusy,
          slots: state.slots,
          quarantine: state.quarantine,
        },
      ],
    };
  };
  const read = async (): Promise<TelemetrySnapshot> => readHost();
  return { deviceClass: processor.deviceClass, read, readHost };
}

function readMemory(
  environment: ProbeEnvironment,
  limitBytes: number | null,
  usedBytes: number | null,
): { readonly limitBytes: number; readonly availableBytes: number | null } {
  const text = environment.readText('/proc/meminfo') ?? '';
  const total = kibibytes(text, 'MemTotal') ?? environment.memoryBytes();
  const available = kibibytes(text, 'MemAvailable');
  if (limitBytes === null || limitBytes >= total) {
    return { limitBytes: total, availableBytes: available };
  }
  // Within a limit only its own use tells what is left; without it the host's figure is an upper bound.
  const left = usedBytes === null ? limitBytes : Math.max(0, limitBytes - usedBytes);
  return {
    limitBytes,
    availableBytes:
      usedBytes === null && available === null ? null : Math.min(left, available ?? left),
  };
}

function kibibytes(text: string, name: string): number | null {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'mu').exec(text);
  return match === null ? null : Number(match[1]) * 1024;
}

function gpuUnavailableReason(environment: ProbeEnvironment): string {
  const library = NVML_PATHS.find((path) => environment.exists(path));
  return library === undefined
    ? 'no libnvidia-ml.so.1 on this host'
    : 'libnvidia-ml.so.1 is there, but this build does not read it';
}
