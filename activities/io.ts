// Owns the activities of the io queue and their heartbeat, which also carries cancellation.
import { heartbeat, log } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import type { Registry } from '../registry/index.ts';
import type { IoActivities } from '../workflows/activity-contract.ts';
import { checkPins } from './check-pins.ts';
import { liveGpuHosts, liveHosts } from './live-hosts.ts';
import { prepareRun } from './prepare.ts';
import { publishRun } from './publish.ts';
import { lookForGpuHost, type GpuHosts } from './require-gpu.ts';
import { sealSegment } from './seal.ts';
import { selectParked } from './select-parked.ts';

export interface IoDependencies {
  readonly client: Client;
  readonly registry: Registry;
  /** Folders under which every path of a run must lie. */
  readonly roots: readonly string[];
  /** Content-addressed cache of prepared layers. */
  readonly cacheDir: string;
}

const HEARTBEAT_MS = 1_000;

/** Creates the activities of the io queue. */
export function createIoActivities(dependencies: IoDependencies): IoActivities {
  const { client } = dependencies;
  const hosts: GpuHosts = { all: () => liveHosts(client), withGpu: () => liveGpuHosts(client) };
  return {
    prepareRun: (request) => beating(() => prepareRun({ ...dependencies, hosts }, request)),
    sealSegment: (request) => beating(() => sealSegment(dependencies, request)),
    publishRun: (request) =>
      beating(() => publishRun({ ...dependencies, warn: (message) => log.warn(message) }, request)),
    checkPins: (request) => beating(() => checkPins(dependencies, request)),
    selectParked: (request) => beating(() => selectParked(request)),
    requireGpu: ({ wish }) => beating(() => lookForGpuHost(wish, hosts)),
    cancelRun: async ({ workflowId, runId }) => {
      await client.workflow.getHandle(workflowId, runId).cancel();
    },
  };
}

async function beating<T>(work: () => Promise<T>): Promise<T> {
  const beat = setInterval(() => heartbeat(), HEARTBEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(beat);
  }
}
