// Owns finishing times: when a variant on a device would be done with some rows, piece by piece.
//
// seconds = (rows ÷ rate + copies + fixed + upload of the index) × (1 + chunks there ÷ those that overlap)
//
// I1. A measured rate is freed of what its chunks paid once each or once in all: small probes would
//     else look slow for ever. It never exceeds both what was measured and what was declared.
// I2. The index stays on the device: a chunk bears its share of the upload, by rows of what remains.
// I3. Unknown is neither idle nor pressed: without a reading nobody waits, and nothing overlaps.
import type { VariantSpec } from '../registry/index.ts';
import {
  findHistory,
  isUnderutilized,
  shapeBucket,
  type DeviceSnapshot,
} from '../telemetry/index.ts';
import type { PlacementPolicy, PolicyData } from './policy.ts';
import { declaredRate, type ExpectedRate } from './rates.ts';
import { reason } from './reasons.ts';
import { holdsLayer } from './residency.ts';
import type { PlanInput } from './types.ts';

export interface Placement {
  /** Seconds per row, copies left out, and of the copies. */
  readonly rowSeconds: number;
  readonly copySeconds: number;
  /** Seconds per chunk, and of the upload that is still to do. */
  readonly fixedSeconds: number;
  readonly uploadSeconds: number;
  /** 1 where nothing runs. */
  readonly busyFactor: number;
}

/** What a variant's work on a device costs. */
export function placementOf(
  policy: PolicyData,
  placement: PlacementPolicy,
  input: PlanInput,
  variant: VariantSpec,
  device: DeviceSnapshot,
  rate: ExpectedRate,
): Placement {
  const { work } = input;
  const { fixedSeconds } = variant.throughput;
  const measured = rate.source === 'history';
  const copySeconds = rate.source === 'declared' ? copiesPerRow(input, variant) : 0;
  const rowSeconds = measured
    ? measuredSecondsPerRow(placement, input, variant, device, rate)
    : 1 / rate.rowsPerSecond;
  const uploadSeconds = holdsLayer(device, work) ? 0 : indexSeconds(input, variant);
  const underused = isUnderutilized(device, policy.telemetry.underutilizedBelowPct);
  const overlapping = device.kind === 'gpu' && underused ? Math.max(1, device.slots) : 1;
  const busyFactor = 1 + (device.slotsBusy ?? 0) / overlapping;
  return { rowSeconds, copySeconds, fixedSeconds, uploadSeconds, busyFactor };
}

/** Rows for which a choice of device matters: all that remain of the shard. */
export function horizonRows({ work }: Pick<PlanInput, 'work'>): number {
  return Math.max(1, work.rows, work.remainingRows);
}

/** What the reservation bears of an upload: its share of the rows for which the index will lie there. */
export function uploadShare(input: Pick<PlanInput, 'work'>): number {
  return Math.max(1, input.work.rows) / horizonRows(input);
}

/** Seconds until the device would be done with so many rows if nothing else ran on it. */
export function ownSeconds(placed: Placement, rows: number): number {
  const { rowSeconds, copySeconds, fixedSeconds, uploadSeconds } = placed;
  return rows * (rowSeconds + copySeconds) + fixedSeconds + uploadSeconds;
}

/** Rows of a probe; Infinity under policies that make none. */
export function probeRowsOf(
  { chunking, placement }: PolicyData,
  { device, placed }: { readonly device: DeviceSnapshot; readonly placed?: Placement },
): number {
  if (chunking.kind === 'row-hints') {
    return Infinity;
  }
  if (placement === undefined || placed === undefined) {
    return chunking.probeRows;
  }
  const inTime = Math.floor(placement.probeSeconds / placed.rowSeconds);
  return device.kind === 'gpu' ? placement.probeRows : Math.max(chunking.probeRows, inTime);
}

/** The rate of a GPU as plans size and predict by it: copies included, fixed costs beside it. */
export function deviceRate(placed: Placement, rate: ExpectedRate): ExpectedRate {
  const rowsPerSecond = Math.max(1, Math.round(1 / (placed.rowSeconds + placed.copySeconds)));
  const { params } = rate.because;
  const because =
    rate.source === 'history'
      ? reason('RATE_NET', {
          rowsPerSecond,
          measured: rate.rowsPerSecond,
          chunks: params?.['chunks'] ?? null,
        })
      : { ...rate.because, params: { ...params, rowsPerSecond } };
  const fixedSeconds = placed.fixedSeconds + placed.uploadSeconds;
  return { ...rate, rowsPerSecond, fixedSeconds, because };
}

function measuredSecondsPerRow(
  placement: PlacementPolicy,
  input: PlanInput,
  variant: VariantSpec,
  device: DeviceSnapshot,
  rate: ExpectedRate,
): number {
  const own = findHistory(input.history, variant.id, device.deviceClass, shapeBucket(input.work));
  const perRow = 1 / rate.rowsPerSecond;
  if (own === null || own.chunks < 1 || own.rows < 1) {
    return perRow;
  }
  const rows = own.rows / own.chunks;
  const once = indexSeconds(input, variant) + placement.warmUpSeconds[device.kind];
  const beside = variant.throughput.fixedSeconds + once / own.chunks;
  const declared = 1 / declaredRate(input, variant, device) + copiesPerRow(input, variant);
  return Math.max(perRow - beside / rows, Math.min(perRow, declared));
}

function copiesPerRow({ work }: PlanInput, { throughput }: VariantSpec): number {
  const { uploadBytesPerSecond } = throughput;
  return uploadBytesPerSecond === undefined
    ? 0
    : (work.bytesPerRow + work.bytesOutPerRow) / uploadBytesPerSecond;
}

function indexSeconds({ work }: PlanInput, { memory, throughput }: VariantSpec): number {
  const { uploadBytesPerSecond } = throughput;
  return uploadBytesPerSecond === undefined
    ? 0
    : (memory.indexFactor * work.indexBytes) / uploadBytesPerSecond;
}
