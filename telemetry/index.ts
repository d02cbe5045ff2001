export { gpuClassOf } from './device-class.ts';
export {
  HISTORY_BYTES_MAX,
  HISTORY_ENTRIES_MAX,
  emptyHistory,
  findHistory,
  foldOutcome,
} from './history.ts';
export {
  agedSnapshot,
  deviceMemoryUsedPct,
  hostMemoryUsedPct,
  isUnderutilized,
  withoutMetrics,
} from './pressure.ts';
export { shapeBucket, type ShapeFacts } from './shape-bucket.ts';
export type {
  ChunkOutcome,
  DeviceSnapshot,
  GpuMetrics,
  HistoryDigest,
  HistoryEntry,
  TelemetrySnapshot,
} from './types.ts';
