// Owns the plan activity: it reads this host's telemetry, completes the PlanInput and calls the pure
// planner. Its scheduled arguments plus its answer are the whole PlanInput and Plan, nothing twice.
//
// I1 between the look at what is under way on the devices and the note of what is planned for them nothing
//    else runs: plans that share a reading do not share an idle device
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
  /** Chunks that run on a device or are on their way there, at this moment; default: as the snapshot says. */
  readonly slotsBusy?: (deviceId: string) => number;
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
  { registry, leases, snapshot, plannedWork, slotsBusy }: PlanDependencies,
  call: PlanCall,
): Promise<PlanAnswer> {
  leases.hold(call.leaseId).done();
  // A plan that this one replaces is on its way no more.
  plannedWork?.ended(call.leaseId);
  if (call.registryDigest !== null && call.registryDigest !== registry.digest) {
    throw new ActivityError(
      'REGISTRY_DIFFERS',
      `host cannot plan for this run: expected registry ${call.registryDigest.slice(0, 12)}, got ${registry.digest.slice(0, 12)}; start this host with the version of tileloom that started the run`,
    );
  }
  const taken = await snapshot();
  const reading = fittingSnapshot(
    slotsBusy === undefined ? taken : withSlotsBusy(taken, slotsBusy),
    call.request,
  );
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

function withSlotsBusy(
  snapshot: TelemetrySnapshot,
  slotsBusy: (deviceId: string) => number,
): TelemetrySnapshot {
  const devices = snapshot.devices.map((device) =>
    device.slotsBusy === null ? device : { ...device, slotsBusy: slotsBusy(device.deviceId) },
  );
  return { ...snapshot, devices };
}
