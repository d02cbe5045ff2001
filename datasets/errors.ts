// Owns the error codes of the datasets room. Codes are a stable contract: scripts match on them.
import { EngineError, isEngineError, type EngineErrorOptions } from '../core/index.ts';

export type DatasetErrorCode =
  // dataset folders
  | 'DATASET_NOT_FOUND'
  | 'DATASET_UNFINISHED'
  | 'DATASET_EXISTS'
  | 'DATASET_INVALID'
  | 'DATASET_FILE_MISSING'
  | 'DATASET_FILE_SIZE'
  | 'TILE_TABLE_CORRUPT'
  | 'TILE_OUT_OF_RANGE'
  | 'TILE_CORRUPT'
  | 'COLUMN_MISSING'
  | 'COLUMN_TYPE'
  // Arrow files
  | 'ARROW_NOT_ARROW'
  | 'ARROW_TRUNCATED'
  | 'ARROW_CORRUPT'
  | 'ARROW_ENDIANNESS'
  | 'ARROW_COMPRESSED'
  | 'ARROW_DICTIONARY'
  // conversion
  | 'INPUT_NOT_FOUND'
  | 'INPUT_EMPTY'
  | 'INPUT_FORMAT'
  | 'INPUT_VALUE'
  | 'PARQUET_CORRUPT'
  | 'PARQUET_UNSUPPORTED'
  | 'GEOJSON_INVALID'
  | 'GEOMETRY_NOT_POINT'
  | 'CRS_MISMATCH'
  | 'CRS_UNSUPPORTED'
  | 'EDGES_SPHERICAL'
  | 'OPTION_INVALID'
  // results of runs
  | 'PARTIALS_CORRUPT'
  | 'PARTIALS_MISMATCH'
  | 'PART_CORRUPT'
  | 'PART_EXISTS'
  | 'SEGMENT_CORRUPT'
  | 'RECORDS_CORRUPT'
  | 'LEDGER_BROKEN'
  | 'SINK_CLAIMED'
  | 'SINK_NOT_EMPTY'
  | 'SINK_NOT_CLAIMED'
  | 'SINK_CONFLICT'
  // files
  | 'PATH_OUTSIDE_ROOTS'
  | 'DISK_FULL'
  | 'IO_FAILED';

export class DatasetError extends EngineError<DatasetErrorCode> {
  constructor(code: DatasetErrorCode, message: string, options: EngineErrorOptions = {}) {
    super(code, message, options);
    this.name = 'DatasetError';
  }
}

/**
 * Turns a failed system call into a DatasetError that names the file: `DISK_FULL` (retryable) when
 * the device, a quota or a file size limit is exhausted, else `IO_FAILED`. Everything else (an
 * error that has its code already, a programmer's error) passes through.
 */
export function fileError(error: unknown, action: string, path: string): Error {
  if (isEngineError(error)) return error;
  const cause = error instanceof Error ? error : new Error(String(error));
  const { errno, code } = cause as { errno?: unknown; code?: unknown };
  if (typeof errno !== 'number' || typeof code !== 'string') return cause;
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    return new DatasetError(
      'DISK_FULL',
      `${path} cannot be written (${action}): expected free space, got ${code}; ` +
        'free some space or choose another folder, what was finished before stays valid',
      { retryable: true, details: { path, errno: code }, cause },
    );
  }
  return new DatasetError(
    'IO_FAILED',
    `${path} failed (${action}): expected success, got ${code} (${cause.message}); ` +
      'check the path and its permissions',
    {
      retryable: ['EIO', 'ESTALE', 'EMFILE', 'EAGAIN'].includes(code),
      details: { path, errno: code },
      cause,
    },
  );
}
