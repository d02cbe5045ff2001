export { ExecutorClient, type ExecutorClientOptions } from './client.ts';
export { discoverGpus, inspectGpu, type DiscoveredGpus } from './discover.ts';
export { ExecutorError, type ExecutorErrorCode } from './errors.ts';
export { loadExternalRegistry, type ExternalRegistry } from './external.ts';
export { LANES_PER_DEVICE } from './lanes.ts';
export { layerKeyOf } from './protocol.ts';
export type {
  ChunkFailure,
  ChunkJob,
  ChunkProgress,
  ChunkResult,
  ExecutorOptions,
  GpuOptions,
  RunContext,
} from './protocol.ts';
