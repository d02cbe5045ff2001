// Owns how activities are called: queues, timeouts, cancellation, and ids that derive from the
// reservation alone (an activity id is compared at replay, so it may never depend on a plan).
// Nothing is retried by the server: every retry is a decision of the lane or of `persist`.
import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import type { ActivityOptions } from '@temporalio/workflow';
import {
  QUEUES,
  type CheckPinsAnswer,
  type CheckPinsRequest,
  type ClaimRequest,
  type DeviceActivities,
  type ExecuteAnswer,
  type ExecuteOrder,
  type HostActivities,
  type HostLease,
  type IoActivities,
  type PlanAnswer,
  type PlanCall,
  type PoolActivities,
} from './activity-contract.ts';

const ONCE = { maximumAttempts: 1 } as const;
export const HOST_TIMEOUT_MS = 10_000;

/** Heartbeats of execute and of the io activities; their answer carries a cancel, too. */
const HEARTBEAT_TIMEOUT_MS = 4_000;
const IO_HEARTBEAT_TIMEOUT_MS = 20_000;

/**
 * Waits until a host with a free lane slot answers. Who gives up waits for the answer of a host that has
 * just taken the claim: a lease that nobody knows of blocks its slot for as long as it lasts.
 *
 * @param limitMs how long a host may take to pick the claim up; null: there is no limit
 */
export function claimHost(
  queue: string,
  id: string,
  request: ClaimRequest,
  limitMs: number | null,
): Promise<HostLease> {
  const { claimHost: claim } = proxyActivities<PoolActivities>({
    taskQueue: queue,
    activityId: id,
    startToCloseTimeout: '10 seconds',
    ...(limitMs === null ? {} : { scheduleToStartTimeout: limitMs }),
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '200ms', backoffCoefficient: 1.5, maximumInterval: '5 seconds' },
    summary: `lane ${request.lane} of shard ${request.shard}`,
  });
  return claim(request);
}

/** Releases a lease; it would expire anyway, so a host that is gone costs at most five seconds. */
export async function releaseLease(lease: HostLease): Promise<void> {
  const { releaseLease: release } = proxyActivities<HostActivities>({
    taskQueue: lease.hostQueue,
    startToCloseTimeout: '3 seconds',
    scheduleToStartTimeout: '2 seconds',
    cancellationType: ActivityCancellationType.ABANDON,
    retry: ONCE,
  });
  await release({ leaseId: lease.leaseId });
}

export interface CallNames {
  readonly id: string;
  readonly summary: string;
  readonly hostTimeoutMs: number;
}

/** Plans on the host whose telemetry the plan reads. */
export function planOn(lease: HostLease, call: PlanCall, names: CallNames): Promise<PlanAnswer> {
  const { plan } = proxyActivities<HostActivities>({
    taskQueue: lease.hostQueue,
    activityId: names.id,
    summary: names.summary,
    startToCloseTimeout: '4 seconds',
    scheduleToStartTimeout: names.hostTimeoutMs,
    cancellationType: ActivityCancellationType.TRY_CANCEL,
    retry: ONCE,
  });
  return plan(call);
}

/**
 * Executes on a device queue. It starts at once and waits inside, so schedule-to-start measures
 * whether the host lives; a hang is found by the executor's client, so start-to-close is only a
 * net.
 */
export function executeOn(
  queue: string,
  order: ExecuteOrder,
  names: CallNames,
): Promise<ExecuteAnswer> {
  const { execute } = proxyActivities<DeviceActivities>({
    taskQueue: queue,
    activityId: names.id,
    summary: names.summary,
    startToCloseTimeout: '6 hours',
    scheduleToStartTimeout: names.hostTimeoutMs,
    heartbeatTimeout: HEARTBEAT_TIMEOUT_MS,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: ONCE,
  });
  return execute(order);
}

/** Lets pins be judged while an operator waits for the answer: soon, or not at all. */
export function checkPinsOnce(id: string, request: CheckPinsRequest): Promise<CheckPinsAnswer> {
  const { checkPins } = proxyActivities<IoActivities>({
    taskQueue: QUEUES.io,
    activityId: id,
    summary: `check ${request.pins.length} pins`,
    startToCloseTimeout: '5 seconds',
    scheduleToCloseTimeout: '12 seconds',
    cancellationType: ActivityCancellationType.TRY_CANCEL,
    retry: { initialInterval: '200ms', maximumInterval: '1 second', maximumAttempts: 3 },
  });
  return checkPins(request);
}

/** Activities of the io queue; `persist` repeats them. */
export function ioActivities(id: string, summary: string): IoActivities {
  const options: ActivityOptions = {
    taskQueue: QUEUES.io,
    activityId: id,
    summary,
    startToCloseTimeout: '6 hours',
    heartbeatTimeout: IO_HEARTBEAT_TIMEOUT_MS,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: ONCE,
  };
  return proxyActivities<IoActivities>(options);
}
