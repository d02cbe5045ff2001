// Owns the expected speed of a variant on a device.
//
// 1. This run's own history of the variant on that device class and shape.
// 2. Else the declared speed, corrected by how another variant of the run compares with what it
//    declared there (the same disks and neighbours slow both), within 1e-4 and 10.
// 3. Else the declared speed. A CPU's declared speed is per core: it counts × the snapshot's cores.
import type { VariantSpec } from '../registry/index.ts';
import { findHistory, shapeBucket, type DeviceSnapshot } from '../telemetry/index.ts';
import { reason } from './reasons.ts';
import type { PlanInput, Reason } from './types.ts';

export interface ExpectedRate {
  readonly rowsPerSecond: number;
  /** Seconds per chunk on top of the rows; measured rates include them. */
  readonly fixedSeconds: number;
  readonly source: 'history' | 'calibrated' | 'declared';
  readonly because: Reason;
  /** Rows measured so far; absent: none. */
  readonly rowsSeen?: number;
}

const CALIBRATION_MIN = 1e-4;
const CALIBRATION_MAX = 10;

/** Expected rows per second of a variant on a device for the work of a plan input. */
export function expectedRate(
  input: PlanInput,
  variant: VariantSpec,
  device: DeviceSnapshot,
  siblings: readonly VariantSpec[],
): ExpectedRate {
  const shape = shapeBucket(input.work);
  const own = findHistory(input.history, variant.id, device.deviceClass, shape);
  if (own !== null && own.rowsPerSecond !== null && own.rowsPerSecond > 0) {
    const { rowsPerSecond, chunks, rows: rowsSeen } = own;
    const because = reason('RATE_HISTORY', { rowsPerSecond, chunks });
    return { rowsPerSecond, fixedSeconds: 0, source: 'history', because, rowsSeen };
  }
  const units = unitsOf(input, device);
  const declared = declaredRate(input, variant, device);
  const { fixedSeconds } = variant.throughput;
  for (const entry of input.history.entries) {
    const other = siblings.find((sibling) => sibling.id === entry.variant);
    const comparable =
      other !== undefined && entry.deviceClass === device.deviceClass && entry.shape === shape;
    if (comparable && entry.rowsPerSecond !== null) {
      const ratio = entry.rowsPerSecond / declaredRate(input, other, device);
      const factor = Math.min(Math.max(ratio, CALIBRATION_MIN), CALIBRATION_MAX);
      const rowsPerSecond = rounded(declared * factor);
      const because = reason('RATE_CALIBRATED', {
        rowsPerSecond,
        factor: Math.round(factor * 1000) / 1000,
        variant: other.id,
      });
      return { rowsPerSecond, fixedSeconds, source: 'calibrated', because };
    }
  }
  const rowsPerSecond = rounded(declared);
  const because = reason('RATE_DECLARED', { rowsPerSecond, units });
  return { rowsPerSecond, fixedSeconds, source: 'declared', because };
}

/** Predicted seconds of a chunk, rounded to a microsecond. */
export function predictedSeconds(rate: ExpectedRate, rows: number): number {
  return Math.round((rate.fixedSeconds + rows / rate.rowsPerSecond) * 1e6) / 1e6;
}

/** Declared rows per second of a variant on a device, all cores of a CPU together. */
export function declaredRate(
  input: PlanInput,
  variant: VariantSpec,
  device: DeviceSnapshot,
): number {
  const { rowsPerSecondOrdered, rowsPerSecondRandom, verticesAtRate } = variant.throughput;
  const rate = input.work.ordered ? rowsPerSecondOrdered : rowsPerSecondRandom;
  const perUnit =
    verticesAtRate === undefined || input.work.vertices <= verticesAtRate
      ? rate
      : (rate * verticesAtRate) / input.work.vertices;
  return perUnit * unitsOf(input, device);
}

function unitsOf(input: PlanInput, device: DeviceSnapshot): number {
  return device.kind === 'cpu' ? Math.max(1, input.snapshot.cores) : 1;
}

function rounded(rowsPerSecond: number): number {
  return Math.max(1, Math.round(rowsPerSecond));
}
