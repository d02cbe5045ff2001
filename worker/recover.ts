// Owns what a host does first after it comes back from a kill: it fails the activities that its
// earlier life was running, so that lanes go on within a second instead of after their time-outs.
import { ApplicationFailure, AsyncCompletionClient, type Client } from '@temporalio/client';
import type { FailureDetails } from '../workflows/activity-contract.ts';
import type { InFlight, InFlightActivity } from './in-flight.ts';

/**
 * Fails this host's lost activities by id. The sticky queue is reset first: in the other order the
 * workflow task waits for the dead worker's sticky queue to time out.
 *
 * @returns how many activities were failed
 */
export async function failLostActivities(client: Client, inFlight: InFlight): Promise<number> {
  const lost = await inFlight.takeLost();
  const failed = await Promise.all(lost.map((activity) => failOne(client, activity)));
  return failed.filter(Boolean).length;
}

async function failOne(client: Client, activity: InFlightActivity): Promise<boolean> {
  const { workflowId, runId, activityId } = activity;
  const { namespace } = client.options;
  const details: FailureDetails = {
    code: 'HOST_RESTARTED',
    tile: null,
    input: null,
    fingerprint: null,
  };
  try {
    await client.workflowService.resetStickyTaskQueue({
      namespace,
      execution: { workflowId, runId },
    });
    const completion = new AsyncCompletionClient({ connection: client.connection, namespace });
    await completion.fail(
      { workflowId, runId, activityId },
      ApplicationFailure.create({
        type: 'HOST_RESTARTED',
        message: 'the host restarted while it ran this activity',
        nonRetryable: false,
        details: [details],
      }),
    );
    return true;
  } catch {
    // The activity is already settled, timed out or its execution closed: nothing is left to do.
    return false;
  }
}
