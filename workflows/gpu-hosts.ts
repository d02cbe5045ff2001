// Owns what a lane does about a claim in the pool of GPUs that no host picks up, where the run is not to wait
// for a host: a server takes a worker that has ended for one that polls for a while, so that preparing the
// run may have seen a host that is gone.
import { CancellationScope } from '@temporalio/workflow';
import { QUEUES } from './activity-contract.ts';
import { HOST_TIMEOUT_MS, ioActivities } from './calls.ts';
import { classifyFailure, type Failure } from './failures.ts';
import type { ClaimPlace } from './pins-here.ts';
import { GO_ON, fail, type Reaction } from './reactions.ts';
import type { Lane, ShardState } from './shard-state.ts';

/** Time-outs of a host that a lane waits for another one, once one has refused. */
const TIMEOUTS_AFTER_REFUSAL = 3;
/** And before it asks whether there is any: longer than a server remembers who has gone (90 s). */
const TIMEOUTS_BEFORE_LOOK = 10;

/** How long a host may take to pick a claim up; null: as long as it likes. */
export function claimLimitMs(shard: ShardState, lane: Lane, place: ClaimPlace): number | null {
  const { hostTimeoutMs = HOST_TIMEOUT_MS } = shard.input.tuning;
  if (lane.refused !== null) return TIMEOUTS_AFTER_REFUSAL * hostTimeoutMs;
  return wishOf(shard, place) === null ? null : TIMEOUTS_BEFORE_LOOK * hostTimeoutMs;
}

/** What asks for a GPU and forbids to wait for one; null: nothing does. */
function wishOf({ input }: ShardState, { queue, pin }: ClaimPlace): string | null {
  if (queue !== QUEUES.poolCuda) return null;
  if (pin !== null) return pin.ifImpossible === 'fail' ? 'pin runtime=gpu' : null;
  return input.spec.ifImpossible === 'fail' ? 'plan.mode gpu' : null;
}

/** Whether it is time to ask whether there is any host with a GPU. */
export function mustLook(shard: ShardState, place: ClaimPlace, failure: Failure): boolean {
  return failure.kind === 'host-lost' && wishOf(shard, place) !== null;
}

/**
 * Looks for a host with a GPU: the lane goes on claiming where there is one.
 *
 * @param id of the claim
 */
export async function lookForGpu(
  shard: ShardState,
  place: ClaimPlace,
  id: string,
): Promise<Reaction> {
  const wish = wishOf(shard, place) ?? '';
  try {
    await ioActivities(`${id}/look`, 'look for a host with a GPU').requireGpu({ wish });
    return GO_ON;
  } catch (error) {
    const found = classifyFailure(error, CancellationScope.current().consideredCancelled);
    return found.kind === 'refused' ? fail(found.code, found.message) : GO_ON;
  }
}
