// Owns the GPU part of a snapshot: what the worker knows of its GPUs, completed by NVML's reading.
//
// I1. A device of the worker appears whether or not NVML knows it: what is missing is null.
// I2. A device that only NVML sees appears in one case: CUDA found none. It is then out of service.
// I3. The part stays small: no reasons where all was read, one where all metrics lack for the same.
import type { DeviceSnapshot, GpuMetrics } from '../index.ts';
import {
  NVML_METRICS,
  nothingRead,
  type NvmlDeviceReading,
  type NvmlReading,
} from './nvml-messages.ts';

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
  /** Device memory that the executor was told to take at most; absent or null: as much as is free. */
  readonly memoryBytesMax?: number | null;
}

const NAME_LENGTH_MAX = 32;
const QUARANTINE_LENGTH_MAX = 200;
/** Layers in the order of the worker; a device holds few. */
const RESIDENT_MAX = 4;

/** Clock events under which a device is far below its speed, not merely at its power limit. */
const THROTTLING: ReadonlySet<string> = new Set(['hw-slowdown', 'hw-thermal', 'power-brake']);

/** The worker's GPUs, each with its readings. */
export function gpuDevices(
  states: readonly GpuDeviceState[],
  reading: NvmlReading,
): readonly DeviceSnapshot[] {
  return states.map((state) => {
    const found =
      reading.kind === 'read' ? reading.devices.find(({ uuid }) => uuid === state.uuid) : undefined;
    const metrics =
      found ?? nothingRead(state.uuid, reading.kind === 'read' ? 'not-read' : reading.code);
    return {
      ...deviceOf(metrics),
      deviceId: state.uuid,
      name: state.name.slice(0, NAME_LENGTH_MAX),
      deviceClass: state.deviceClass,
      // With NVML's free bytes only NVML's total makes a share.
      memTotalBytes: metrics.memTotalBytes ?? state.memTotalBytes,
      fp64Ratio: state.fp64Ratio,
      slotsBusy: state.slotsBusy,
      slots: state.slots,
      quarantine: state.quarantine?.slice(0, QUARANTINE_LENGTH_MAX) ?? lossOf(metrics),
      gpu: gpuMetrics(metrics, state),
    };
  });
}

/** What NVML sees on a host where CUDA found nothing, out of service for CUDA's reason. */
export function strayDevices(reading: NvmlReading, problem: string): readonly DeviceSnapshot[] {
  return reading.kind === 'failed'
    ? []
    : reading.devices.map((device) => ({
        ...deviceOf(device),
        quarantine: problem.slice(0, QUARANTINE_LENGTH_MAX),
      }));
}

function deviceOf(reading: NvmlDeviceReading): DeviceSnapshot {
  const { clockEvents } = reading;
  return {
    deviceId: reading.uuid,
    kind: 'gpu',
    name: reading.name?.slice(0, NAME_LENGTH_MAX) ?? null,
    deviceClass: reading.deviceClass ?? 'gpu',
    utilizationPct: reading.utilizationPct,
    memTotalBytes: reading.memTotalBytes,
    memFreeBytes: reading.memFreeBytes,
    fp64Ratio: null,
    temperatureC: reading.temperatureC,
    throttled: clockEvents === null ? null : clockEvents.some((name) => THROTTLING.has(name)),
    slotsBusy: null,
    slots: 1,
    quarantine: null,
  };
}

function gpuMetrics(
  reading: NvmlDeviceReading,
  { resident, memoryBytesMax = null }: GpuDeviceState,
): GpuMetrics {
  const unread = shortened(reading.unread);
  return {
    powerWatts: reading.powerWatts,
    clockEvents: reading.clockEvents,
    eccErrors: reading.eccErrors,
    pcieGeneration: reading.pcieGeneration,
    resident: resident.slice(0, RESIDENT_MAX),
    ...(memoryBytesMax === null ? {} : { memoryBytesMax }),
    ...(unread === null ? {} : { unread }),
  };
}

/** A device that has fallen off the bus, or that only a reset helps, cannot serve. */
function lossOf({ unread }: NvmlDeviceReading): string | null {
  const reasons = Object.values(unread);
  return reasons.includes('gpu-lost')
    ? 'DEVICE_LOST: NVML says that the GPU is lost'
    : reasons.includes('reset-required')
      ? 'DEVICE_LOST: NVML says that the GPU needs a reset'
      : null;
}

function shortened(unread: NvmlDeviceReading['unread']): Readonly<Record<string, string>> | null {
  const reasons = NVML_METRICS.map((metric) => unread[metric]);
  const [first] = reasons;
  if (reasons.every((reason) => reason === undefined)) return null;
  return first !== undefined && reasons.every((reason) => reason === first)
    ? { all: first }
    : unread;
}
