// Plain values of realistic size for the simulated engine.
import { ApplicationFailure } from '@temporalio/common';
import type { PlanRefusal } from '../../../planner/index.ts';
import type { PipelineSpec } from '../../../spec/index.ts';
import type { TelemetrySnapshot } from '../../../telemetry/index.ts';
import type {
  FailureDetails,
  FailureType,
  WorkTemplate,
} from '../../../workflows/activity-contract.ts';
import { DEFAULT_TUNING, type RunInput, type RunTuning } from '../../../workflows/messages.ts';

export const WORK: WorkTemplate = {
  // That of the simulated variants: a variant pin speaks of its own operation only.
  operation: 'sim',
  kernelClass: 'predicate',
  boundary: 'half-open',
  overlap: 'first',
  tileRows: 1000,
  families: ['polygon', 'multipolygon'],
  mixed: true,
  features: 3108,
  vertices: 812_345,
  meanVertices: 261,
  shape: 'broadcast-right',
  residency: 'host',
  bytesPerRow: 24,
  bytesOutPerRow: 0.2,
  indexBytes: 48_000_000,
  streaming: true,
  ordered: true,
  measures: 2,
  maxAbsCoordinate: 179.2,
  coordinateSpan: 358,
  workUnits: null,
};

export function simulatedSnapshot(host: string): TelemetrySnapshot {
  return {
    host,
    bootId: '3f0b6b0e-6a3a-4a55-9d1c-2f9f2f1f6d11',
    takenAt: 1_760_000_000_000,
    ageMs: 12,
    backend: 'unavailable',
    reason: 'simulated',
    cores: 2,
    load1: 0.7,
    memAvailableBytes: 6_000_000_000,
    memLimitBytes: 8_000_000_000,
    isa: ['avx', 'avx2', 'bmi2', 'fma', 'sse4_2'],
    devices: [
      {
        deviceId: 'cpu',
        kind: 'cpu',
        name: 'simulated',
        deviceClass: 'cpu-sim',
        utilizationPct: null,
        memTotalBytes: 8_000_000_000,
        memFreeBytes: 6_000_000_000,
        fp64Ratio: 1,
        temperatureC: null,
        throttled: null,
        slotsBusy: 1,
        slots: 2,
        quarantine: null,
      },
    ],
  };
}

export function simulatedRefusal(
  variants: readonly string[],
  onRefusal: 'hold' | 'fail',
  pin?: string,
): PlanRefusal {
  return {
    schema: 'tileloom.plan-refusal/1',
    code: 'PLAN_NO_VARIANT',
    onRefusal,
    reasons:
      pin === undefined
        ? [{ code: 'NO_ADMISSIBLE_VARIANT' }]
        : [{ code: 'RELEASE_BY_CLEARING_PIN', params: { pin } }],
    candidates: variants.map((variant) => ({
      variant,
      deviceId: 'cpu',
      score: null,
      reject: 'EXCLUDED',
    })),
  };
}

/** A failure as activities put it on the wire. */
export function failure(
  type: FailureType,
  details: Partial<FailureDetails> = {},
): ApplicationFailure {
  return ApplicationFailure.create({
    type,
    message: `simulated ${type.toLowerCase().replaceAll('_', ' ')}`,
    nonRetryable: true,
    details: [
      { code: type, tile: null, input: 'data-00000.arrow', fingerprint: 'f00d', ...details },
    ],
  });
}

export const SPEC: PipelineSpec = {
  apiVersion: 'tileloom/v1',
  kind: 'Pipeline',
  name: 'simulated',
  source: { dataset: '/simulated/points', crs: 'OGC:CRS84', wrap: false },
  layers: {
    counties: {
      file: '/simulated/counties.geojson',
      id: '@id',
      object: null,
      crs: 'OGC:CRS84',
      antimeridian: 'split',
      pole: {},
    },
  },
  steps: [
    { kind: 'assign', layer: 'counties', as: 'county', boundary: 'half-open', overlap: 'first' },
  ],
  sink: { path: '/simulated/out', rows: false, format: 'arrow' },
  plan: {
    mode: 'auto',
    precision: 'auto',
    policy: 'probe-first@2',
    cadence: 'every-chunk',
    chunkSecondsTarget: 1,
    pins: [],
  },
  limits: { memoryBytesMax: 2 ** 31, failedTiles: 0, lanes: 2, shards: null },
};

const TUNING: RunTuning = { ...DEFAULT_TUNING, probeTiles: 1, hostTimeoutMs: 2_000 };

/** Input of a run over simulated work; small knobs, so that tests see several of everything. */
export function runInput(
  runId: string,
  more: {
    readonly tuning?: Partial<RunTuning>;
    readonly limits?: Partial<RunInput['operator']['limits']>;
  } = {},
): RunInput {
  return {
    schema: 'tileloom.run-input/1',
    runId,
    spec: SPEC,
    specDigest: 'ab'.repeat(32),
    operator: {
      epoch: 1,
      ...{ pause: null, parkedOrders: [], cancel: null, recent: [] },
      pins: [],
      limits: {
        lanes: 2,
        chunkSecondsTarget: 1,
        memoryBytesMax: 2 ** 31,
        cadence: 'every-chunk',
        failedTiles: 0,
        ...more.limits,
      },
    },
    tuning: { ...TUNING, ...more.tuning },
    carried: null,
  };
}
