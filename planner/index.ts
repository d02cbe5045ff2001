export { crossoverUnits } from './crossover.ts';
export { PlannerError, type PlannerErrorCode } from './errors.ts';
export { checkPins } from './pin-check.ts';
export type { PinCheckContext, PinProposal } from './pin-proposal.ts';
export { PIN_ASPECTS, resolvePins } from './pins.ts';
export { completeRequest } from './request.ts';
export { plan, planIdOf, plannedRows, type TextDigest } from './plan.ts';
export { DEFAULT_POLICY_ID, POLICIES, policyById, policyFrom } from './policies.ts';
export type { Policy, PolicyData } from './policy.ts';
export { choosePrecision, needsCentering } from './precision.ts';
export {
  rebuildRecipes,
  replayPlan,
  type Recipes,
  type Replay,
  type UnknownRecipe,
} from './replay.ts';
export {
  changedFields,
  changedReasons,
  CHOICE_FIELDS,
  EDITABLE,
  hasField,
  whatIf,
  type InputEdit,
  type WhatIf,
  type WhatIfChanges,
} from './what-if.ts';
export {
  REASON_CODES,
  REJECT_CODES,
  renderReason,
  type ReasonCode,
  type RejectCode,
} from './reasons.ts';
export {
  admitUnits,
  dispatchUnits,
  fitsFreeMemory,
  scaledToRows,
  selfSegmentPairs,
  type WorkCounts,
  type WorkUnits,
} from './work-estimate.ts';
export type {
  Candidate,
  CompensationMode,
  Exclusion,
  Pin,
  PinAspect,
  PinScope,
  PinsInForce,
  Plan,
  PlanDecision,
  PlanInput,
  PlanLimits,
  PlanRefusal,
  PlanRequest,
  RequestPin,
  PlanSummary,
  PrecisionPlan,
  Reason,
  RefinementMode,
  RequestedMode,
  RequestedPrecision,
  WhereInput,
  WorkloadProfile,
  WorkloadShape,
} from './types.ts';
