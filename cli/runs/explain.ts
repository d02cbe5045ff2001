// Owns `plan explain`: the planner's own path without execution. The host's snapshot is taken once;
// chunk by chunk the plan is made as a lane would, and taken to come out exactly as predicted.
import { resolve } from 'node:path';
import { openDataset, prepareLayer, requireSameCrs } from '../../datasets/index.ts';
import {
  completeRequest,
  plan,
  policyById,
  type Plan,
  type PlanDecision,
  type PlanRequest,
  type PlanSummary,
  type WorkloadProfile,
} from '../../planner/index.ts';
import { REGISTRY } from '../../registry/index.ts';
import { homePaths } from '../../server/index.ts';
import type { LayerSpec, PipelineSpec } from '../../spec/index.ts';
import {
  emptyHistory,
  foldOutcome,
  shapeBucket,
  type HistoryDigest,
  type TelemetrySnapshot,
} from '../../telemetry/index.ts';
import { takeSnapshot } from '../devices/snapshot.ts';
import { CliError } from '../errors.ts';
import { isPlan } from '../history/chunks.ts';
import type { CommandIo } from '../io.ts';
import { authorName } from '../operator/author.ts';
import { operatorPins } from './pins.ts';
import { requestedOf } from '../../workflows/activity-contract.ts';
import { DEFAULT_TUNING } from '../../workflows/messages.ts';

export interface ExplainTotals {
  readonly rows: number;
  readonly tiles: number;
  readonly chunks: number;
  /** Predicted device seconds of all chunks, one after the other. */
  readonly seconds: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Largest predicted peak of one chunk. */
  readonly peakBytes: number;
  /** Events in Temporal's history, at the measured number per planned chunk. */
  readonly historyEvents: number;
}

export interface Explanation {
  readonly snapshot: TelemetrySnapshot;
  readonly work: WorkloadProfile;
  readonly first: PlanDecision;
  /** The plan of the largest chunk after the first; null when the first covers everything. */
  readonly steady: Plan | null;
  readonly totals: ExplainTotals | null;
}

const EVENTS_PER_CHUNK = 12;
const CHUNKS_MAX = 20_000;

/** Plans a whole pipeline on this host without running it. */
export async function explainSpec(
  io: CommandIo,
  spec: PipelineSpec,
  options: { readonly threads: number | undefined },
): Promise<Explanation> {
  const { template, rows, tiles } = await describeWork(io, spec);
  const { snapshot } = await takeSnapshot(io, options.threads);
  const state: Walk = { history: emptyHistory(), previous: null, firstTile: 0, chunk: 0 };
  const totals = { rows, tiles, chunks: 0, seconds: 0, bytesIn: 0, bytesOut: 0, peakBytes: 0 };
  let first: PlanDecision | null = null;
  let steady: Plan | null = null;
  const rowsOf = (from: number, end: number): number =>
    Math.min(rows, end * template.tileRows) - Math.min(rows, from * template.tileRows);
  while (state.firstTile < tiles && state.chunk < CHUNKS_MAX) {
    const reserved = Math.min(
      reservationTiles(state.previous, template.tileRows),
      tiles - state.firstTile,
    );
    const work: WorkloadProfile = {
      ...template,
      rows: rowsOf(state.firstTile, state.firstTile + reserved),
      remainingRows: rowsOf(state.firstTile, tiles),
      chunkIndex: state.chunk,
    };
    const decision = planOnce(spec, work, snapshot, state, reserved);
    first ??= decision;
    if (!isPlan(decision)) {
      break;
    }
    if (first !== decision && (steady === null || decision.chunkTiles > steady.chunkTiles)) {
      steady = decision;
    }
    advance(state, decision, snapshot, work, rowsOf);
    totals.chunks += 1;
    totals.seconds += decision.predicted.seconds;
    totals.bytesIn += decision.predicted.bytesIn;
    totals.bytesOut += decision.predicted.bytesOut;
    totals.peakBytes = Math.max(totals.peakBytes, decision.predicted.peakBytes);
  }
  if (first === null) {
    throw new CliError(
      'CLI_NO_PLAN',
      'the dataset has no tiles: expected at least one, got none; there is nothing to plan',
    );
  }
  const complete = isPlan(first) && state.firstTile >= tiles;
  return {
    snapshot,
    work: { ...template, rows, remainingRows: rows, chunkIndex: 0 },
    first,
    steady,
    totals: complete ? { ...totals, historyEvents: totals.chunks * EVENTS_PER_CHUNK } : null,
  };
}

interface Walk {
  history: HistoryDigest;
  previous: PlanSummary | null;
  firstTile: number;
  chunk: number;
}

/** As a lane reserves: a probe first, then as many rows as the last plan hints at. */
function reservationTiles(previous: PlanSummary | null, tileRows: number): number {
  return previous === null
    ? DEFAULT_TUNING.probeTiles
    : Math.max(1, Math.floor(previous.chunkRowsHint / tileRows));
}

function planOnce(
  spec: PipelineSpec,
  work: WorkloadProfile,
  snapshot: TelemetrySnapshot,
  state: Walk,
  reservedTiles: number,
): PlanDecision {
  const policy = policyById(spec.plan.policy);
  const where = {
    runId: 'explain',
    shard: 0,
    chunk: state.chunk,
    firstTile: state.firstTile,
    reservedTiles,
    attempt: 1,
    epoch: 0,
  };
  const request: PlanRequest = {
    schema: 'tileloom.plan-input/1',
    where,
    work,
    requested: requestedOf(spec.plan),
    pins: operatorPins(spec.plan.pins, authorName()),
    limits: {
      memoryBytesMax: spec.limits.memoryBytesMax,
      chunkSecondsTarget: spec.plan.chunkSecondsTarget,
      chunkRowsMax: null,
    },
    excluded: [],
    previous: state.previous,
    history: state.history,
    policyId: policy.id,
  };
  const identity = {
    policy: { id: policy.id, digest: policy.digest },
    registry: { digest: REGISTRY.digest },
  };
  return plan(completeRequest(request, snapshot, identity), policy, REGISTRY);
}

function advance(
  state: Walk,
  decision: Plan,
  snapshot: TelemetrySnapshot,
  work: WorkloadProfile,
  rowsOf: (from: number, end: number) => number,
): void {
  const device = snapshot.devices.find(({ deviceId }) => deviceId === decision.deviceId);
  const endTile = state.firstTile + decision.chunkTiles;
  state.history = foldOutcome(state.history, {
    variant: decision.variant,
    deviceClass: device?.deviceClass ?? decision.deviceId,
    shape: shapeBucket(work),
    rows: rowsOf(state.firstTile, endTile),
    seconds: decision.predicted.seconds,
    predictedSeconds: decision.predicted.seconds,
    failed: false,
  });
  state.previous = {
    planId: decision.planId,
    variant: decision.variant,
    runtime: decision.runtime,
    deviceId: decision.deviceId,
    chunkTiles: decision.chunkTiles,
    chunkRowsHint: decision.chunkRowsHint,
    predictedSeconds: decision.predicted.seconds,
    actualSeconds: decision.predicted.seconds,
  };
  state.firstTile = endTile;
  state.chunk += 1;
}

/** The work of a pipeline as `prepare` describes it: dataset, columns, CRS and the prepared layer. */
async function describeWork(
  io: CommandIo,
  spec: PipelineSpec,
): Promise<{
  template: Omit<WorkloadProfile, 'rows' | 'remainingRows' | 'chunkIndex'>;
  rows: number;
  tiles: number;
}> {
  const { measuredColumns, workTemplate } = await import('../../activities/index.ts');
  const dataset = await openDataset(spec.source.dataset);
  requireSameCrs(`dataset ${dataset.path}`, spec.source.crs, dataset.manifest.crs);
  const measures = measuredColumns(spec.steps[1]);
  dataset.tileSource({ ...dataset.manifest.coordinates, measures }).close();
  const layerSpec = layerOf(spec);
  const layer = await prepareLayer(layerSpec, {
    path: resolve(layerSpec.file),
    cacheDir: homePaths(io.env).layers,
    sourceCrs: spec.source.crs,
  });
  const { rows, tiles } = dataset.manifest;
  return { template: workTemplate(spec, dataset, layer, measures.length), rows, tiles };
}

function layerOf(spec: PipelineSpec): LayerSpec {
  const layer = spec.layers[spec.steps[0].layer];
  if (layer === undefined) {
    throw new TypeError('a checked spec always has the layer of its assign step');
  }
  return layer;
}
