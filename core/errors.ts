// Owns the one error base of the product. Each room declares a subclass and its own union of codes.
// A message reads: <subject> <what is wrong>: expected <bound, unit>, got <value, unit>; <what to do>.

/** JSON-safe facts about an error: the file, tile, feature or field it is about, and the numbers. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>;

export interface EngineErrorOptions {
  /** Whether the same request may succeed later without anybody changing anything. */
  readonly retryable?: boolean;
  readonly details?: ErrorDetails;
  readonly cause?: unknown;
}

/** Base of every error that a user, an operator or a workflow may see; `code` is a stable contract. */
export class EngineError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly retryable: boolean;
  readonly details: ErrorDetails;

  constructor(code: Code, message: string, options: EngineErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'EngineError';
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.details = options.details ?? {};
  }
}

/** Tells whether a value is an EngineError, also across duplicate copies of this module. */
export function isEngineError(value: unknown): value is EngineError {
  return (
    value instanceof Error &&
    typeof (value as { code?: unknown }).code === 'string' &&
    typeof (value as { retryable?: unknown }).retryable === 'boolean'
  );
}
