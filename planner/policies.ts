// Owns the policies that ship: probe-first@1 (the reference's numbers), probe-first@2 (speed and bytes)
// and probe-first@3 (default: devices compete by evidence).
// A shipped policy never changes; new numbers are a new version.
import { digestOf } from '../core/index.ts';
import { didYouMean } from '../registry/index.ts';
import { PlannerError } from './errors.ts';
import type { Policy, PolicyData, PrecisionRow } from './policy.ts';

export const DEFAULT_POLICY_ID = 'probe-first@3';

const FP64: PrecisionRow = { compute: 'fp64', compensation: 'none', refinement: 'none' };
const FP64_EXACT: PrecisionRow = { compute: 'fp64', compensation: 'none', refinement: 'exact' };
const FP32_CENTERED: PrecisionRow = {
  compute: 'fp32',
  compensation: 'centered',
  refinement: 'none',
};
const FP32_KAHAN: PrecisionRow = { compute: 'fp32', compensation: 'kahan', refinement: 'none' };
const FP32_SELECTIVE: PrecisionRow = {
  compute: 'fp32',
  compensation: 'centered',
  refinement: 'selective-fp64',
};
const FP32_EXACT: PrecisionRow = {
  compute: 'fp32',
  compensation: 'centered',
  refinement: 'exact',
};

/** Constants, tables and order of the reference policy (reference/adaptive-runtime.md §2). */
const PROBE_FIRST_1: PolicyData = {
  schema: 'tileloom.policy/1',
  id: 'probe-first@1',
  summary: 'The reference: crossover by rows, static scores, chunks of 25 K, 100 K or 250 K rows.',
  telemetry: { underutilizedBelowPct: 40, memoryPressureFromPct: 85, ageMsMax: null },
  crossover: {
    classes: {
      coarse: { pairwiseMinRows: 1_000, broadcastMinRows: 256 },
      metric: { pairwiseMinRows: 5_000, broadcastMinRows: 500 },
      predicate: { pairwiseMinRows: 10_000, broadcastMinRows: 1_000 },
      constructive: { pairwiseMinRows: 50_000, broadcastMinRows: 500 },
    },
    operations: {
      normalize: 500,
      centroid: 500,
      area: 500,
      length: 500,
      'make-valid': 2_000,
      'segment-classify': 4_096,
      'linestring-buffer': 5_000,
      'point-clip': 10_000,
      'clip-mask-filter': 50_000,
      'point-buffer': 0,
      'index-build': 0,
      'bbox-candidates': 0,
      'grid-candidates': 0,
      'box-query': 0,
      knn: 0,
      intersects: 0,
      contains: 0,
      within: 0,
      covers: 0,
      'covered-by': 0,
      touches: 0,
      crosses: 0,
      overlaps: 0,
      equals: 0,
    },
    broadcastDivisor: 10,
  },
  precision: {
    nativeFp64RatioMin: 0.25,
    unknownFp64Ratio: 1 / 32,
    fp64: { coarse: FP64, metric: FP64, predicate: FP64, constructive: FP64 },
    consumer: {
      coarse: FP32_CENTERED,
      metric: FP32_KAHAN,
      predicate: FP32_SELECTIVE,
      constructive: FP64,
    },
    fp32: {
      coarse: FP32_CENTERED,
      metric: FP32_KAHAN,
      predicate: FP32_SELECTIVE,
      constructive: FP32_SELECTIVE,
    },
    centerFromAbs: 1e6,
    centerBelowSpanRatio: 0.1,
  },
  scoring: {
    classMatch: 4,
    noFamilies: 1,
    perFamily: 3,
    allFamilies: 3,
    residency: 1,
    mixed: 2,
    cooperative: 5,
    independent: 2,
    cooperativeFromVertices: 64,
    perSpeedDoubling: 0,
    previous: 0,
  },
  chunking: {
    kind: 'row-hints',
    pressureRows: 25_000,
    defaultRows: 100_000,
    underutilizedRows: 250_000,
  },
  memory: {
    batchesPerCore: 2,
    batchRows: 262_144,
    bytesPerFeatureMeasure: 1_024,
    outputBufferBytes: 8 * 2 ** 20,
    processBytes: 104 * 2 ** 20,
    deviceFreeShare: 0.5,
  },
  onRequestImpossible: 'fail',
  leaseChunks: 1,
};

/** The same order of decisions; variants also by speed, chunks by time and bytes. */
const PROBE_FIRST_2: PolicyData = {
  ...PROBE_FIRST_1,
  id: 'probe-first@2',
  summary: 'Variants by predicted speed, chunks by seconds and bytes, a probe first, tapered last.',
  telemetry: { ...PROBE_FIRST_1.telemetry, ageMsMax: 30_000 },
  precision: {
    ...PROBE_FIRST_1.precision,
    // Every predicate of this product is exact, whatever precision its filter computes in.
    fp64: { ...PROBE_FIRST_1.precision.fp64, predicate: FP64_EXACT, constructive: FP64_EXACT },
    consumer: { ...PROBE_FIRST_1.precision.consumer, predicate: FP32_EXACT },
    fp32: { ...PROBE_FIRST_1.precision.fp32, predicate: FP32_EXACT, constructive: FP32_EXACT },
  },
  scoring: { ...PROBE_FIRST_1.scoring, perSpeedDoubling: 10, previous: 1 },
  chunking: {
    kind: 'time-and-bytes',
    probeRows: 262_144,
    pressureFactor: 0.25,
    taperDivisor: 4,
    taperFloor: 0.25,
  },
  onRequestImpossible: 'hold',
};

/**
 * Above the crossover CPU and GPU compete by finishing time. The numbers are judgement: nothing was
 * measured on a device; docs/decisions/0008 says what each is for.
 */
const PROBE_FIRST_3: PolicyData = {
  ...PROBE_FIRST_2,
  id: 'probe-first@3',
  summary: 'As @2; above the crossover the device that finishes first, by evidence, a probe first.',
  memory: {
    ...PROBE_FIRST_2.memory,
    device: { slots: 3, slotBytes: 256 * 2 ** 20, freeShare: 0.875 },
  },
  placement: {
    probeRows: 4_194_304,
    probeSeconds: 0.1,
    hopelessFactor: 8,
    probeShareMax: 0.1,
    warmUpSeconds: { cpu: 0.005, gpu: 0.1 },
    growthFactor: 16,
    stickiness: 0.04,
  },
};

/** Every policy that ships, oldest first. */
export const POLICIES: readonly Policy[] = Object.freeze(
  [PROBE_FIRST_1, PROBE_FIRST_2, PROBE_FIRST_3].map((data) => policyFrom(data)),
);

/** Gives policy data its identity; records of a run become policies again through it. */
export function policyFrom(data: PolicyData): Policy {
  return Object.freeze({ id: data.id, digest: digestOf(data), data });
}

/** The shipped policy of a given id; throws PLAN_POLICY_UNKNOWN with the nearest known id. */
export function policyById(id: string): Policy {
  const found = POLICIES.find((policy) => policy.id === id);
  if (found !== undefined) {
    return found;
  }
  const ids = POLICIES.map((policy) => policy.id);
  const newest = ids.findLast((known) => known.split('@')[0] === id);
  const hint = newest === undefined ? didYouMean(id, ids) : `; did you mean "${newest}"?`;
  throw new PlannerError(
    'PLAN_POLICY_UNKNOWN',
    `policy "${id}" is unknown: expected one of ${ids.join(', ')}${hint}`,
    { details: { policy: id } },
  );
}
