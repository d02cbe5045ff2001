// Owns the executor room's errors: how a chunk can fail, as the lane will see it.
import { EngineError, type EngineErrorOptions } from '../core/index.ts';
import type { ChunkFailure } from './protocol.ts';

export type ExecutorErrorCode =
  | 'EXECUTOR_CRASHED'
  | 'EXECUTOR_HUNG'
  | 'EXECUTOR_KILLED'
  | 'EXECUTOR_START_FAILED'
  | 'EXECUTOR_BYSTANDER'
  | 'EXECUTOR_STOPPED'
  | 'CONTEXT_CHANGED'
  | 'VARIANT_UNKNOWN'
  | 'VARIANT_ELSEWHERE'
  | 'DEVICE_CHANGED'
  | 'DEVICE_SOURCES_DIFFER'
  | 'INDEX_EXCEEDS_DEVICE'
  | 'DISCOVERY_FAILED'
  | 'MEMORY_LIMIT_TOO_SMALL'
  | 'CHUNK_CANCELLED'
  | (string & {});

/** Failure of one chunk; `type` is what the lane reacts to, `code` what a person looks up. */
export class ExecutorError extends EngineError<ExecutorErrorCode> {
  readonly type: ChunkFailure['type'];
  readonly tile: number | null;
  readonly input: string | null;

  constructor(
    type: ChunkFailure['type'],
    code: ExecutorErrorCode,
    message: string,
    options: EngineErrorOptions & {
      readonly tile?: number | null;
      readonly input?: string | null;
    } = {},
  ) {
    super(code, message, options);
    this.name = 'ExecutorError';
    this.type = type;
    this.tile = options.tile ?? null;
    this.input = options.input ?? null;
  }
}
