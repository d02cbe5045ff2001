export { ExecutorClient, type ExecutorClientOptions } from './client.ts';
export { ExecutorError, type ExecutorErrorCode } from './errors.ts';
export { loadExternalRegistry, type ExternalRegistry } from './external.ts';
export type {
  ChunkFailure,
  ChunkJob,
  ChunkProgress,
  ChunkResult,
  ExecutorOptions,
  RunContext,
} from './protocol.ts';
