// Owns what the server knows beyond the run's own answers about why it does not get on: who polls the
// queue that lanes wait on, and chunks that a host has accepted but has no memory or core for.
import type { Client } from '@temporalio/client';
import { QUEUES } from '../../workflows/activity-contract.ts';
import type { RunStatus } from '../../workflows/messages.ts';
import { livePollers } from '../operator/pollers.ts';
import type { Facts } from './report.ts';

/** A lane that claims or executes for less is not looked into: that is the normal course. */
const PATIENCE_MS = 5_000;

/** What the waiting line needs of the service; tests fake it. */
export interface WaitingPort {
  readonly pollers: (queue: string) => Promise<readonly string[]>;
  /** Chunks in flight of a shard: their device queue and the stage that they last told. */
  readonly chunks: (workflowId: string) => Promise<readonly PendingChunk[]>;
}

export interface PendingChunk {
  readonly queue: string;
  readonly stage: string | null;
  /** Milliseconds since the Unix epoch at which it started. */
  readonly startedAt: number;
}

/** Says more exactly why a run waits, where the server knows it. */
export async function lookCloser(
  port: WaitingPort,
  status: RunStatus,
  facts: Facts,
  nowMs: number,
): Promise<Facts> {
  if (facts.waitingFor === 'host') {
    return { ...facts, ...(await hostSentence(port, status, facts)) };
  }
  const executing = facts.lanes.filter(({ state }) => state === 'executing');
  const isLong = executing.every(({ since }) => nowMs - since > PATIENCE_MS);
  if (facts.waitingFor === 'nothing' && executing.length > 0 && isLong) {
    const chunks = await Promise.all(
      status.openShards.map(({ workflowId }) => port.chunks(workflowId)),
    );
    return { ...facts, ...memorySentence(chunks.flat(), nowMs) };
  }
  return facts;
}

async function hostSentence(
  port: WaitingPort,
  { operator }: RunStatus,
  { waiting }: Facts,
): Promise<Partial<Facts>> {
  const hosts = operator.pins.filter(({ aspect }) => aspect === 'host');
  const told = /\btileloom\.[\w.-]*\w/u.exec(waiting ?? '')?.[0];
  const [first] = hosts;
  const queue = told ?? (first === undefined ? QUEUES.poolAny : QUEUES.host(String(first.value)));
  const pin = hosts.find(({ value }) => QUEUES.host(String(value)) === queue);
  if ((await port.pollers(queue)).length > 0) {
    return { waiting };
  }
  const pinned = pin === undefined ? '' : `pin ${pin.id} names host ${String(pin.value)}, and `;
  const place =
    queue === QUEUES.poolCuda
      ? ' on a machine with a GPU; `tileloom doctor` says there what is missing'
      : '';
  return {
    waiting: `${pinned}no worker polls ${queue}; start one with \`tileloom worker start\`${place}`,
    waitingFor: pinned === '' ? 'host' : 'plan',
  };
}

/** Chunks that all wait inside their host: the next starts when memory or a core is free. */
function memorySentence(chunks: readonly PendingChunk[], nowMs: number): Partial<Facts> {
  const queued = chunks.filter(({ stage }) => stage === 'queued');
  if (queued.length === 0 || queued.length < chunks.length) {
    return {};
  }
  const oldest = Math.min(...queued.map(({ startedAt }) => startedAt));
  const seconds = Math.round((nowMs - oldest) / 1000);
  const queues = [...new Set(queued.map(({ queue }) => queue))].join(', ');
  return {
    waiting:
      `admission: ${String(queued.length)} chunk${queued.length === 1 ? '' : 's'} wait on ` +
      `${queues} since ${String(seconds)} s for its executor, memory or a core`,
    waitingFor: 'memory',
  };
}

/** Asks a Temporal service. */
export function serviceWaiting(client: Client): WaitingPort {
  return {
    pollers: (queue) =>
      // What cannot be found out must not say that nobody is there.
      livePollers(client, queue, 'activity', Date.now()).catch(() => ['unknown']),
    chunks: async (workflowId) => {
      try {
        const { raw } = await client.workflow.getHandle(workflowId).describe();
        return (raw.pendingActivities ?? [])
          .filter(({ activityType }) => activityType?.name === 'execute')
          .map((activity) => ({
            queue: activity.activityOptions?.taskQueue?.name ?? 'its device',
            stage: stageOf(activity.heartbeatDetails?.payloads?.[0]?.data),
            startedAt: Number(activity.lastStartedTime?.seconds ?? 0) * 1_000,
          }));
      } catch {
        return [];
      }
    },
  };
}

function stageOf(data: Uint8Array | null | undefined): string | null {
  try {
    const told = data ? (JSON.parse(new TextDecoder().decode(data)) as { stage?: unknown }) : {};
    return typeof told.stage === 'string' ? told.stage : null;
  } catch {
    return null;
  }
}
