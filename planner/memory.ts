// Owns the memory model of a chunk, which follows what the executor does.
//
// On a CPU a chunk is streamed: `batchesPerCore` batches per core are in flight, each of at most
// `batchRows` rows or one tile, smaller where the limit asks for it; output leaves through a buffer.
// Without row output the executor takes longer batches, which cost it no more: they are read tile by tile.
// So a chunk's size costs no memory. On a GPU the whole chunk is on the device.
//
// I1. needed = fixed + index factor × index + output buffer + what is in flight, within the budget.
// I2. peak = needed + what the executor process takes before it has any work; the limit of a run is
//     not about that part, which no plan can change.
import type { VariantSpec } from '../registry/index.ts';
import type { DeviceSnapshot } from '../telemetry/index.ts';
import type { MemoryPolicy } from './policy.ts';
import type { PlanInput } from './types.ts';

export interface MemoryModel {
  /** Bytes of the process itself. */
  readonly processBytes: number;
  /** Bytes that any chunk needs. */
  readonly baseBytes: number;
  /** Most batches in flight, and the rows of each; one batch of any size on a GPU. */
  readonly batches: number;
  readonly batchRows: number;
  readonly bytesPerBatch: number;
  readonly bytesPerRow: number;
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
  const baseBytes = variant.memory.fixedBytes + variant.memory.indexFactor * work.indexBytes;
  const bytesPerRow = work.bytesPerRow + variant.memory.bytesPerRow + work.bytesOutPerRow;
  const bytesPerBatch = work.features * work.measures * policy.bytesPerFeatureMeasure;
  if (device.kind !== 'cpu') {
    const free = device.memFreeBytes;
    const room = free === null ? Infinity : Math.floor(free * policy.deviceFreeShare);
    const budgetBytes = Math.min(limits.memoryBytesMax, room);
    const whole = { batches: 1, batchRows: Infinity };
    return { processBytes: 0, baseBytes, ...whole, bytesPerBatch, bytesPerRow, budgetBytes };
  }
  const model = {
    processBytes: policy.processBytes,
    baseBytes: baseBytes + (work.bytesOutPerRow > 0 ? policy.outputBufferBytes : 0),
    batches: policy.batchesPerCore * Math.max(1, snapshot.cores),
    bytesPerBatch,
    bytesPerRow,
    budgetBytes: limits.memoryBytesMax,
  };
  return { ...model, batchRows: batchRowsWithin(policy, model, work.tileRows) };
}

/** Rows of a batch as the executor chooses them: halved until all in flight fit, a tile at least. */
function batchRowsWithin(
  policy: MemoryPolicy,
  model: Omit<MemoryModel, 'batchRows'>,
  tileRows: number,
): number {
  let batchRows = Math.max(policy.batchRows, tileRows);
  while (batchRows > tileRows && windowBytes(model, batchRows) > model.budgetBytes) {
    batchRows = Math.max(tileRows, Math.floor(batchRows / 2));
  }
  return batchRows;
}

function windowBytes(model: Omit<MemoryModel, 'batchRows'>, batchRows: number): number {
  const { baseBytes, batches, bytesPerBatch, bytesPerRow } = model;
  return baseBytes + batches * (bytesPerBatch + batchRows * bytesPerRow);
}

/** Bytes that a chunk of so many rows takes of the budget. */
export function neededBytes(model: MemoryModel, rows: number): number {
  const { baseBytes, batches, batchRows, bytesPerBatch, bytesPerRow } = model;
  const inFlight = Math.min(rows, batches * batchRows) * bytesPerRow;
  const filled = Math.min(batches, Math.ceil(rows / batchRows));
  return Math.ceil(baseBytes + inFlight + Math.max(1, filled) * bytesPerBatch);
}

/** Peak bytes of the executor, or of the GPU, during a chunk of so many rows. */
export function peakBytes(model: MemoryModel, rows: number): number {
  return model.processBytes + neededBytes(model, rows);
}

/** Least budget with which a tile of so many rows can be computed. */
export function leastBudget(model: MemoryModel, tileRows: number): number {
  const isStreamed = Number.isFinite(model.batchRows);
  return isStreamed ? Math.ceil(windowBytes(model, model.batchRows)) : neededBytes(model, tileRows);
}

/** Most rows that fit the budget: −1 if not even an empty chunk does, Infinity if any does. */
export function rowsWithin(model: MemoryModel): number {
  if (Number.isFinite(model.batchRows)) {
    return windowBytes(model, model.batchRows) <= model.budgetBytes ? Infinity : -1;
  }
  const room = Math.floor(model.budgetBytes) - neededBytes(model, 0);
  if (room < 0) {
    return -1;
  }
  return model.bytesPerRow > 0 ? Math.floor(room / model.bytesPerRow) : Infinity;
}
