// Owns the reading of snapshots: idle, pressed, stale. A metric that is null is never idle or pressed.
import type { DeviceSnapshot, GpuMetrics, TelemetrySnapshot } from './types.ts';

const NO_GPU_METRICS: GpuMetrics = Object.freeze({
  powerWatts: null,
  clockEvents: null,
  eccErrors: null,
  pcieGeneration: null,
  resident: Object.freeze([]),
});

/** Whether a device is known to be used below a share of its compute units, in percent. */
export function isUnderutilized(device: DeviceSnapshot, belowPct: number): boolean {
  return device.utilizationPct !== null && device.utilizationPct < belowPct;
}

/**
 * Memory in use of a device in percent of its total; null when unknown. Occupied bytes: a GPU's memory
 * controller may be idle while its memory is full.
 */
export function deviceMemoryUsedPct(device: DeviceSnapshot): number | null {
  return usedPct(device.memTotalBytes, device.memFreeBytes);
}

/** Memory in use of the host in percent of its limit; null when unknown. */
export function hostMemoryUsedPct(snapshot: TelemetrySnapshot): number | null {
  return usedPct(snapshot.memLimitBytes, snapshot.memAvailableBytes);
}

/** The same snapshot as it looks at a later time of the host's clock. */
export function agedSnapshot(snapshot: TelemetrySnapshot, nowMs: number): TelemetrySnapshot {
  return { ...snapshot, ageMs: Math.max(0, nowMs - snapshot.takenAt) };
}

/** Forgets every metric that changes by itself; declared facts (names, totals, ISA) stay. */
export function withoutMetrics(snapshot: TelemetrySnapshot): TelemetrySnapshot {
  return {
    ...snapshot,
    load1: null,
    memAvailableBytes: null,
    devices: snapshot.devices.map((device) => ({
      ...device,
      utilizationPct: null,
      memFreeBytes: null,
      temperatureC: null,
      throttled: null,
      slotsBusy: null,
      ...(device.gpu === undefined ? {} : { gpu: NO_GPU_METRICS }),
    })),
  };
}

function usedPct(total: number | null, free: number | null): number | null {
  if (total === null || free === null || total <= 0) {
    return null;
  }
  return (100 * (total - Math.min(free, total))) / total;
}
