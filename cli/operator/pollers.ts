// Owns who polls a task queue. The server lists a poller for minutes after its last poll; a worker
// that lives polls again within a minute, so an older one is taken for gone.
import type { Client } from '@temporalio/client';

/** A long poll lasts a minute; half as much again for a slow machine. */
const POLL_MS_MAX = 90_000;
const DEADLINE_MS = 2_000;
/** temporal.api.enums.v1.TaskQueueType */
const TYPES = { workflow: 1, activity: 2 } as const;

/** Identities of the workers that poll a queue now. */
export async function livePollers(
  client: Client,
  queue: string,
  type: keyof typeof TYPES,
  nowMs: number,
): Promise<readonly string[]> {
  const { pollers } = await client.connection.withDeadline(Date.now() + DEADLINE_MS, () =>
    client.workflowService.describeTaskQueue({
      namespace: client.options.namespace,
      taskQueue: { name: queue },
      taskQueueType: TYPES[type],
    }),
  );
  return (pollers ?? [])
    .filter(({ lastAccessTime }) => {
      const at = Number(lastAccessTime?.seconds ?? 0) * 1_000;
      return nowMs - at < POLL_MS_MAX;
    })
    .map(({ identity }) => identity ?? '');
}
