// Owns the errors of the history room: runs that nobody knows, and records that cannot be trusted.
import { EngineError, type EngineErrorOptions } from '../core/index.ts';

export type HistoryErrorCode =
  | 'HISTORY_RUN_UNKNOWN'
  | 'HISTORY_INCOMPLETE'
  | 'HISTORY_RECIPE_UNKNOWN'
  | 'PLAN_EXPORT_BROKEN'
  | 'PLAN_EXPORT_UNKNOWN';

/** Thrown when plan records are not there, not whole or not what was written. */
export class HistoryError extends EngineError<HistoryErrorCode> {
  override readonly name = 'HistoryError';

  constructor(code: HistoryErrorCode, message: string, options: EngineErrorOptions = {}) {
    super(code, message, options);
  }
}
