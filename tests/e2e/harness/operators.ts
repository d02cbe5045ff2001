// Requests of operators, as clients of a run send them.
import { randomUUID } from 'node:crypto';
import type { Client, WorkflowHandle } from '@temporalio/client';
import type {
  OperatorAnswer,
  OperatorCommand,
  OperatorRequest,
  PinWish,
} from '../../../operator/index.ts';
import {
  OPERATE_UPDATE,
  SHARD_STATUS_QUERY,
  STATUS_QUERY,
  type RunStatus,
  type ShardStatus,
} from '../../../workflows/messages.ts';

export function requestOf(
  command: OperatorCommand,
  more: Partial<OperatorRequest> = {},
): OperatorRequest {
  return {
    schema: 'tileloom.operator-request/1',
    id: randomUUID(),
    by: 'ann',
    reason: 'a test',
    via: 'test',
    notAfter: null,
    expectedEpoch: null,
    command,
    ...more,
  };
}

/** Sends a request as the `operate` Update and waits for its answer. */
export function operate(
  handle: Pick<WorkflowHandle, 'executeUpdate'>,
  request: OperatorRequest,
): Promise<OperatorAnswer> {
  return handle.executeUpdate<OperatorAnswer, [OperatorRequest]>(OPERATE_UPDATE, {
    args: [request],
    updateId: request.id,
  });
}

/** A pin of the whole run without limits. */
export function wish(more: Partial<PinWish> & Pick<PinWish, 'aspect' | 'value'>): PinWish {
  return {
    scope: { kind: 'run' },
    ttlMs: null,
    ttlChunks: null,
    ifImpossible: 'hold',
    allowAbsent: false,
    ...more,
  };
}

/** Stable code of the refusal that a promise ends with. */
export async function refusalCode(answer: Promise<unknown>): Promise<string> {
  const error = await answer.then(
    () => null,
    (caught: unknown) => caught,
  );
  const type = (error as { cause?: { type?: unknown } } | null)?.cause?.type;
  return typeof type === 'string' ? type : `no refusal: ${String(error)}`;
}

/** Repeats a look until it shows something; fails after ten seconds. */
export async function eventually<Seen>(
  look: () => Promise<Seen | null | false | undefined> | Seen | null | false | undefined,
): Promise<Seen> {
  for (const begun = Date.now(); Date.now() - begun < 10_000;) {
    const seen = await look();
    if (seen !== null && seen !== false && seen !== undefined) return seen;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`did not happen within ten seconds: ${String(look)}`);
}

/** Status of each open shard that answers; those that closed meanwhile are left out. */
export async function openShards(
  client: Client,
  handle: Pick<WorkflowHandle, 'query'>,
): Promise<readonly ShardStatus[]> {
  const run = await handle.query<RunStatus>(STATUS_QUERY);
  const answers = await Promise.all(
    run.openShards.map(({ workflowId }) =>
      client.workflow
        .getHandle(workflowId)
        .query<ShardStatus>(SHARD_STATUS_QUERY)
        .catch(() => null),
    ),
  );
  return answers.flatMap((one) => one ?? []);
}

/** Waits until each shard that is open has acknowledged an epoch. */
export async function acknowledged(
  client: Client,
  handle: Pick<WorkflowHandle, 'query'>,
  epoch: number,
): Promise<readonly ShardStatus[]> {
  return eventually(async () => {
    const shards = await openShards(client, handle);
    return shards.every((one) => one.epoch >= epoch) && shards;
  });
}
