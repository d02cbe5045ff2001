// Owns what every mutating command has in common: its options, the way of its request, its answer.
import type { Option } from 'commander';
import { pauseSentence, type OperatorCommand, type OperatorRequest } from '../../operator/index.ts';
import type { ActionContext, OptionValues } from '../command.ts';
import { countOption, durationOption, numberOf, textOf } from '../options.ts';
import { recallRun } from '../runs/local-runs.ts';
import { requireRunId, withRun } from '../runs/with-run.ts';
import type { Session } from '../session.ts';
import { identify, type RunIdentity } from './identify.ts';
import { servicePort } from './port.ts';
import { makeRequest } from './request.ts';
import { runEnded, SEND_TIMEOUT_MS, sendRequest, type Sent } from './send.ts';

export const RUN_ARGUMENT: readonly [string, string] = ['<run>', 'run id, as run start printed it'];

export const REASON_OPTION: readonly [string, string] = [
  '--reason <text>',
  'why; kept in the audit and shown to others',
];

/** Options of every mutating command, beside `--reason`. */
export const controlOptions = (): readonly (Option | readonly [string, string])[] => [
  countOption('--if-epoch <n>', "only if the run's epoch is still this one", 0),
  durationOption('--timeout <duration>', 'how long to wait for an answer (default 10s)'),
  ['--request-id <id>', 'repeat an earlier request by its id; it is applied once'],
];

/** What came of a request. */
export interface Controlled {
  readonly request: OperatorRequest;
  readonly sent: Sent;
}

/** Sends a command to an open run; a closed one is an error. */
export async function control(
  session: Session,
  { io }: ActionContext,
  run: RunIdentity,
  request: OperatorRequest,
  options: OptionValues,
): Promise<Controlled> {
  if (!run.open) {
    throw runEnded(run);
  }
  const sent = await sendRequest(servicePort(session.client, run.runId), request, {
    now: io.now,
    sleep: io.sleep,
    timeoutMs: numberOf(options, 'timeout') ?? SEND_TIMEOUT_MS,
  });
  return { request, sent };
}

/** The request of a command line. */
export function requestOf(command: OperatorCommand, options: OptionValues): OperatorRequest {
  return makeRequest(command, {
    reason: textOf(options, 'reason'),
    ifEpoch: numberOf(options, 'ifEpoch'),
    requestId: textOf(options, 'requestId'),
  });
}

/** Says what a run id stands for. */
export async function identifyRun(session: Session, runId: string): Promise<RunIdentity> {
  const [execution, local] = await Promise.all([
    servicePort(session.client, runId).read(),
    recallRun(session.runsFolder, runId),
  ]);
  return identify(runId, execution, local);
}

/** A whole command: request, session, identity, answer on stdout. */
export function runControl(
  action: ActionContext,
  runId: string,
  command: OperatorCommand,
  options: OptionValues,
  then?: (session: Session, controlled: Controlled) => Promise<number | undefined>,
): Promise<number | undefined> {
  requireRunId(runId);
  const request = requestOf(command, options);
  return withRun(action.io, runId, async (session) => {
    const run = await identifyRun(session, runId);
    const controlled = await control(session, action, run, request, options);
    printAnswer(action, runId, controlled);
    return then?.(session, controlled);
  });
}

/** Prints the answer as a document of the verb. */
export function printAnswer(
  { output }: ActionContext,
  runId: string,
  { request, sent }: Controlled,
  more: Readonly<Record<string, unknown>> = {},
): void {
  const { verb } = request.command;
  const noun = verb === 'pin' || verb === 'unpin' ? `pin-${verb === 'pin' ? 'set' : 'clear'}` : '';
  const name = noun === '' ? `run-${verb}` : noun;
  const document = {
    runId,
    requestId: request.id,
    queued: sent.queued,
    epoch: sent.answer?.epoch ?? null,
    changed: sent.answer?.changed ?? null,
    pins: sent.answer?.pins ?? [],
    entry: sent.answer?.entry ?? null,
    ...more,
  };
  output.document(`tileloom.cli.${name}/1`, document, () => answerText(runId, request, sent));
}

/** `accepted@5: paused by ann until …`, and what to do next. */
export function answerText(runId: string, request: OperatorRequest, sent: Sent): string {
  const { verb } = request.command;
  if (sent.queued) {
    return (
      `queued: no worker answers. The ${verb} waits on the server and is followed as soon as a ` +
      'worker comes'
    );
  }
  const { epoch, changed, pins, entry } = sent.answer;
  const at = `accepted@${String(epoch)}`;
  if (!changed) {
    return `${at}: the run is as asked for`;
  }
  switch (verb) {
    case 'pause': {
      const pause = entry?.after.pause ?? null;
      const what = pause === null ? 'paused' : pauseSentence(pause);
      return `${at}: ${what}; wait until no chunk is in flight: tileloom run wait ${runId} --for drained`;
    }
    case 'resume':
      return `${at}: resumed`;
    case 'cancel':
      return `${at}: cancel requested; watch it end: tileloom run wait ${runId}`;
    case 'pin':
      return `${at}: set ${pins.length === 0 ? 'pins' : pins.join(', ')}; see what they touch: tileloom pin list ${runId}`;
    case 'unpin':
      return `${at}: cleared ${(entry?.before.pins ?? []).map(({ id }) => id).join(', ')}`;
    case 'limits':
      return `${at}: limits changed; they hold from the next chunk on`;
    case 'retry':
      return `${at}: parked tiles are tried again; see tileloom run errors ${runId}`;
    case 'skip':
      return `${at}: parked tiles are left out; see tileloom run errors ${runId}`;
  }
}
