// Owns the error codes of published results.
import { EngineError, type EngineErrorOptions } from '../../core/index.ts';

export type ResultErrorCode =
  | 'RESULT_COLUMN_NAME'
  | 'RESULT_FEATURE_UNKNOWN'
  | 'RESULT_GEOMETRY_MISSING'
  | 'RESULT_VALUES_LENGTH';

export class ResultError extends EngineError<ResultErrorCode> {
  constructor(code: ResultErrorCode, message: string, options: EngineErrorOptions = {}) {
    super(code, message, options);
    this.name = 'ResultError';
  }
}
