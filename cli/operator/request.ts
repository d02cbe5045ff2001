// Owns requests as this command line makes them.
import { randomUUID } from 'node:crypto';
import {
  initialOperator,
  refusalOf,
  type OperatorCommand,
  type OperatorRequest,
  type OperatorVerb,
} from '../../operator/index.ts';
import { CliError } from '../errors.ts';
import { authorName } from './author.ts';

export interface RequestOptions {
  readonly reason?: string | undefined;
  /** Refused unless the run's epoch is this one. */
  readonly ifEpoch?: number | undefined;
  /** Id of an earlier request that is repeated; it is applied once. */
  readonly requestId?: string | undefined;
}

/**
 * Makes a request; `notAfter` is settled when it is sent.
 *
 * @throws {CliError} `OPERATOR_REQUEST_INVALID`: a request that waits on the server as a signal has
 *   nobody who could refuse it
 */
export function makeRequest(command: OperatorCommand, options: RequestOptions): OperatorRequest {
  const request: OperatorRequest = {
    schema: 'tileloom.operator-request/1',
    id: options.requestId ?? `cli-${randomUUID()}`,
    by: authorName(),
    reason: options.reason ?? REASON_UNLESS_GIVEN[command.verb] ?? '',
    via: 'cli',
    notAfter: null,
    expectedEpoch: options.ifEpoch ?? null,
    command,
  };
  const refusal = refusalOf(NOTHING, request, { nowMs: 0, phase: 'running', tiles: null });
  if (refusal?.code === 'OPERATOR_REQUEST_INVALID') {
    throw new CliError(refusal.code, refusal.message);
  }
  return request;
}

/** Verbs that must have a reason, where people often give none. */
const REASON_UNLESS_GIVEN: Partial<Record<OperatorVerb, string>> = {
  cancel: 'cancelled from the command line',
  limits: 'set from the command line',
};

/** A state of which only the shape of a request matters. */
const NOTHING = initialOperator([], {
  lanes: 1,
  chunkSecondsTarget: 1,
  memoryBytesMax: 1,
  cadence: 'every-chunk',
  failedTiles: 0,
});
