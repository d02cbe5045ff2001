// Owns the error class of the native room and the one mapping from C status codes to its codes.
import { EngineError, type EngineErrorOptions } from '../core/index.ts';

export type NativeErrorCode =
  | 'BAD_ARGUMENT'
  | 'OUT_OF_MEMORY'
  | 'IO_ERROR'
  | 'SHORT_READ'
  | 'CHECKSUM_MISMATCH'
  | 'BAD_GEOMETRY'
  | 'BAD_INDEX'
  | 'ISA_MISSING'
  | 'OVERLAP_FOUND'
  | 'CANCELLED'
  | 'NO_SUCH_SYMBOL'
  | 'KERNEL_FAILED'
  | 'LOCK_TIMEOUT'
  | 'BUFFER_TOO_SMALL'
  | 'BAD_STATE'
  | 'INTERNAL'
  | 'DEVICE_MISSING'
  | 'IMAGE_UNUSABLE'
  | 'DEVICE_FAILED'
  | 'DEVICE_LOST'
  | 'LIBRARY_MISSING'
  | 'LIBRARY_UNUSABLE';

export class NativeError extends EngineError<NativeErrorCode> {
  constructor(code: NativeErrorCode, message: string, options: EngineErrorOptions = {}) {
    super(code, message, options);
    this.name = 'NativeError';
  }
}

/** Index = TL_* status of tileloom_kernels.h; 0 is TL_OK and has no code. */
const CODES: readonly (NativeErrorCode | null)[] = [
  null,
  'BAD_ARGUMENT',
  'OUT_OF_MEMORY',
  'IO_ERROR',
  'SHORT_READ',
  'CHECKSUM_MISMATCH',
  'BAD_GEOMETRY',
  'BAD_INDEX',
  'ISA_MISSING',
  'OVERLAP_FOUND',
  'CANCELLED',
  'NO_SUCH_SYMBOL',
  'KERNEL_FAILED',
  'LOCK_TIMEOUT',
  'BUFFER_TOO_SMALL',
  'BAD_STATE',
  'INTERNAL',
  'DEVICE_MISSING',
  'IMAGE_UNUSABLE',
  'DEVICE_FAILED',
  'DEVICE_LOST',
];

/** Translates a status; an unknown one is INTERNAL. */
export function codeOfStatus(status: number): NativeErrorCode {
  return CODES[status] ?? 'INTERNAL';
}

/** Whether the same call may succeed later without anybody changing anything. */
export function isRetryableStatus(status: number): boolean {
  const code = codeOfStatus(status);
  return code === 'OUT_OF_MEMORY' || code === 'LOCK_TIMEOUT';
}
