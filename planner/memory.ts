// Owns the memory model of a chunk, which follows what the executor does.
//
// On a CPU a chunk is streamed: `batchesPerCore` batches per core are in flight, each of at most
// `batchRows` rows or one tile, smaller where the limit asks for it; output leaves through a buffer.
// Without row output the executor takes longer batches, which cost it no more: they are read tile by tile.
// So a chunk's size costs no memory. On a GPU it costs none either where the policy knows of slots: a fixed
// number of arenas, each with a pinned mirror on the host, through which tiles pass, beside the index.
// Older policies take the whole chunk to be on the device.
//
// I1. needed = fixed + index factor × index + output buffer + what is in flight, within the budget.
// I2. peak = needed + what the executor process takes before it has any work; the limit of a run is
//     not about that part, which no plan can change.
import type { VariantSpec } from '../registry/index.ts';
import type { DeviceSnapshot } from '../telemetry/index.ts';
import type { DeviceMemoryPolicy, MemoryPolicy } from './policy.ts';
import { holdsLayer } from './residency.ts';
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
  if (device.kind !== 'cpu' && policy.device !== undefined) {
    const slotBytes = slotBytesOf(policy.device, device, device.memFreeBytes, holdsArenas(device));
    return {
      processBytes: 0,
      baseBytes: variant.memory.indexFactor * work.indexBytes,
      batches: policy.device.slots,
      batchRows: Math.max(1, Math.floor(slotBytes / Math.max(1, arenaBytesPerRow(input, variant)))),
      bytesPerBatch: slotBytes,
      bytesPerRow: 0,
      budgetBytes: limits.memoryBytesMax,
    };
  }
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

/**
 * Why a GPU has no room for one tile of the work beside the layer's index, or null.
 *
 * What the executor there holds already (resident indexes, and arenas with them) needs no free bytes.
 * Free bytes that are unknown refuse nothing. What the executor was told to take at most bounds it as the
 * size of the device does.
 */
export function roomReject(
  { device: policy }: MemoryPolicy,
  input: PlanInput,
  variant: VariantSpec,
  device: DeviceSnapshot,
): 'DEVICE_MEMORY_EXHAUSTED' | 'MEMORY_EXCEEDED' | null {
  if (policy === undefined || device.kind !== 'gpu') {
    return null;
  }
  const { work } = input;
  const tileBytes = Math.min(work.rows, work.tileRows) * arenaBytesPerRow(input, variant);
  const indexBytes = variant.memory.indexFactor * work.indexBytes;
  const lacks = (bytes: number | null, index: number, hasArenas: boolean): boolean => {
    const slotBytes = slotBytesOf(policy, device, bytes, hasArenas);
    const arenas = policy.slots * slotBytes;
    const taken = index + (hasArenas ? 0 : variant.memory.fixedBytes + arenas);
    return (
      tileBytes > slotBytes || taken > shareOf(policy, bytes) || index + arenas > toldBytes(device)
    );
  };
  if (lacks(device.memTotalBytes, indexBytes, false)) {
    return 'MEMORY_EXCEEDED';
  }
  const index = holdsLayer(device, work) ? 0 : indexBytes;
  return lacks(device.memFreeBytes, index, holdsArenas(device)) ? 'DEVICE_MEMORY_EXHAUSTED' : null;
}

/** Bytes of one arena as the executor chooses them: less than the most where memory is scarce. */
function slotBytesOf(
  policy: DeviceMemoryPolicy,
  device: DeviceSnapshot,
  freeBytes: number | null,
  hasArenas: boolean,
): number {
  const free = hasArenas ? Infinity : shareOf(policy, freeBytes);
  const usable = Math.min(free, toldBytes(device));
  return Math.min(policy.slotBytes, Math.floor(usable / 2 / policy.slots));
}

/** What an executor takes of so many bytes at most; Infinity where they are unknown. */
function shareOf({ freeShare }: DeviceMemoryPolicy, bytes: number | null): number {
  return bytes === null ? Infinity : Math.floor(bytes * freeShare);
}

/** What the executor of a device was told to take at most. */
function toldBytes({ gpu }: DeviceSnapshot): number {
  return gpu?.memoryBytesMax ?? Infinity;
}

/** A device with an index on it has an executor, which keeps its arenas. */
function holdsArenas({ gpu }: DeviceSnapshot): boolean {
  return (gpu?.resident.length ?? 0) > 0;
}

/** A value takes its own bytes and as many for sums; the variant adds ids and lists. */
function arenaBytesPerRow({ work }: PlanInput, { memory }: VariantSpec): number {
  return 2 * work.bytesPerRow + memory.bytesPerRow;
}

/** Least bytes that an executor must be told it may take for one tile of the work beside the layer's index. */
export function leastToldBytes(
  { slots, slotBytes }: DeviceMemoryPolicy,
  input: PlanInput,
  variant: VariantSpec,
): number {
  const { work } = input;
  const tileBytes = Math.min(work.rows, work.tileRows) * arenaBytesPerRow(input, variant);
  const indexBytes = variant.memory.indexFactor * work.indexBytes;
  return Math.ceil(
    Math.max(2 * slots * tileBytes, indexBytes + Math.min(indexBytes, slots * slotBytes)),
  );
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
