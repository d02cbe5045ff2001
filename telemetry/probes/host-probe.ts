// Owns the snapshot of this host: load, memory, cores and instruction sets from /proc and control
// groups, GPUs through NVML. What cannot be read is null.
//
// I1. Nothing is sampled in the background. NVML is asked when a snapshot is taken, and not again while
//     its reading is younger than a second; snapshots taken at once share one reading.
// I2. A snapshot is as old as its oldest part; what the worker itself knows is never old.
// I3. Without a GPU to tell about, NVML is neither loaded nor started.
import type { TelemetrySnapshot } from '../index.ts';
import { readCgroupLimits } from './cgroup.ts';
import { MACHINE, type ProbeEnvironment } from './environment.ts';
import { gpuDevices, strayDevices, type GpuDeviceState } from './gpu-devices.ts';
import { createNvmlReader, type NvmlReader } from './nvml-client.ts';
import type { NvmlReading } from './nvml-messages.ts';
import { NVML_LIBRARY, NVML_PATHS } from './nvml-paths.ts';
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

export interface HostProbeOptions {
  readonly host: string;
  /** Identity of this boot of the host; default: the kernel's. */
  readonly bootId?: string;
  /** Upper bound on cores, where the worker gives its executor fewer. */
  readonly coresMax?: number;
  readonly cpuState?: () => CpuDeviceState;
  /** The GPUs that the worker drives, or would if they were in service. */
  readonly gpus?: () => readonly GpuDeviceState[];
  /** Why CUDA finds no GPU, starting with an error's code; null: there is none to be found. */
  readonly gpuProblem?: string | null;
  /** Milliseconds that a reading of NVML may take; default: those of its reader. */
  readonly nvmlReadMs?: number | undefined;
  readonly nvml?: NvmlReader;
  readonly environment?: ProbeEnvironment;
}

export interface HostProbe {
  readonly deviceClass: string;
  /** Takes a snapshot. Utilisation is the average since the one before, so the first has none. */
  readonly read: () => Promise<TelemetrySnapshot>;
  /** The same without asking for GPUs. */
  readonly readHost: () => TelemetrySnapshot;
  readonly close: () => void;
}

const IDLE: CpuDeviceState = { slotsBusy: null, slots: 1, quarantine: null };

/** A reading of NVML may serve snapshots for as long as this. */
const READING_AGE_MS_MAX = 1_000;
const REASON_LENGTH_MAX = 240;

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
  const nvml = createReadings(environment, options.nvml ?? readerOf(options));
  const read = async (): Promise<TelemetrySnapshot> => {
    const asked = options.gpus?.() ?? [];
    const problem = options.gpuProblem ?? null;
    if (asked.length === 0 && problem === null) return readHost();
    const { reading, takenAt } = await nvml.read(asked.length === 0 ? null : asked);
    // Reading takes time: what the worker knows may have changed meanwhile.
    const gpus = options.gpus?.() ?? [];
    return withGpus(readHost(), { gpus, problem, reading, takenAt });
  };
  return { deviceClass: processor.deviceClass, read, readHost, close: nvml.close };
}

function readerOf({ nvmlReadMs: readMs }: HostProbeOptions): NvmlReader {
  return createNvmlReader(readMs === undefined ? {} : { readMs });
}

interface DatedReading {
  readonly reading: NvmlReading;
  readonly takenAt: number;
}

interface Readings {
  readonly read: (devices: readonly GpuDeviceState[] | null) => Promise<DatedReading>;
  readonly close: () => void;
}

/** NVML's readings, one at a time and kept for a moment. */
function createReadings({ nowMs }: ProbeEnvironment, nvml: NvmlReader): Readings {
  let latest: { readonly key: string; readonly dated: Promise<DatedReading> } | null = null;
  let latestAt = -Infinity;
  return {
    read: (devices) => {
      const key = devices?.map(({ uuid }) => uuid).join() ?? 'all';
      const age = nowMs() - latestAt;
      // A negative age is a clock that was set back.
      if (latest?.key === key && age >= 0 && age < READING_AGE_MS_MAX) return latest.dated;
      const takenAt = nowMs();
      const asked = devices?.map(({ uuid, pciBusId }) => ({ uuid, pciBusId })) ?? null;
      const dated = nvml.read(asked).then((reading) => ({ reading, takenAt }));
      latest = { key, dated };
      latestAt = takenAt;
      return dated;
    },
    close: () => nvml.close(),
  };
}

interface GpuPart extends DatedReading {
  readonly gpus: readonly GpuDeviceState[];
  readonly problem: string | null;
}

function withGpus(
  host: TelemetrySnapshot,
  { gpus, problem, reading, takenAt }: GpuPart,
): TelemetrySnapshot {
  const devices =
    gpus.length > 0 || problem === null
      ? gpuDevices(gpus, reading)
      : strayDevices(reading, problem);
  const all = { ...host, devices: [...host.devices, ...devices] };
  if (reading.kind === 'failed') {
    const reason = gpus.length > 0 || problem === null ? '' : `${problem}; `;
    return { ...all, reason: `${reason}${reading.reason}`.slice(0, REASON_LENGTH_MAX) };
  }
  const ageMs = Math.max(0, host.takenAt - takenAt);
  return { ...all, takenAt: host.takenAt - ageMs, ageMs, backend: 'nvml', reason: null };
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
  return NVML_PATHS.some((path) => environment.exists(path))
    ? `${NVML_LIBRARY} is there, but no GPU is in use`
    : `no ${NVML_LIBRARY} on this host`;
}
