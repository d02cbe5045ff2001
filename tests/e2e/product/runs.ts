// Owns runs of the product in tests: start a pipeline on real workers, wait, read what it published.
import type { Client } from '@temporalio/client';
import { digestOf } from '../../../core/index.ts';
import { readMarker, type SinkMarker } from '../../../datasets/index.ts';
import { DEFAULT_POLICY_ID, type Pin } from '../../../planner/index.ts';
import type { PipelineSpec } from '../../../spec/index.ts';
import { QUEUES } from '../../../workflows/activity-contract.ts';
import {
  DEFAULT_TUNING,
  RUN_WORKFLOW,
  runWorkflowId,
  STATUS_QUERY,
  WORKFLOW_TASK_TIMEOUT_MS,
  type RunInput,
  type RunResult,
  type RunStatus,
  type RunTuning,
} from '../../../workflows/messages.ts';

export interface RunSetting {
  readonly runId: string;
  readonly spec: PipelineSpec;
  readonly tuning?: Partial<RunTuning> | undefined;
  readonly variant?: string;
  readonly chunkRows?: number;
  /** Pins beside those of `variant` and `chunkRows`. */
  readonly pins?: readonly TestPin[];
}

/** A pin that holds the run back where it cannot be honoured; for the whole run by default. */
export interface TestPin {
  readonly aspect: Pin['aspect'];
  readonly value: string | number;
  /** First and last tile. */
  readonly tiles?: readonly [number, number];
  readonly chunksLeft?: number;
}

const tries = new Map<string, number>();

/**
 * A run id, or the name of a sink, that no earlier try of the test has used: a second try would else meet
 * the sink and the executions of the first one.
 */
export function freshRunId(name: string): string {
  const before = tries.get(name) ?? 0;
  tries.set(name, before + 1);
  return before === 0 ? name : `${name}-${String(before + 1)}`;
}

/** Overrides of a test's pipeline; the rest is the shortest correct spec. */
export interface SpecSetting {
  readonly dataset: string;
  readonly layer: string;
  readonly sink: string;
  readonly rows?: boolean;
  readonly lanes?: number;
  readonly shards?: number;
  readonly failedTiles?: number;
  readonly chunkSecondsTarget?: number;
  readonly policy?: string;
  readonly mode?: PipelineSpec['plan']['mode'];
  readonly ifImpossible?: 'hold' | 'fail';
}

export function specOf(setting: SpecSetting): PipelineSpec {
  return {
    apiVersion: 'tileloom/v1',
    kind: 'Pipeline',
    name: 'test',
    source: { dataset: setting.dataset, crs: 'OGC:CRS84', wrap: true },
    layers: {
      counties: {
        file: setting.layer,
        id: '@id',
        object: 'counties',
        crs: 'OGC:CRS84',
        antimeridian: 'split',
        pole: {},
      },
    },
    steps: [
      {
        kind: 'assign',
        layer: 'counties',
        as: 'county',
        boundary: 'half-open',
        overlap: 'first',
      },
      {
        kind: 'aggregate',
        by: 'county',
        measures: [
          { kind: 'count' },
          { kind: 'sum', column: 'value' },
          { kind: 'mean', column: 'value' },
          { kind: 'min', column: 'value' },
          { kind: 'max', column: 'value' },
        ],
      },
    ],
    sink: { path: setting.sink, rows: setting.rows ?? false, format: 'arrow' },
    plan: {
      mode: setting.mode ?? 'auto',
      precision: 'auto',
      policy: setting.policy ?? DEFAULT_POLICY_ID,
      ifImpossible: setting.ifImpossible ?? 'fail',
      cadence: 'every-chunk',
      chunkSecondsTarget: setting.chunkSecondsTarget ?? 2,
      pins: [],
    },
    limits: {
      memoryBytesMax: 2 ** 31,
      failedTiles: setting.failedTiles ?? 0,
      lanes: setting.lanes ?? 2,
      shards: setting.shards ?? null,
    },
  };
}

function inputOf(setting: RunSetting): RunInput {
  const { spec, runId } = setting;
  const pin = (aspect: 'variant' | 'chunkRows', value: string | number) => ({
    id: `test-${aspect}`,
    aspect,
    value,
    scope: { kind: 'run' } as const,
    reason: 'test',
    author: 'test',
    epoch: 0,
    expiresAt: null,
    chunksLeft: null,
    ifImpossible: 'fail' as const,
  });
  return {
    schema: 'tileloom.run-input/1',
    runId,
    spec,
    specDigest: digestOf(spec),
    operator: {
      epoch: 0,
      ...{ pause: null, parkedOrders: [], cancel: null, recent: [] },
      pins: [
        ...(setting.variant === undefined ? [] : [pin('variant', setting.variant)]),
        ...(setting.chunkRows === undefined ? [] : [pin('chunkRows', setting.chunkRows)]),
        ...(setting.pins ?? []).map(placedPin),
      ],
      limits: {
        lanes: spec.limits.lanes,
        chunkSecondsTarget: spec.plan.chunkSecondsTarget,
        memoryBytesMax: spec.limits.memoryBytesMax,
        cadence: spec.plan.cadence,
        failedTiles: spec.limits.failedTiles,
      },
    },
    tuning: { ...DEFAULT_TUNING, hostTimeoutMs: 3_000, ...setting.tuning },
    carried: null,
  };
}

function placedPin({ aspect, value, tiles, chunksLeft }: TestPin, index: number): Pin {
  return {
    id: `placed-${index}`,
    aspect,
    value,
    scope:
      tiles === undefined
        ? { kind: 'run' }
        : { kind: 'tiles', firstTile: tiles[0], lastTile: tiles[1] },
    reason: 'test',
    author: 'test',
    epoch: 0,
    expiresAt: null,
    chunksLeft: chunksLeft ?? null,
    ifImpossible: 'hold',
  };
}

/** Starts a run; the answer waits for its end. */
export async function startRun(
  client: Client,
  setting: RunSetting,
): Promise<{
  result(): Promise<RunResult>;
  status(): Promise<RunStatus>;
  cancel(): Promise<void>;
}> {
  const handle = await client.workflow.start(RUN_WORKFLOW, {
    taskQueue: QUEUES.workflows,
    workflowId: runWorkflowId(setting.runId),
    args: [inputOf(setting)],
    workflowTaskTimeout: WORKFLOW_TASK_TIMEOUT_MS,
    memo: { name: setting.spec.name, sink: setting.spec.sink.path },
  });
  return {
    result: () => handle.result() as Promise<RunResult>,
    status: () => handle.query<RunStatus>(STATUS_QUERY),
    cancel: async () => void (await handle.cancel()),
  };
}

/** Runs to the end and returns the published marker. */
export async function runToEnd(client: Client, setting: RunSetting): Promise<SinkMarker> {
  const run = await startRun(client, setting);
  await run.result();
  return markerOf(setting.spec);
}

export async function markerOf(spec: PipelineSpec): Promise<SinkMarker> {
  const marker = await readMarker(spec.sink.path);
  if (marker === null) throw new Error(`${spec.sink.path} has no marker`);
  return marker;
}
