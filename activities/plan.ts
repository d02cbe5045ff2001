// Owns the plan activity: it reads this host's telemetry, completes the PlanInput and calls the pure
// planner. Its scheduled arguments plus its answer are the whole PlanInput and Plan, nothing twice.
import { completeRequest, plan, policyById } from '../planner/index.ts';
import type { Registry } from '../registry/index.ts';
import type { TelemetrySnapshot } from '../telemetry/index.ts';
import type { HostActivities, PlanAnswer, PlanCall } from '../workflows/activity-contract.ts';
import { ActivityError } from './activity-error.ts';
import type { LeaseBook } from './leases.ts';
import type { PlannedWork } from './planned-work.ts';
import { fittingSnapshot } from './snapshot-size.ts';

export interface PlanDependencies {
  readonly registry: Registry;
  readonly leases: LeaseBook;
  readonly snapshot: () => TelemetrySnapshot | Promise<TelemetrySnapshot>;
  readonly plannedWork?: PlannedWork;
}

/** Creates the activities of one host queue. */
export function createHostActivities(dependencies: PlanDependencies): HostActivities {
  return {
    plan: (call) => planChunk(dependencies, call),
    releaseLease: async ({ leaseId }) => {
      dependencies.plannedWork?.ended(leaseId);
      dependencies.leases.release(leaseId);
    },
  };
}

async function planChunk(
  { registry, leases, snapshot, plannedWork }: PlanDependencies,
  call: PlanCall,
): Promise<PlanAnswer> {
  leases.hold(call.leaseId).done();
  if (call.registryDigest !== null && call.registryDigest !== registry.digest) {
    throw new ActivityError(
      'REGISTRY_DIFFERS',
      `host cannot plan for this run: expected registry ${call.registryDigest.slice(0, 12)}, got ${registry.digest.slice(0, 12)}; start this host with the version of tileloom that started the run`,
    );
  }
  const reading = fittingSnapshot(await snapshot(), call.request);
  const policy = policyById(call.request.policyId);
  const input = completeRequest(call.request, reading, {
    policy: { id: policy.id, digest: policy.digest },
    registry: { digest: registry.digest },
  });
  const decision = plan(input, policy, registry);
  plannedWork?.planned(call.leaseId, 'deviceId' in decision ? decision.deviceId : null);
  return {
    decision,
    snapshot: reading,
    policy: input.policy,
    registry: input.registry,
  };
}
