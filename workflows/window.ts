// Owns the sliding window of open shards: at most `openShardsMax` children, each supervised until
// it returns. When the run must continue as new, or has failed, open shards are asked to yield. While
// the run is paused no shard is opened, and it is not done.
import {
  CancellationScope,
  condition,
  defineSignal,
  startChild,
  workflowInfo,
  type ChildWorkflowHandle,
} from '@temporalio/workflow';
import type { OperatorState } from '../operator/index.ts';
import type { PreparedRun } from './activity-contract.ts';
import { failureOf } from './errors.ts';
import { followClosed, isBehind } from './run-orders.ts';
import {
  OPERATOR_SIGNAL,
  SHARD_WORKFLOW,
  WORKFLOW_TASK_TIMEOUT_MS,
  YIELD_SIGNAL,
  shardWorkflowId,
  type RunFailure,
  type RunFailureCode,
  type ShardInput,
  type ShardProgress,
  type ShardResult,
} from './messages.ts';
import { compact, learnFrom, type RunState } from './run-state.ts';

const yieldSignal = defineSignal(YIELD_SIGNAL);
const operatorSignal = defineSignal<[OperatorState]>(OPERATOR_SIGNAL);

type Child = ChildWorkflowHandle<(input: ShardInput) => Promise<ShardResult>>;

export interface Window {
  /** Runs shards until all are done, the run must rotate, or it cannot go on. */
  drive(): Promise<'done' | 'rotate' | 'stopped'>;
  /** Sends the run's operator state to each open shard. */
  broadcast(): void;
  /** Asks each open shard to drain, seal and return. */
  yieldAll(): void;
}

export function createWindow(run: RunState, prepared: PreparedRun, changed: () => void): Window {
  const scope = CancellationScope.current();
  const open: OpenShards = { children: new Map(), yielding: false, closed: 0 };
  const supervise = async (progress: ShardProgress): Promise<void> => {
    try {
      const { epoch } = run.operator;
      const child = await startShard(run, prepared, progress);
      open.children.set(progress.shard, child);
      if (run.operator.epoch !== epoch) tell(child, run.operator);
      if (open.yielding) signal(child, (one) => one.signal(yieldSignal));
      const result = await child.result();
      settle(run, result.progress);
      run.failure ??= result.failure ?? strayCancel(result.progress, scope.consideredCancelled);
    } catch (error) {
      if (!scope.consideredCancelled) run.failure ??= failureOf(error, 'RUN_SHARD_FAILED');
    } finally {
      open.children.delete(progress.shard);
      run.open.delete(progress.shard);
      run.parkedOpen.delete(progress.shard);
      open.closed += 1;
      changed();
    }
  };
  const fill = (): void => {
    for (const progress of run.shards) {
      if (run.open.size >= run.input.tuning.openShardsMax) return;
      if (!isLeft(progress) || run.open.has(progress.shard)) continue;
      run.open.add(progress.shard);
      void supervise(progress);
    }
  };
  const isHeld = (): boolean =>
    run.operator.pause !== null &&
    !open.yielding &&
    run.failure === null &&
    !scope.consideredCancelled;

  return {
    broadcast: () => open.children.forEach((child) => tell(child, run.operator)),
    yieldAll: () => yieldAll(open),
    drive: async () => {
      for (;;) {
        await followClosed(run, prepared, () => scope.consideredCancelled);
        changed();
        const mustRotate = (open.closed > 0 || run.changes > 0) && isLong(run);
        if (run.failure !== null || mustRotate) yieldAll(open);
        if (!open.yielding && !scope.consideredCancelled && !isHeld()) fill();
        if (run.open.size === 0 && !isHeld()) break;
        await somethingNew(run, open, scope);
      }
      if (run.failure !== null || scope.consideredCancelled) return 'stopped';
      const isDone = !run.shards.some(isLeft) && run.operator.pause === null && !isBehind(run);
      return isDone ? 'done' : 'rotate';
    },
  };
}

interface OpenShards {
  readonly children: Map<number, Child>;
  /** All of them were asked to yield, and no other is opened. */
  yielding: boolean;
  /** Shards that have returned in this execution of the run. */
  closed: number;
}

/** Waits until a shard closes, an operator changes something, or the run must stop. */
function somethingNew(run: RunState, open: OpenShards, scope: CancellationScope): Promise<void> {
  const { closed } = open;
  const { epoch } = run.operator;
  return CancellationScope.nonCancellable(() =>
    condition(
      () =>
        open.closed !== closed ||
        run.operator.epoch !== epoch ||
        (run.failure !== null && !open.yielding) ||
        (run.open.size === 0 && scope.consideredCancelled),
    ),
  );
}

function signal(child: Child, send: (child: Child) => Promise<void>): void {
  // A child that closed meanwhile has returned what it had; there is nobody left to tell.
  void CancellationScope.nonCancellable(() => send(child)).catch(() => undefined);
}

function tell(child: Child, operator: OperatorState): void {
  signal(child, (one) => one.signal(operatorSignal, told(operator)));
}

function yieldAll(open: OpenShards): void {
  if (open.yielding) return;
  open.yielding = true;
  open.children.forEach((child) => signal(child, (one) => one.signal(yieldSignal)));
}

/** Keeps what a shard returned. */
function settle(run: RunState, progress: ShardProgress): void {
  run.shards = run.shards.map((other) =>
    other.shard === progress.shard ? compact(progress) : other,
  );
  learnFrom(run, progress);
}

/** What shards need of the operator state: not which requests were answered. */
function told(operator: OperatorState): OperatorState {
  return { ...operator, recent: [] };
}

/** The failure of a shard that somebody cancelled while its run goes on; null for all others. */
function strayCancel({ shard, state }: ShardProgress, asked: boolean): RunFailure | null {
  if (state !== 'cancelled' || asked) return null;
  const failure: RunFailureCode = 'RUN_SHARD_FAILED';
  const message = `shard ${shard} was cancelled by itself: expected only the run to be cancelled; start the run again`;
  return { code: failure, message };
}

function isLeft(progress: ShardProgress): boolean {
  return progress.state === 'pending' || progress.state === 'yielded';
}

function isLong(run: RunState): boolean {
  const { continueAsNewSuggested, historyLength } = workflowInfo();
  return continueAsNewSuggested || historyLength > run.input.tuning.runEventsMax;
}

function startShard(run: RunState, prepared: PreparedRun, progress: ShardProgress): Promise<Child> {
  const { input } = run;
  const { spec } = input;
  const shardInput: ShardInput = {
    schema: 'tileloom.shard-input/1',
    runId: input.runId,
    spec: {
      name: spec.name,
      mode: spec.plan.mode,
      precision: spec.plan.precision,
      ...(spec.plan.ifImpossible === undefined ? {} : { ifImpossible: spec.plan.ifImpossible }),
      policy: spec.plan.policy,
    },
    prepared: { ...prepared, shards: [], warnings: [] },
    operator: told(run.operator),
    tuning: input.tuning,
    progress: { ...progress, history: run.history, excluded: run.excluded, state: 'open' },
  };
  return startChild<(input: ShardInput) => Promise<ShardResult>>(SHARD_WORKFLOW, {
    workflowId: shardWorkflowId(input.runId, progress.shard),
    args: [shardInput],
    workflowTaskTimeout: WORKFLOW_TASK_TIMEOUT_MS,
    staticSummary: `shard ${progress.shard} of ${spec.name}`,
  });
}
