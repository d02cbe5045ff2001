// Owns sending an operator's request so that it is applied once or not at all.
//
// I1 every try carries the same request and update id: the run applies it once, whatever is lost
// I2 a request is not accepted after `notAfter`, and the client waits longer than that: when it gives
//    up, nothing was applied and nothing will be
// I3 pause, resume and cancel do not need a worker: without one they wait on the server
import type { OperatorAnswer, OperatorRequest, OperatorVerb } from '../../operator/index.ts';
import { CliError, isRefusalCode } from '../errors.ts';
import { identify, unknownRun, type RunIdentity } from './identify.ts';
import type { RunPort } from './port.ts';
import { GRPC, grpcCodeOf, isNotFound, isServerPause, messagesOf } from './service-errors.ts';

export interface SendOptions {
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  readonly timeoutMs: number;
  /** After so long without an answer it is asked whether there is a worker at all. */
  readonly impatientMs?: number;
}

export type Sent =
  | { readonly queued: false; readonly answer: OperatorAnswer }
  /** No worker answers: the request waits on the server. */
  | { readonly queued: true; readonly answer: null };

export const SEND_TIMEOUT_MS = 10_000;
/** How much longer than the request is valid its answer is waited for. */
const GRACE_MS = 750;
const IMPATIENT_MS = 1_000;
const RETRY_MS_MAX = 500;

const WITHOUT_WORKER: readonly OperatorVerb[] = ['pause', 'resume', 'cancel'];

/**
 * Sends a request to an open run.
 *
 * @throws {CliError} the refusal's own code; `CLI_RUN_ENDED`, `CLI_NO_WORKER`,
 *   `CLI_RUN_SERVER_PAUSED`
 */
export async function sendRequest(
  port: RunPort,
  request: OperatorRequest,
  options: SendOptions,
): Promise<Sent> {
  const notAfter = options.now() + options.timeoutMs;
  const answer = await tryUntil(port, { ...request, notAfter }, notAfter + GRACE_MS, options);
  if (answer !== null) {
    return { queued: false, answer };
  }
  if (WITHOUT_WORKER.includes(request.command.verb)) {
    await queue(port, request);
    return { queued: true, answer: null };
  }
  throw noWorker(port.runId, options.timeoutMs);
}

/** Tries until the deadline; null when nobody answers. */
async function tryUntil(
  port: RunPort,
  request: OperatorRequest,
  deadlineMs: number,
  { now, sleep, impatientMs = IMPATIENT_MS }: SendOptions,
): Promise<OperatorAnswer | null> {
  const mayQueue = WITHOUT_WORKER.includes(request.command.verb);
  const patience = watchForWorker(port, mayQueue ? impatientMs : null);
  let pauseMs = 20;
  let lost: unknown = null;
  try {
    for (let tries = 1; now() < deadlineMs && !patience.signal.aborted; tries += 1) {
      try {
        return await port.update(request, deadlineMs, patience.signal);
      } catch (error) {
        await explain(port, error, tries);
        lost = grpcCodeOf(error) === GRPC.unavailable ? error : null;
      }
      await sleep(Math.min(pauseMs, Math.max(0, deadlineMs - now())));
      pauseMs = Math.min(RETRY_MS_MAX, pauseMs * 2);
    }
  } finally {
    patience.end();
  }
  if (lost !== null) {
    throw lost;
  }
  return lateAnswer(port, request, now());
}

/** Throws what no further try can change. */
async function explain(port: RunPort, error: unknown, tries: number): Promise<void> {
  const refusal = refusalIn(error);
  if (refusal !== null) {
    throw refusal;
  }
  if (isServerPause(error)) {
    throw serverPaused(port.runId, error);
  }
  const code = grpcCodeOf(error);
  if (code === GRPC.permissionDenied || code === GRPC.unauthenticated) {
    throw error;
  }
  if (isNotFound(error)) {
    const run = identify(port.runId, await port.read(), null);
    // Between two executions of a run that continues as new there is a moment without one.
    if (!run.open) {
      throw runEnded(run, tries > 1);
    }
  }
}

/** Aborts waiting once it is clear that no worker polls, for requests that can wait without one. */
function watchForWorker(
  port: RunPort,
  afterMs: number | null,
): { readonly signal: AbortSignal; readonly end: () => void } {
  const controller = new AbortController();
  const look = async (): Promise<void> => {
    // What cannot be found out leaves the request its whole time.
    const found = await port.hasWorker().catch(() => true);
    if (!found) {
      controller.abort();
    }
  };
  const timer = afterMs === null ? undefined : setTimeout(() => void look(), afterMs);
  return {
    signal: controller.signal,
    end: () => {
      clearTimeout(timer);
    },
  };
}

/** A request whose answer was lost stands among the run's recent ones. */
async function lateAnswer(
  port: RunPort,
  request: OperatorRequest,
  nowMs: number,
): Promise<OperatorAnswer | null> {
  if (!(await port.hasWorker().catch(() => true))) {
    return null;
  }
  const status = await port.status(nowMs + 1_500).catch(() => null);
  const known = status?.operator.recent.find(({ id }) => id === request.id);
  return known === undefined
    ? null
    : {
        schema: 'tileloom.operator-answer/1',
        epoch: known.epoch,
        changed: true,
        pins: [],
        entry: null,
      };
}

async function queue(port: RunPort, request: OperatorRequest): Promise<void> {
  try {
    await (request.command.verb === 'cancel' ? port.cancel() : port.signal(request));
  } catch (error) {
    if (!isNotFound(error)) {
      throw error;
    }
    const run = identify(port.runId, await port.read(), null);
    throw run.open ? unknownRun(port.runId) : runEnded(run, true);
  }
}

/** The run's refusal in what an update threw; null when it is something else. */
function refusalIn(error: unknown): CliError | null {
  if (!(error instanceof Error) || error.name !== 'WorkflowUpdateFailedError') {
    return null;
  }
  const cause = error.cause as { type?: unknown; message?: unknown } | undefined;
  const type = typeof cause?.type === 'string' ? cause.type : '';
  if (isRefusalCode(type)) {
    return new CliError(type, String(cause?.message), {
      retryable: type === 'OPERATOR_REQUEST_EXPIRED',
      cause: error,
    });
  }
  // The run ended or continued as new under an accepted update: the next try tells which.
  if (type.endsWith('CompletedWorkflow')) {
    return null;
  }
  return new CliError(
    'CLI_REQUEST_FAILED',
    `the request failed: expected an answer of the run, got ${messagesOf(error)}; ` +
      "look at the workers' logs, they may be of another version",
    { details: { type }, cause: error },
  );
}

/** A closed run takes no requests. */
export function runEnded(run: RunIdentity, mayHaveBeenApplied = false): CliError {
  const doubt = mayHaveBeenApplied
    ? `; whether the request was applied before, tells tileloom run audit ${run.runId}`
    : '';
  return new CliError(
    'CLI_RUN_ENDED',
    `run ${run.runId} has ended: expected an open run, got ${run.status}${doubt}; ` +
      `see tileloom run status ${run.runId}`,
    { details: { runId: run.runId, status: run.status } },
  );
}

function serverPaused(runId: string, cause: unknown): CliError {
  return new CliError(
    'CLI_RUN_SERVER_PAUSED',
    `run ${runId} is paused by the Temporal server: expected it to take requests, got Temporal's own ` +
      'workflow pause; end that with `temporal workflow unpause`',
    { details: { runId }, cause },
  );
}

function noWorker(runId: string, timeoutMs: number): CliError {
  return new CliError(
    'CLI_NO_WORKER',
    `run ${runId} does not answer: expected a worker within ${String(timeoutMs / 1_000)} s, got none; ` +
      'nothing was applied and nothing will be, the request has expired; ' +
      'start a worker (tileloom worker start) and ask again',
    { retryable: true, details: { runId } },
  );
}
