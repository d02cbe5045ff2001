// Requests of operators, as clients of a run send them.
import { randomUUID } from 'node:crypto';
import type { WorkflowHandle } from '@temporalio/client';
import type {
  OperatorAnswer,
  OperatorCommand,
  OperatorRequest,
  PinWish,
} from '../../../operator/index.ts';
import { OPERATE_UPDATE } from '../../../workflows/messages.ts';

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
