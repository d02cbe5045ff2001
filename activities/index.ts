export { createPoolActivities, type ClaimDependencies } from './claim.ts';
export { toFailure, withFailures } from './errors.ts';
export { createDeviceActivities, type DeviceSlot, type ExecuteDependencies } from './execute.ts';
export { createIoActivities, type IoDependencies } from './io.ts';
export type { LeaseBook, LeaseHold } from './leases.ts';
export { PlannedWork } from './planned-work.ts';
export { createHostActivities, type PlanDependencies } from './plan.ts';
export { measuredColumns, workTemplate } from './prepare.ts';
