// Owns the errors of the planner room: requests that no planner could answer. A request that is sound
// but cannot be satisfied is a PlanRefusal, not an error.
import { EngineError, type EngineErrorOptions } from '../core/index.ts';

export type PlannerErrorCode =
  | 'PLAN_POLICY_UNKNOWN'
  | 'PLAN_POLICY_MISMATCH'
  | 'PLAN_REGISTRY_MISMATCH'
  | 'PLAN_INPUT_INVALID'
  | 'PLAN_EDIT_INVALID';

/** Thrown when a plan request names another policy or registry, or contradicts itself. */
export class PlannerError extends EngineError<PlannerErrorCode> {
  override readonly name = 'PlannerError';

  constructor(code: PlannerErrorCode, message: string, options: EngineErrorOptions = {}) {
    super(code, message, options);
  }
}
