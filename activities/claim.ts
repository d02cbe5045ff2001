// Owns the claimHost activity: whichever host has a free lane slot answers with a lease and the
// queues of its devices. The pool's slot supplier has already reserved room for it.
import type { PoolActivities } from '../workflows/activity-contract.ts';
import { QUEUES } from '../workflows/activity-contract.ts';
import { ActivityError } from './activity-error.ts';
import type { LeaseBook } from './leases.ts';

export interface ClaimDependencies {
  readonly leases: LeaseBook;
  readonly host: string;
  readonly bootId: string;
  readonly devices: readonly string[];
  /** Whether the claims of this queue can be served now; absent: always. */
  readonly canServe?: () => boolean;
}

/** Chunks after which a lane claims again, so that a host that joins mid-run gets work soon. */
const LEASE_CHUNKS_MAX = 32;

/** Creates the activities of the pool queue. */
export function createPoolActivities(dependencies: ClaimDependencies): PoolActivities {
  const { leases, host, bootId, devices, canServe } = dependencies;
  const queues = devices.map((device) => [device, QUEUES.device(host, device)] as const);
  return {
    claimHost: async (request) => {
      if (canServe?.() === false) throw outOfService(host);
      return {
        leaseId: leases.claim(request),
        host,
        bootId,
        hostQueue: QUEUES.host(host),
        deviceQueues: Object.fromEntries(queues),
        chunksMax: LEASE_CHUNKS_MAX,
      };
    },
  };
}

/** The poll was out when the last GPU went out of service. */
function outOfService(host: string): ActivityError {
  return new ActivityError(
    'LEASE_LOST',
    `host ${host} has no GPU in service any more: expected one, got none; the lane claims another host`,
  );
}
