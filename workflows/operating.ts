// Owns what operators may do with an open run: the `operate` Update and the signal that stands in for
// it, the end of pauses and pins by time, and the cancellation that an operator orders.
//
// I1 every change of the operator state goes through `adopt`, under a higher epoch
// I2 a request is applied in the workflow task that accepts it, except where an activity must look
//    at its pins first: such a one is judged again afterwards
// I3 once `close` was called every request is refused, and when it resolves none is being answered
import {
  ApplicationFailure,
  CancellationScope,
  allHandlersFinished,
  condition,
  defineQuery,
  defineSignal,
  defineUpdate,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import {
  applyRequest,
  expire,
  knownRequest,
  nextExpiryMs,
  refusalOf,
  samePlace,
  type OperatorAnswer,
  type OperatorFacts,
  type OperatorRequest,
  type OperatorState,
  type PinWish,
  type Refusal,
} from '../operator/index.ts';
import { checkPinsOnce } from './calls.ts';
import { failureOf } from './errors.ts';
import {
  LEDGER_QUERY,
  OPERATE_SIGNAL,
  OPERATE_UPDATE,
  type RunFailureCode,
  type RunInput,
} from './messages.ts';
import { persist } from './persist.ts';
import { ledgerOf, parkedTiles, skippedTiles, type RunState } from './run-state.ts';

const operateUpdate = defineUpdate<OperatorAnswer, [OperatorRequest]>(OPERATE_UPDATE);
const operateSignal = defineSignal<[OperatorRequest]>(OPERATE_SIGNAL);
const ledgerQuery = defineQuery<RunInput | null>(LEDGER_QUERY);

/** The verbs that a signal may carry: those that need no answer and no look at hosts. */
const SIGNALLED: ReadonlySet<string> = new Set(['pause', 'resume']);

export interface OperatingPort {
  /** The state changed: whoever obeys it must be told. */
  readonly changed: () => void;
  /** An operator has cancelled the run: whatever is under way must end. */
  readonly cancel: () => void;
  readonly waiting: (sentence: string | null) => void;
}

export interface Operating {
  /** Refuses what comes from now on; resolves when no request is being answered any more. */
  close(): Promise<void>;
  /** Resolves when the server has recorded the cancellation an operator ordered; else at once. */
  cancelled(): Promise<void>;
}

/** Answers operators from now on. Called in the root scope, before anything is awaited. */
export function startOperating(run: RunState, port: OperatingPort): Operating {
  const root = CancellationScope.current();
  let cancelling: Promise<void> | null = null;
  let checks = 0;

  const adopt = (state: OperatorState, at: number): void => {
    const before = run.operator;
    run.operator = state;
    run.pausedMs += endedPauseMs(before, state, at);
    if (state.epoch === before.epoch) return;
    run.changes += 1;
    port.changed();
    if (state.cancel !== null) orderCancel();
  };
  const orderCancel = (): void => {
    port.cancel();
    cancelling ??= CancellationScope.nonCancellable(() => cancelByServer(root, port));
  };
  const expireAll = (now: number): void => {
    for (;;) {
      const { state, entry } = expire(run.operator, now);
      if (entry === null) return;
      adopt(state, entry.at);
    }
  };
  const apply = (request: OperatorRequest): OperatorAnswer => {
    const facts = factsOf(run);
    expireAll(facts.nowMs);
    const known = knownRequest(run.operator, request.id);
    const { state, entry, pins } = applyRequest(run.operator, request, facts);
    adopt(state, facts.nowMs);
    const epoch = known?.epoch ?? state.epoch;
    return { schema: 'tileloom.operator-answer/1', epoch, changed: entry !== null, pins, entry };
  };

  setHandler(
    operateUpdate,
    async (request) => {
      const wishes = wishesOf(request);
      if (wishes.length > 0 && knownRequest(run.operator, request.id) === null) {
        checks += 1;
        await checkPins(run, `check/${checks}`, wishes);
        refuse(run, request);
      }
      return apply(request);
    },
    { validator: (request) => refuse(run, request), description: 'Asks for a change of the run.' },
  );
  setHandler(operateSignal, (request) => {
    if (refusalNow(run, request) !== null || !SIGNALLED.has(request.command.verb)) return;
    apply(request);
  });
  setHandler(ledgerQuery, () => ledgerOf(run, Date.now()));
  void CancellationScope.nonCancellable(() => watchTime(run, expireAll));
  if (run.operator.cancel !== null) orderCancel();
  return {
    close: () => {
      run.ending = true;
      return CancellationScope.nonCancellable(() => condition(allHandlersFinished));
    },
    cancelled: () => cancelling ?? Promise.resolve(),
  };
}

/** Milliseconds of a pause that ended, or gave way to a later one, with this change. */
function endedPauseMs(before: OperatorState, after: OperatorState, at: number): number {
  if (before.pause === null || after.pause?.since === before.pause.since) return 0;
  return Math.max(0, at - before.pause.since);
}

function factsOf(run: RunState): OperatorFacts {
  return { nowMs: Date.now(), phase: run.phase, tiles: run.prepared?.tiles ?? null };
}

/** @throws {ApplicationFailure} non-retryable, its type the code of the refusal */
function refuse(run: RunState, request: OperatorRequest): void {
  const refusal = refusalNow(run, request);
  if (refusal !== null) throw refused(refusal.code, refusal.message);
}

function refused(code: Refusal['code'] | RunFailureCode, message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, code);
}

/** Why a request cannot be accepted now: what its state says, and what only the run knows. */
function refusalNow(run: RunState, request: OperatorRequest): Refusal | null {
  const facts = factsOf(run);
  const refusal = refusalOf(asOf(run.operator, facts.nowMs), request, facts);
  if (refusal !== null || knownRequest(run.operator, request.id) !== null) return refusal;
  const { verb } = request.command;
  if (run.ending) {
    const message = `${verb} comes too late: expected a run that goes on, got one that ends; look at its status`;
    return { code: 'OPERATOR_RUN_ENDING', message };
  }
  if (verb !== 'retry' && verb !== 'skip') return null;
  // An open shard may have parked a tile of which the run has not been told yet.
  const concerned = parkedTiles(run).count + (verb === 'retry' ? skippedTiles(run) : 0);
  if (concerned > 0 || run.open.size > 0) return null;
  const message = `nothing can be ${verb === 'retry' ? 'retried' : 'skipped'}: expected parked tiles, got none`;
  return { code: 'OPERATOR_NOTHING_PARKED', message };
}

/** The state without what ends by time until then. */
function asOf(state: OperatorState, now: number): OperatorState {
  const { state: next, entry } = expire(state, now);
  return entry === null ? state : asOf(next, now);
}

/** Ends pauses and pins by time. There is a timer only while something will end. */
async function watchTime(run: RunState, expireAll: (now: number) => void): Promise<void> {
  for (;;) {
    const next = nextExpiryMs(run.operator);
    const isOther = (): boolean => nextExpiryMs(run.operator) !== next;
    const now = Date.now();
    if (next === null) await condition(isOther);
    else if (next <= now) expireAll(now);
    else await condition(isOther, next - now);
  }
}

/** Pins that an activity must look at before the request can be applied. */
function wishesOf({ command }: OperatorRequest): readonly PinWish[] {
  if (command.verb === 'pin') return command.pins;
  if (command.verb !== 'retry' || command.pin === null) return [];
  const fixed = { scope: { kind: 'run' }, ttlMs: null, ttlChunks: null } as const;
  return [{ ...command.pin, ...fixed, ifImpossible: 'hold', allowAbsent: false }];
}

/**
 * Lets registry and live hosts judge pins.
 *
 * @throws {ApplicationFailure} OPERATOR_PIN_IMPOSSIBLE, or RUN_ACTIVITY_FAILED when nobody can judge
 */
async function checkPins(run: RunState, id: string, pins: readonly PinWish[]): Promise<void> {
  const { mode, precision } = run.input.spec.plan;
  const current = run.operator.pins.filter((pin) => !pins.some((wish) => samePlace(wish, pin)));
  const request = { pins, current, mode, precision, work: run.prepared?.work ?? null };
  let problem: string | undefined;
  try {
    [problem] = (await checkPinsOnce(id, request)).problems;
  } catch (error) {
    if (run.ending || run.operator.cancel !== null) {
      throw refused('OPERATOR_RUN_ENDING', 'the run ended before its pins were looked at');
    }
    const { message } = failureOf(error, 'RUN_ACTIVITY_FAILED');
    const sentence = `the pins could not be looked at: ${message}; nothing was changed, ask again`;
    throw refused('RUN_ACTIVITY_FAILED', sentence);
  }
  if (problem !== undefined) throw refused('OPERATOR_PIN_IMPOSSIBLE', problem);
}

/** How long a recorded cancellation may take to reach the run before it is asked for again. */
const CANCEL_WAIT_MS = 10_000;

/** Asks the server to cancel this run until it has: only then does its history end as cancelled. */
async function cancelByServer(root: CancellationScope, port: OperatingPort): Promise<void> {
  const { workflowId, runId } = workflowInfo();
  for (let round = 0; !root.consideredCancelled; round += 1) {
    const names = {
      id: `cancel/${round}`,
      summary: 'cancel the run',
      waiting: port.waiting,
      endless: true,
    };
    const asked = persist(names, (io) => io.cancelRun({ workflowId, runId }));
    const reached = condition(() => root.consideredCancelled);
    await Promise.race([asked, reached]);
    await condition(() => root.consideredCancelled, CANCEL_WAIT_MS);
  }
}
