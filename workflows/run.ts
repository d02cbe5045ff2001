// Owns the run workflow: prepare → shards in a sliding window → publish; operator state; its own
// continue-as-new, which happens with no child open.
import {
  CancelledFailure,
  allHandlersFinished,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  isCancellation,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { OperatorState } from '../operator/index.ts';
import type { PreparedRun } from './activity-contract.ts';
import { runDetails } from './describe.ts';
import { failureOf, runFailed } from './errors.ts';
import {
  OPERATOR_SIGNAL,
  PARKED_SIGNAL,
  SEARCH_ATTRIBUTES,
  STATUS_QUERY,
  type ParkedNotice,
  type RunFailureCode,
  type RunInput,
  type RunPhase,
  type RunResult,
  type RunStatus,
} from './messages.ts';
import { persist } from './persist.ts';
import { tooManySentence } from './reactions.ts';
import {
  carriedOf,
  openRun,
  parkedTiles,
  pendingShard,
  runStatus,
  type RunState,
} from './run-state.ts';
import { createWindow, type Window } from './window.ts';

const statusQuery = defineQuery<RunStatus>(STATUS_QUERY);
const operatorSignal = defineSignal<[OperatorState]>(OPERATOR_SIGNAL);
const parkedSignal = defineSignal<[ParkedNotice]>(PARKED_SIGNAL);

/**
 * Runs a pipeline over a dataset.
 *
 * @returns `finished`, or `partial` when tiles are parked within the limit
 * @throws ApplicationFailure whose type is the code of what went wrong; CancelledFailure when
 *   cancelled, with everything that was computed sealed
 */
export async function runWorkflow(input: RunInput): Promise<RunResult> {
  const run = openRun(input, Date.now());
  const control: { window: Window | null } = { window: null };
  registerHandlers(run, control);
  if (input.carried === null) setPhase(run, 'preparing');
  try {
    const prepared = run.prepared ?? (await prepare(run));
    control.window = createWindow(run, prepared, () => showDetails(run));
    if (input.carried === null) setPhase(run, 'running');
    checkParked(run, control.window);
    const outcome = await control.window.drive();
    if (run.failure !== null) throw runFailed(run.failure);
    if (outcome === 'stopped') throw new CancelledFailure('the run was cancelled');
    if (outcome === 'rotate') await rotate(run, prepared);
    return await publish(run, prepared);
  } catch (error) {
    throw ended(run, error);
  }
}

function registerHandlers(run: RunState, control: { window: Window | null }): void {
  setHandler(statusQuery, () => runStatus(run));
  setHandler(operatorSignal, (operator) => {
    if (operator.epoch <= run.operator.epoch) return;
    run.operator = operator;
    control.window?.broadcast(operator);
  });
  setHandler(parkedSignal, ({ shard, parked }) => {
    run.parkedOpen.set(shard, parked);
    if (control.window !== null) checkParked(run, control.window);
  });
}

async function prepare(run: RunState): Promise<PreparedRun> {
  const { runId, spec, specDigest, tuning } = run.input;
  const { shardTilesMax } = tuning;
  const names = { id: 'prepare', summary: 'prepare', waiting: waitingOf(run) };
  run.waiting = 'preparing: dataset, layers and sink';
  const prepared = await persist(names, (io) =>
    io.prepareRun({ runId, spec, specDigest, shardTilesMax }),
  );
  run.prepared = prepared;
  run.shards = prepared.shards.map((range, shard) => pendingShard(shard, range));
  return prepared;
}

async function publish(run: RunState, prepared: PreparedRun): Promise<RunResult> {
  const { runId, spec, specDigest } = run.input;
  setPhase(run, 'publishing');
  const names = { id: 'publish', summary: 'publish', waiting: waitingOf(run) };
  const published = await persist(names, (io) =>
    io.publishRun({
      runId,
      contextPath: prepared.contextPath,
      contextDigest: prepared.contextDigest,
      spec,
      specDigest,
      heads: run.shards.map(({ head }) => head),
      tiles: prepared.tiles,
      skipped: run.shards.flatMap(({ skipped }) => skipped),
      generation: run.input.generation ?? 0,
      workflow: { id: workflowInfo().workflowId, runId: workflowInfo().runId },
    }),
  );
  run.published = published;
  const phase = published.outcome === 'partial' ? 'partial' : 'finished';
  setPhase(run, phase);
  return { runId, phase, published };
}

/** Continues as new; a signal that comes in meanwhile is in the operator state that is carried. */
async function rotate(run: RunState, prepared: PreparedRun): Promise<never> {
  await condition(allHandlersFinished);
  return continueAsNew<typeof runWorkflow>({
    ...run.input,
    operator: run.operator,
    carried: carriedOf(run, prepared),
  });
}

/** Fails the run when all shards together have parked more than the limit. */
function checkParked(run: RunState, window: Window): void {
  const parked = parkedTiles(run);
  const { failedTiles } = run.operator.limits;
  if (parked.count <= failedTiles || run.failure !== null) return;
  const code: RunFailureCode = 'RUN_TOO_MANY_FAILED_TILES';
  run.failure = { code, message: tooManySentence(parked, failedTiles) };
  window.yieldAll();
}

/** Settles the phase after a failure; passes continue-as-new and cancellation through. */
function ended(run: RunState, error: unknown): unknown {
  if (isContinueAsNew(error)) return error;
  if (isCancellation(error)) {
    setPhase(run, 'cancelled');
    return error;
  }
  run.failure ??= failureOf(error, 'RUN_ACTIVITY_FAILED');
  setPhase(run, 'failed');
  return runFailed(run.failure);
}

function isContinueAsNew(error: unknown): boolean {
  return error instanceof Error && error.name === 'ContinueAsNew';
}

function setPhase(run: RunState, phase: RunPhase): void {
  run.phase = phase;
  run.waiting = null;
  if (['finished', 'partial', 'failed', 'cancelled'].includes(phase)) run.finishedAt = Date.now();
  if (run.input.tuning.searchAttributes !== false) {
    upsertSearchAttributes({
      [SEARCH_ATTRIBUTES.pipeline]: [run.input.spec.name],
      [SEARCH_ATTRIBUTES.phase]: [phase],
    });
  }
  showDetails(run);
}

function waitingOf(run: RunState): (sentence: string | null) => void {
  return (sentence) => {
    run.waiting = sentence;
    showDetails(run);
  };
}

function showDetails(run: RunState): void {
  const status = runStatus(run);
  setCurrentDetails(
    runDetails({
      name: status.name,
      phase: status.phase,
      tiles: status.tiles,
      tilesDone: status.closed.tilesDone,
      shards: run.shards.length,
      open: run.open.size,
      waiting: status.waiting,
      error: status.error === null ? null : `${status.error.code}: ${status.error.message}`,
    }),
  );
}
