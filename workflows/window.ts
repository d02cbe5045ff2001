// Owns the sliding window of open shards: at most `openShardsMax` children, each supervised until
// it returns. When the run must continue as new, or has failed, open shards are asked to yield.
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
  /** Sends the operator state to each open shard. */
  broadcast(operator: OperatorState): void;
  /** Asks each open shard to drain, seal and return. */
  yieldAll(): void;
}

export function createWindow(run: RunState, prepared: PreparedRun, changed: () => void): Window {
  const children = new Map<number, Child>();
  const scope = CancellationScope.current();
  let yielding = false;
  let closed = 0;

  const signal = (child: Child, send: (child: Child) => Promise<void>): void => {
    // A child that closed meanwhile has returned what it had; there is nobody left to tell.
    void CancellationScope.nonCancellable(() => send(child)).catch(() => undefined);
  };
  const yieldAll = (): void => {
    if (yielding) return;
    yielding = true;
    children.forEach((child) => signal(child, (open) => open.signal(yieldSignal)));
  };
  const settle = (progress: ShardProgress): void => {
    run.shards = run.shards.map((other) =>
      other.shard === progress.shard ? compact(progress) : other,
    );
  };
  const supervise = async (progress: ShardProgress): Promise<void> => {
    try {
      const child = await startShard(run, prepared, progress);
      children.set(progress.shard, child);
      if (yielding) signal(child, (open) => open.signal(yieldSignal));
      const result = await child.result();
      settle(result.progress);
      learnFrom(run, result.progress);
      run.failure ??= result.failure ?? strayCancel(result.progress, scope.consideredCancelled);
    } catch (error) {
      if (!scope.consideredCancelled) run.failure ??= failureOf(error, 'RUN_SHARD_FAILED');
    } finally {
      children.delete(progress.shard);
      run.open.delete(progress.shard);
      closed += 1;
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

  return {
    broadcast: (operator) =>
      children.forEach((child) => signal(child, (open) => open.signal(operatorSignal, operator))),
    yieldAll,
    drive: async () => {
      for (;;) {
        const mustRotate = closed > 0 && isLong(run);
        if (run.failure !== null || mustRotate) yieldAll();
        if (!yielding && !scope.consideredCancelled) fill();
        changed();
        if (run.open.size === 0) break;
        const seen = closed;
        await CancellationScope.nonCancellable(() =>
          condition(() => closed !== seen || (run.failure !== null && !yielding)),
        );
      }
      if (run.failure !== null || scope.consideredCancelled) return 'stopped';
      return run.shards.some(isLeft) ? 'rotate' : 'done';
    },
  };
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
      policy: spec.plan.policy,
    },
    prepared: { ...prepared, shards: [], warnings: [] },
    operator: run.operator,
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
