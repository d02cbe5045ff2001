// Owns exit codes: the one table from what happened to what the shell sees (docs/cli.md).
import { CommanderError } from 'commander';
import { isEngineError } from '../core/index.ts';

export const EXIT = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  runFailed: 3,
  unreachable: 4,
  parked: 5,
  waitTimedOut: 6,
  conflict: 7,
  plansDiffer: 8,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

const BY_CODE: Readonly<Record<string, ExitCode>> = {
  SPEC_INVALID: EXIT.usage,
  CLI_USAGE: EXIT.usage,
  CLI_FILE_UNREADABLE: EXIT.usage,
  CLI_PATH_MISSING: EXIT.usage,
  CLI_RUN_UNKNOWN: EXIT.usage,
  CLI_CHUNK_UNKNOWN: EXIT.usage,
  CLI_RUN_EXISTS: EXIT.conflict,
  CLI_RUN_OPEN: EXIT.conflict,
  CLI_RUN_ENDED: EXIT.conflict,
  CLI_RUN_FOREIGN: EXIT.usage,
  CLI_RUN_FORGOTTEN: EXIT.usage,
  CLI_RUN_NEWER: EXIT.conflict,
  CLI_RUN_UNPREPARED: EXIT.conflict,
  CLI_RUN_SERVER_PAUSED: EXIT.conflict,
  CLI_SINK_CLAIMED: EXIT.conflict,
  CLI_NO_PLAN: EXIT.runFailed,
  CLI_SERVER_UNREACHABLE: EXIT.unreachable,
  CLI_NO_WORKER: EXIT.unreachable,
  OPERATOR_REQUEST_INVALID: EXIT.usage,
  OPERATOR_REQUEST_EXPIRED: EXIT.unreachable,
  OPERATOR_PIN_UNKNOWN: EXIT.usage,
  OPERATOR_PIN_IMPOSSIBLE: EXIT.usage,
  OPERATOR_TILES_UNKNOWN: EXIT.usage,
  OPERATOR_CONFLICT: EXIT.conflict,
  OPERATOR_RUN_ENDING: EXIT.conflict,
  OPERATOR_PINS_FULL: EXIT.conflict,
  OPERATOR_NOTHING_PARKED: EXIT.conflict,
  HOST_ID_INVALID: EXIT.usage,
  HOST_ID_IN_USE: EXIT.conflict,
  EXTERNAL_REGISTRY_UNREADABLE: EXIT.usage,
};

/** What the operating system refused: a wrong path is usage, a lack of permission is not. */
const BY_ERRNO: Readonly<Record<string, ExitCode>> = {
  ENOENT: EXIT.usage,
  ENOTDIR: EXIT.usage,
  EISDIR: EXIT.usage,
  EACCES: EXIT.unreachable,
  EPERM: EXIT.unreachable,
  EROFS: EXIT.unreachable,
};

/** Errors of other rooms by class: a bad dataset or layer named on the command line is usage. */
const BY_CLASS: Readonly<Record<string, ExitCode>> = {
  DatasetError: EXIT.usage,
  HistoryError: EXIT.usage,
  LayerError: EXIT.usage,
  RegistryError: EXIT.usage,
  PlannerError: EXIT.usage,
  ServerError: EXIT.unreachable,
};

/** Maps an error to the exit code of the process. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
  if (isEngineError(error)) {
    if (error.code === 'CLI_IO_FAILED') {
      return BY_ERRNO[String(error.details['code'])] ?? EXIT.unexpected;
    }
    return BY_CODE[error.code] ?? BY_CLASS[error.name] ?? EXIT.unexpected;
  }
  return EXIT.unexpected;
}
