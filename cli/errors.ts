// Owns the errors of the cli room: what a user typed, asked for, or cannot reach.
import { EngineError, type EngineErrorOptions } from '../core/index.ts';
import type { RefusalCode } from '../operator/index.ts';

export type CliErrorCode =
  | 'CLI_USAGE'
  | 'CLI_FILE_UNREADABLE'
  | 'CLI_IO_FAILED'
  | 'CLI_SERVER_UNREACHABLE'
  | 'CLI_NO_WORKER'
  | 'CLI_RUN_UNKNOWN'
  | 'CLI_RUN_EXISTS'
  | 'CLI_RUN_OPEN'
  | 'CLI_RUN_ENDED'
  | 'CLI_RUN_FOREIGN'
  | 'CLI_RUN_FORGOTTEN'
  | 'CLI_RUN_NEWER'
  | 'CLI_RUN_UNPREPARED'
  | 'CLI_RUN_SERVER_PAUSED'
  | 'CLI_REQUEST_FAILED'
  | 'CLI_CHUNK_UNKNOWN'
  | 'CLI_SINK_CLAIMED'
  | 'CLI_PATH_MISSING'
  | 'CLI_NO_PLAN'
  | 'CLI_DEMO_FAILED'
  | RefusalCode;

export class CliError extends EngineError<CliErrorCode> {
  constructor(code: CliErrorCode, message: string, options: EngineErrorOptions = {}) {
    super(code, message, options);
    this.name = 'CliError';
  }
}

const REFUSALS: Readonly<Record<RefusalCode, true>> = {
  OPERATOR_REQUEST_INVALID: true,
  OPERATOR_REQUEST_EXPIRED: true,
  OPERATOR_CONFLICT: true,
  OPERATOR_RUN_ENDING: true,
  OPERATOR_PIN_UNKNOWN: true,
  OPERATOR_PIN_IMPOSSIBLE: true,
  OPERATOR_PINS_FULL: true,
  OPERATOR_TILES_UNKNOWN: true,
  OPERATOR_NOTHING_PARKED: true,
};

/** Whether a code is one with which a run refuses an operator's request. */
export function isRefusalCode(code: string): code is RefusalCode {
  return Object.hasOwn(REFUSALS, code);
}

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'free some space there',
  EDQUOT: 'free some space there',
  EACCES: 'check who owns it and its permissions',
  EPERM: 'check who owns it and its permissions',
  EROFS: 'choose a folder that can be written',
};

/**
 * Turns what the operating system refused (no space, no permission, not a folder) into an error of
 * this room; gives everything else back as it is.
 */
export function explainSystemError(error: unknown): unknown {
  const { code, syscall, path } = error as Partial<NodeJS.ErrnoException>;
  if (!(error instanceof Error) || error instanceof EngineError) return error;
  if (typeof code !== 'string' || typeof syscall !== 'string') return error;
  const what = error.message.replace(/^[A-Z0-9]+: /, '').replace(/, \w+( '.*')?( -> '.*')?$/, '');
  const remedy = REMEDIES[code] ?? 'check the path and the folders above it';
  const where = path ?? 'a file of this command, or of TILELOOM_HOME,';
  return new CliError(
    'CLI_IO_FAILED',
    `${where} cannot be used: expected ${syscall} to succeed, got ${code} (${what}); ${remedy}`,
    { details: { path: path ?? null, code }, cause: error },
  );
}
