// Owns the errors of the cli room: what a user typed, asked for, or cannot reach.
import { EngineError, type EngineErrorOptions } from '../core/index.ts';

export type CliErrorCode =
  | 'CLI_USAGE'
  | 'CLI_FILE_UNREADABLE'
  | 'CLI_SERVER_UNREACHABLE'
  | 'CLI_NO_WORKER'
  | 'CLI_RUN_UNKNOWN'
  | 'CLI_RUN_EXISTS'
  | 'CLI_RUN_OPEN'
  | 'CLI_CHUNK_UNKNOWN'
  | 'CLI_SINK_CLAIMED'
  | 'CLI_PATH_MISSING'
  | 'CLI_NO_PLAN'
  | 'CLI_DEMO_FAILED';

export class CliError extends EngineError<CliErrorCode> {
  constructor(code: CliErrorCode, message: string, options: EngineErrorOptions = {}) {
    super(code, message, options);
    this.name = 'CliError';
  }
}
