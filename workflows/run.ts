// Owns the run workflow: prepare → shards in a sliding window → publish; operator state; its own
// continue-as-new, which happens with no child open.
import {
  CancellationScope,
  CancelledFailure,
  allHandlersFinished,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  isCancellation,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { PreparedRun } from './activity-contract.ts';
import { createAttributes } from './attributes.ts';
import { runDetails } from './describe.ts';
import { failureOf, runFailed } from './errors.ts';
import {
  PARKED_SIGNAL,
  STATUS_QUERY,
  type ParkedNotice,
  type RunFailureCode,
  type RunInput,
  type RunPhase,
  type RunResult,
  type RunStatus,
} from './messages.ts';
import { startOperating, type Operating } from './operating.ts';
import { persist } from './persist.ts';
import { tooManySentence } from './reactions.ts';
import { followClosed, isBehind } from './run-orders.ts';
import {
  carriedOf,
  openRun,
  parkedTiles,
  pendingShard,
  runStatus,
  skippedTiles,
  type RunState,
} from './run-state.ts';
import { createWindow, type Window } from './window.ts';

const statusQuery = defineQuery<RunStatus>(STATUS_QUERY);
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
  const continues = workflowInfo().continuedFromExecutionRunId !== undefined;
  const control: Control = { window: null, attributes: createAttributes(run, continues) };
  // An order to cancel ends this scope at once; the server's own cancellation follows it.
  const scope = new CancellationScope();
  setHandler(statusQuery, () => runStatus(run));
  setHandler(parkedSignal, ({ shard, parked, skipped }) => {
    run.parkedOpen.set(shard, { parked, skipped });
    checkParked(run, control);
  });
  const operating = startOperating(run, {
    changed: () => {
      control.window?.broadcast();
      checkParked(run, control);
      showDetails(run);
    },
    cancel: () => scope.cancel(),
    waiting: waitingOf(run),
  });
  try {
    const result = await scope.run(() => runToEnd(run, control));
    await operating.close();
    return result;
  } catch (error) {
    throw await ended(run, control, operating, error);
  }
}

interface Control {
  window: Window | null;
  /** Writes the search attributes that changed. */
  readonly attributes: () => void;
}

async function runToEnd(run: RunState, control: Control): Promise<RunResult> {
  if (run.phase === 'preparing') setPhase(run, control, 'preparing');
  const prepared = run.prepared ?? (await prepare(run));
  const window = createWindow(run, prepared, () => checkParked(run, control));
  control.window = window;
  setPhase(run, control, 'running');
  // Orders come first: a run that is retried may have more parked tiles than it is allowed.
  await followClosed(run, prepared, () => CancellationScope.current().consideredCancelled);
  checkParked(run, control);
  const outcome = await window.drive();
  if (run.failure !== null) throw runFailed(run.failure);
  if (outcome === 'stopped') throw new CancelledFailure('the run was cancelled');
  if (outcome === 'rotate') await rotate(run, prepared);
  return publish(run, control, prepared);
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

async function publish(run: RunState, control: Control, prepared: PreparedRun): Promise<RunResult> {
  const { runId, spec, specDigest } = run.input;
  setPhase(run, control, 'publishing');
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
    }),
  );
  run.published = published;
  const phase = published.outcome === 'partial' ? 'partial' : 'finished';
  setPhase(run, control, phase);
  return { runId, phase, published };
}

/** Continues as new; what operators ask meanwhile is in the state that is carried. */
async function rotate(run: RunState, prepared: PreparedRun): Promise<never> {
  await condition(allHandlersFinished);
  return continueAsNew<typeof runWorkflow>({
    ...run.input,
    operator: run.operator,
    carried: carriedOf(run, prepared),
  });
}

/** Fails the run when all shards together have parked more than the limit. */
function checkParked(run: RunState, { window, attributes }: Control): void {
  if (window === null) return;
  attributes();
  showDetails(run);
  const parked = parkedTiles(run);
  const { failedTiles } = run.operator.limits;
  if (parked.count <= failedTiles || run.failure !== null || isBehind(run)) return;
  const code: RunFailureCode = 'RUN_TOO_MANY_FAILED_TILES';
  run.failure = { code, message: tooManySentence(parked, failedTiles) };
  window.yieldAll();
}

/** Settles the phase after a failure; passes continue-as-new and cancellation through. */
async function ended(
  run: RunState,
  control: Control,
  operating: Operating,
  error: unknown,
): Promise<unknown> {
  if (isContinueAsNew(error)) return error;
  if (isCancellation(error)) {
    run.waiting = 'waiting for the server to record the cancellation';
    await operating.cancelled();
    setPhase(run, control, 'cancelled');
    await operating.close();
    return error;
  }
  run.failure ??= failureOf(error, 'RUN_ACTIVITY_FAILED');
  setPhase(run, control, 'failed');
  await operating.close();
  return runFailed(run.failure);
}

function isContinueAsNew(error: unknown): boolean {
  return error instanceof Error && error.name === 'ContinueAsNew';
}

function setPhase(run: RunState, { attributes }: Control, phase: RunPhase): void {
  run.phase = phase;
  run.waiting = null;
  if (['finished', 'partial', 'failed', 'cancelled'].includes(phase)) run.finishedAt = Date.now();
  attributes();
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
      parked: parkedTiles(run).count,
      skipped: skippedTiles(run),
      operator: run.operator,
      waiting: status.waiting,
      error: status.error === null ? null : `${status.error.code}: ${status.error.message}`,
    }),
  );
}
