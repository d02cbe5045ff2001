// Owns the activities room's own errors; everything else passes through from lower rooms.
import { EngineError } from '../core/index.ts';

export type ActivityErrorCode =
  | 'REGISTRY_DIFFERS'
  | 'LAYER_UNKNOWN'
  | 'DATASET_EMPTY'
  | 'CONTEXT_CHANGED'
  | 'LEASE_LOST'
  | 'NO_GPU_HOST';

/** Refusal of an activity; each code ends the run with a clear sentence. */
export class ActivityError extends EngineError<ActivityErrorCode> {
  override readonly name: string = 'ActivityError';
}
