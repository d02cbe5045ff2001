// Owns the shape of telemetry: one snapshot of one host, and the digest of a run's own history.
// A snapshot is a plain value; probes/ makes it, everything else only reads it. Missing is not zero:
// a metric that could not be read is null and never counts as idle.

export interface DeviceSnapshot {
  /** `cpu`, or the GPU's UUID. */
  readonly deviceId: string;
  readonly kind: 'cpu' | 'gpu';
  readonly name: string | null;
  /** Device class for history keys: `cpu-avx2`, `cpu-scalar`, `gpu-sm90`. */
  readonly deviceClass: string;
  /** 0–100, of the compute units; null when unknown. */
  readonly utilizationPct: number | null;
  readonly memTotalBytes: number | null;
  readonly memFreeBytes: number | null;
  /** fp64 : fp32 throughput; 1/2 on data-centre GPUs, 1 on CPUs; null when unknown. */
  readonly fp64Ratio: number | null;
  readonly temperatureC: number | null;
  readonly throttled: boolean | null;
  /** Chunks running or queued on the device right now, and how many it takes at once. */
  readonly slotsBusy: number | null;
  readonly slots: number;
  /** Why the device is out of service, or null. */
  readonly quarantine: string | null;
  /** What only GPUs have. */
  readonly gpu?: GpuMetrics;
}

/** A metric is null when it could not be read; `unread` then says why. */
export interface GpuMetrics {
  readonly powerWatts: number | null;
  /** Why clocks are below their maximum: `idle`, `sw-power-cap`, `hw-thermal` …; empty: they are not. */
  readonly clockEvents: readonly string[] | null;
  /** Uncorrected memory errors since the driver was loaded. */
  readonly eccErrors: number | null;
  readonly pcieGeneration: number | null;
  /** Layers whose index lies in device memory (`WorkloadProfile.layer`). */
  readonly resident: readonly string[];
  /** Device memory that the executor was told to take at most; absent: as much as is free. */
  readonly memoryBytesMax?: number;
  /**
   * Metric (or `all`) → why it is null: `not-supported`, `no-symbol`, `no-permission`, `gpu-lost`,
   * `timeout` …; absent: all were read.
   */
  readonly unread?: Readonly<Record<string, string>>;
}

export interface TelemetrySnapshot {
  readonly host: string;
  readonly bootId: string;
  /** Milliseconds since the Unix epoch, on the host's clock. */
  readonly takenAt: number;
  readonly ageMs: number;
  /** Backend of the GPU part; `unavailable` comes with a reason. */
  readonly backend: 'nvml' | 'unavailable';
  readonly reason: string | null;
  readonly cores: number;
  readonly load1: number | null;
  readonly memAvailableBytes: number | null;
  /** cgroup limit, or physical memory. */
  readonly memLimitBytes: number | null;
  readonly isa: readonly string[];
  readonly devices: readonly DeviceSnapshot[];
}

/** What the lane tells the reducer after each chunk. */
export interface ChunkOutcome {
  readonly variant: string;
  readonly deviceClass: string;
  readonly shape: string;
  readonly rows: number;
  /** Seconds the device worked on the chunk, without waiting in the queue. */
  readonly seconds: number;
  readonly predictedSeconds: number;
  readonly failed: boolean;
}

/** Statistics of one (variant@version × device class × shape bucket). */
export interface HistoryEntry {
  readonly variant: string;
  readonly deviceClass: string;
  readonly shape: string;
  readonly chunks: number;
  readonly failures: number;
  readonly rows: number;
  readonly seconds: number;
  /** Exponentially weighted rows per second; null before the first success. */
  readonly rowsPerSecond: number | null;
  /** Exponentially weighted actual ÷ predicted seconds; null before the first success. */
  readonly timeRatio: number | null;
}

/** Bounded digest of a run's history: at most 6 entries, ≤ 768 bytes as canonical JSON. */
export interface HistoryDigest {
  readonly schema: 'tileloom.history/1';
  readonly entries: readonly HistoryEntry[];
}
