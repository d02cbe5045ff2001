// Owns the errors of the cli room: what a user typed, asked for, or cannot reach.
import { EngineError, type EngineErrorOptions } from '../core/index.ts';

export type CliErrorCode =
  | 'CLI_USAGE'
  | 'CLI_FILE_UNREADABLE'
  | 'CLI_IO_FAILED'
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
