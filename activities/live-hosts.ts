// Owns which hosts and devices are served now, as the pollers of their queues tell. A poller is known
// by the worker's identity, `<host>/<pid>`, and by when it last asked for work.
import type { Client } from '@temporalio/client';
import { QUEUES } from '../workflows/activity-contract.ts';

/** Activity task queues; the enum of the service is no part of the client's public face. */
const ACTIVITY_QUEUE = 2;
/** A poller that waits asks again after a minute at most; one that was silent for longer is gone. */
const SILENT_MS_MAX = 90_000;

/** Whether some worker polls the queue of a host. */
export async function isHostLive(client: Client, host: string): Promise<boolean> {
  return (await pollersOf(client, QUEUES.host(host))).length > 0;
}

/** Whether some worker of these hosts polls the queue of a device. */
export async function isDeviceLive(
  client: Client,
  hosts: readonly string[],
  device: string,
): Promise<boolean> {
  const queues = hosts.map((host) => pollersOf(client, QUEUES.device(host, device)));
  return (await Promise.all(queues)).some((pollers) => pollers.length > 0);
}

/**
 * Names hosts that are served, ascending. Where every slot of a host is taken it does not poll the
 * pool, so hosts seen there are asked for at their own queue.
 */
export async function liveHosts(client: Client): Promise<string[]> {
  const pools = [QUEUES.poolAny, QUEUES.poolCuda];
  const seen = await Promise.all(pools.map((queue) => pollersOf(client, queue, Infinity)));
  const hosts = hostsOf(seen.flat());
  const live = await Promise.all(hosts.map((host) => isHostLive(client, host)));
  return hosts.filter((_, index) => live[index]).toSorted();
}

/**
 * Names hosts that serve work for GPUs: those with one in service poll a pool of their own. A worker that
 * was started again may have none now, so the very process must be the one that lives.
 */
export async function liveGpuHosts(client: Client): Promise<string[]> {
  const polled = new Set(await pollersOf(client, QUEUES.poolCuda, Infinity));
  const hosts = hostsOf([...polled]);
  const live = await Promise.all(
    hosts.map(async (host) => {
      const identities = await pollersOf(client, QUEUES.host(host));
      return identities.some((identity) => polled.has(identity));
    }),
  );
  return hosts.filter((_, index) => live[index]).toSorted();
}

function hostsOf(identities: readonly string[]): string[] {
  const named = identities.map((identity) => identity.split('/')[0] ?? '');
  return [...new Set(named)].filter((host) => host !== '');
}

async function pollersOf(
  client: Client,
  queue: string,
  silentMsMax = SILENT_MS_MAX,
): Promise<string[]> {
  const { pollers } = await client.workflowService.describeTaskQueue({
    namespace: client.options.namespace,
    taskQueue: { name: queue },
    taskQueueType: ACTIVITY_QUEUE,
  });
  const since = Date.now() - silentMsMax;
  return (pollers ?? [])
    .filter(({ lastAccessTime }) => 1000 * Number(lastAccessTime?.seconds ?? 0) >= since)
    .map(({ identity }) => identity ?? '');
}
