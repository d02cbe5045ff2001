// Owns what the probe and its NVML child say to each other, and what a reading is. The messages are
// JSON over the child's channel.

/** A GPU as CUDA knows it. NVML's index is no identity: it ignores CUDA_VISIBLE_DEVICES. */
export interface NvmlDevice {
  readonly uuid: string;
  readonly pciBusId: string;
}

/** Metrics that may be missing, by the names they have in a snapshot. */
export const NVML_METRICS = Object.freeze([
  'utilizationPct',
  'memFreeBytes',
  'temperatureC',
  'powerWatts',
  'clockEvents',
  'eccErrors',
  'pcieGeneration',
] as const);

export type NvmlMetric = (typeof NVML_METRICS)[number];

export interface NvmlDeviceReading {
  /** As asked for; NVML's own where all devices were. */
  readonly uuid: string;
  readonly name: string | null;
  /** `gpu-sm90`; null when unknown. */
  readonly deviceClass: string | null;
  readonly memTotalBytes: number | null;
  readonly utilizationPct: number | null;
  readonly memFreeBytes: number | null;
  readonly temperatureC: number | null;
  readonly powerWatts: number | null;
  readonly clockEvents: readonly string[] | null;
  readonly eccErrors: number | null;
  readonly pcieGeneration: number | null;
  /** Why a metric is null. */
  readonly unread: Readonly<Partial<Record<NvmlMetric, string>>>;
}

export type NvmlFailureCode = 'unavailable' | 'starting' | 'timeout';

export type NvmlReading =
  | { readonly kind: 'read'; readonly devices: readonly NvmlDeviceReading[] }
  | { readonly kind: 'failed'; readonly code: NvmlFailureCode; readonly reason: string };

/** Asks for some devices, or for all there are. */
export interface ToNvml {
  readonly id: number;
  readonly devices: readonly NvmlDevice[] | null;
}

export type FromNvml =
  | { readonly kind: 'ready' }
  /** The child ends after it. Lasting: another child would say the same. */
  | { readonly kind: 'unusable'; readonly lasting: boolean; readonly reason: string }
  | { readonly kind: 'reading'; readonly id: number; readonly devices: NvmlDeviceReading[] };

/** A device of which NVML told nothing, for one reason. */
export function nothingRead(uuid: string, why: string): NvmlDeviceReading {
  return {
    uuid,
    name: null,
    deviceClass: null,
    memTotalBytes: null,
    utilizationPct: null,
    memFreeBytes: null,
    temperatureC: null,
    powerWatts: null,
    clockEvents: null,
    eccErrors: null,
    pcieGeneration: null,
    unread: Object.fromEntries(NVML_METRICS.map((metric) => [metric, why])) as Record<
      NvmlMetric,
      string
    >,
  };
}
