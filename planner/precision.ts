// Owns the precision of a step: what to compute in, how to compensate, how to refine. Storage is
// always fp64. Explicit requests win; the automatic choice looks at how fast the device does fp64.
import type { ComputePrecision, KernelClass, Runtime } from '../registry/index.ts';
import type { PrecisionPolicy, PrecisionRow } from './policy.ts';
import type { PrecisionPlan, RequestedPrecision } from './types.ts';

export interface PrecisionFacts {
  readonly requested: RequestedPrecision;
  readonly kernelClass: KernelClass;
  readonly runtime: Runtime;
  /** fp64 : fp32 throughput of the device, null when unknown. */
  readonly fp64Ratio: number | null;
  readonly maxAbsCoordinate: number | null;
  readonly coordinateSpan: number | null;
}

export type PrecisionReason =
  'PRECISION_REQUESTED' | 'PRECISION_CPU' | 'PRECISION_NATIVE_FP64' | 'PRECISION_SLOW_FP64';

export interface PrecisionChoice {
  readonly plan: PrecisionPlan;
  readonly reason: PrecisionReason;
  readonly fp64Ratio: number;
}

/** Chooses the precision of one kernel class on one device. */
export function choosePrecision(policy: PrecisionPolicy, facts: PrecisionFacts): PrecisionChoice {
  const fp64Ratio = facts.fp64Ratio ?? (facts.runtime === 'cpu' ? 1 : policy.unknownFp64Ratio);
  const choose = (row: PrecisionRow, reason: PrecisionReason): PrecisionChoice => ({
    plan: toPlan(policy, row, facts),
    reason,
    fp64Ratio,
  });
  if (facts.requested !== 'auto') {
    return choose(rowOf(policy, facts.requested, facts.kernelClass), 'PRECISION_REQUESTED');
  }
  if (facts.runtime === 'cpu') {
    return choose(policy.fp64[facts.kernelClass], 'PRECISION_CPU');
  }
  if (fp64Ratio >= policy.nativeFp64RatioMin) {
    return choose(policy.fp64[facts.kernelClass], 'PRECISION_NATIVE_FP64');
  }
  return choose(policy.consumer[facts.kernelClass], 'PRECISION_SLOW_FP64');
}

/** Whether fp32 needs coordinates relative to a centre; unknown coordinates do not decide it. */
export function needsCentering(
  policy: PrecisionPolicy,
  maxAbsCoordinate: number | null,
  coordinateSpan: number | null,
): boolean {
  if (maxAbsCoordinate === null) {
    return false;
  }
  const narrow =
    coordinateSpan !== null && coordinateSpan < policy.centerBelowSpanRatio * maxAbsCoordinate;
  return maxAbsCoordinate >= policy.centerFromAbs || narrow;
}

function rowOf(
  policy: PrecisionPolicy,
  precision: ComputePrecision,
  kernelClass: KernelClass,
): PrecisionRow {
  return precision === 'fp64' ? policy.fp64[kernelClass] : policy.fp32[kernelClass];
}

function toPlan(policy: PrecisionPolicy, row: PrecisionRow, facts: PrecisionFacts): PrecisionPlan {
  const centered =
    row.compute === 'fp32' &&
    (row.compensation === 'centered' ||
      needsCentering(policy, facts.maxAbsCoordinate, facts.coordinateSpan));
  return {
    storage: 'fp64',
    compute: row.compute,
    compensation: row.compensation,
    refinement: row.refinement,
    center: centered,
  };
}
