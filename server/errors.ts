// Owns the server room's errors: the embedded Temporal server, its binary, and connections.
import { EngineError } from '../core/index.ts';

export type ServerErrorCode =
  | 'SERVER_BINARY_UNUSABLE'
  | 'SERVER_BINARY_UNAVAILABLE'
  | 'SERVER_PORT_INVALID'
  | 'SERVER_PORT_TAKEN'
  | 'SERVER_START_FAILED'
  | 'SERVER_NOT_SERVING'
  | 'SERVER_NOT_RUNNING'
  | 'SERVER_STILL_RUNNING'
  | 'SERVER_LOCKED'
  | 'SERVER_PROFILE_INVALID';

/** Error about the Temporal service that tileloom runs or connects to. */
export class ServerError extends EngineError<ServerErrorCode> {
  override readonly name: string = 'ServerError';
}
