// Owns the memory model of a chunk.
//
// Peak bytes = fixed + indexFactor × index + in-flight rows × (input + working bytes a row)
//            + chunk rows × output bytes a row.
// On a CPU the executor streams tile by tile, so at most `batchesPerCore` tiles per core are in
// flight; on a GPU the whole chunk is. Output rows stay until the part is written.
import type { VariantSpec } from '../registry/index.ts';
import type { DeviceSnapshot } from '../telemetry/index.ts';
import type { MemoryPolicy } from './policy.ts';
import type { PlanInput } from './types.ts';

export interface MemoryModel {
  /** Bytes that any chunk needs. */
  readonly baseBytes: number;
  readonly inFlightRowsMax: number;
  readonly inFlightBytesPerRow: number;
  readonly keptBytesPerRow: number;
  /** What a chunk may take on the device. */
  readonly budgetBytes: number;
}

/** Memory model of one variant on one device for the work of a plan input. */
export function memoryModel(
  policy: MemoryPolicy,
  input: PlanInput,
  variant: VariantSpec,
  device: DeviceSnapshot,
): MemoryModel {
  const { work, limits, snapshot } = input;
  const onCpu = device.kind === 'cpu';
  const batches = policy.batchesPerCore * Math.max(1, snapshot.cores);
  const deviceBytes =
    onCpu || device.memFreeBytes === null
      ? Infinity
      : Math.floor(device.memFreeBytes * policy.deviceFreeShare);
  return {
    baseBytes: variant.memory.fixedBytes + variant.memory.indexFactor * work.indexBytes,
    inFlightRowsMax: onCpu ? batches * work.tileRows : Infinity,
    inFlightBytesPerRow: work.bytesPerRow + variant.memory.bytesPerRow,
    keptBytesPerRow: work.bytesOutPerRow,
    budgetBytes: Math.min(limits.memoryBytesMax, deviceBytes),
  };
}

/** Peak bytes of a chunk of so many rows. */
export function peakBytes(model: MemoryModel, rows: number): number {
  const inFlight = Math.min(rows, model.inFlightRowsMax) * model.inFlightBytesPerRow;
  return Math.ceil(model.baseBytes + inFlight + rows * model.keptBytesPerRow);
}

/** Most rows whose peak fits the budget: −1 if not even an empty chunk does, Infinity if any does. */
export function rowsWithin(model: MemoryModel): number {
  const room = Math.floor(model.budgetBytes) - Math.ceil(model.baseBytes);
  if (room < 0) {
    return -1;
  }
  const perRow = model.inFlightBytesPerRow + model.keptBytesPerRow;
  const streamed = perRow > 0 ? Math.floor(room / perRow) : Infinity;
  if (streamed <= model.inFlightRowsMax) {
    return streamed;
  }
  const rest = room - model.inFlightRowsMax * model.inFlightBytesPerRow;
  return model.keptBytesPerRow > 0 ? Math.floor(rest / model.keptBytesPerRow) : Infinity;
}
