// Owns the errors of the registry room.
import { EngineError, type EngineErrorOptions } from '../core/index.ts';

export type RegistryErrorCode =
  | 'REGISTRY_OPERATION_UNKNOWN'
  | 'REGISTRY_VARIANT_UNKNOWN'
  | 'REGISTRY_VARIANT_DUPLICATE'
  | 'REGISTRY_DOCUMENT_INVALID';

/** Thrown when a registry lacks what was asked for, or when a registry document is malformed. */
export class RegistryError extends EngineError<RegistryErrorCode> {
  override readonly name = 'RegistryError';

  constructor(code: RegistryErrorCode, message: string, options: EngineErrorOptions = {}) {
    super(code, message, options);
  }
}
