// Owns how many tiles one chunk takes.
//
// I1. 1 ≤ tiles ≤ reservedTiles, and never past the border of a tile-scoped pin.
// I2. Hard caps (memory, the cap after an out-of-memory failure, the variant's own maximum) count
//     full tiles; only the rule that a tile is never split goes before them.
// I3. `rowsHint` is what the policy would take of a larger reservation: lanes size the next one by it.
import { deviceMemoryUsedPct, hostMemoryUsedPct, isUnderutilized } from '../telemetry/index.ts';
import type { Admitted } from './candidates.ts';
import { probeRowsOf } from './finishing.ts';
import { rowsWithin } from './memory.ts';
import type { PolicyData, RowHintChunking, TimeAndBytesChunking } from './policy.ts';
import { reason } from './reasons.ts';
import type { Pin, PlanInput, Reason } from './types.ts';

export interface ChunkSize {
  readonly tiles: number;
  readonly rowsHint: number;
  readonly reasons: readonly Reason[];
}

/** A row count on its way down: each limit that binds leaves a reason. */
interface Wanted {
  readonly rows: number;
  readonly reasons: readonly Reason[];
}

/** Sizes the chunk of the chosen variant; a pinned size goes before every wish of the policy. */
export function sizeChunk(
  policy: PolicyData,
  input: PlanInput,
  chosen: Admitted,
  pin: Pin | undefined,
): ChunkSize {
  const { work, where } = input;
  if (pin !== undefined) {
    const rows = Number(pin.value);
    const reasons = [reason('CHUNK_PINNED', { rows })];
    return withinRange(input, Math.floor(rows / work.tileRows), rows, reasons);
  }
  if (work.rows === 0) {
    return withinRange(input, where.reservedTiles, 0, [reason('CHUNK_EMPTY')]);
  }
  const { chunking } = policy;
  const wanted =
    chunking.kind === 'row-hints'
      ? byRowHints(policy, chunking, input, chosen)
      : byTimeAndBytes(policy, chunking, input, chosen);
  const cap = hardCapRows(input, chosen);
  const rowsHint = Math.min(wanted.rows, cap.rows);
  const probe = probeRows(policy, chosen);
  const meanTileRows = Math.max(1, Math.ceil(work.rows / where.reservedTiles));
  const tilesWanted = Math.floor(Math.min(rowsHint, probe) / meanTileRows);
  const tilesCap = Math.floor(cap.rows / work.tileRows);
  const reasons = [...wanted.reasons];
  if (probe < rowsHint) {
    reasons.push(reason('CHUNK_PROBE', { rows: probe }));
  }
  if (cap.rows < wanted.rows || tilesCap < tilesWanted) {
    reasons.push(capReason(cap, chosen));
  }
  return withinRange(input, Math.min(tilesWanted, tilesCap), rowsHint, reasons);
}

export interface HardCap {
  readonly rows: number;
  readonly why: 'memory' | 'out-of-memory' | 'variant';
}

/** Most rows that a chunk may have on the chosen device, and what says so; Infinity: no cap. */
export function hardCapRows(input: PlanInput, chosen: Admitted): HardCap {
  const memory = rowsWithin(chosen.memory);
  const afterOom = input.limits.chunkRowsMax ?? Infinity;
  const variant = chosen.variant.maxRows ?? Infinity;
  const rows = Math.min(memory, afterOom, variant);
  return {
    rows,
    why: rows === memory ? 'memory' : rows === afterOom ? 'out-of-memory' : 'variant',
  };
}

function byRowHints(
  policy: PolicyData,
  chunking: RowHintChunking,
  input: PlanInput,
  chosen: Admitted,
): Wanted {
  const rowsLeft = Math.max(input.work.remainingRows, input.work.rows);
  const gpu =
    chosen.device.kind === 'gpu'
      ? chosen.device
      : input.snapshot.devices.find((each) => each.kind === 'gpu' && each.quarantine === null);
  if (gpu === undefined) {
    return { rows: rowsLeft, reasons: [reason('CHUNK_ALL_ROWS')] };
  }
  const hint = (
    rows: number,
    code: 'CHUNK_HINT_PRESSURE' | 'CHUNK_HINT_IDLE' | 'CHUNK_HINT_DEFAULT',
    usedPct: number | null,
  ): Wanted => ({
    rows: Math.min(rows, rowsLeft),
    reasons: [reason(code, usedPct === null ? { rows } : { rows, usedPct: Math.round(usedPct) })],
  });
  const memoryPct = deviceMemoryUsedPct(gpu);
  if (memoryPct !== null && memoryPct >= policy.telemetry.memoryPressureFromPct) {
    return hint(chunking.pressureRows, 'CHUNK_HINT_PRESSURE', memoryPct);
  }
  const idle = isUnderutilized(gpu, policy.telemetry.underutilizedBelowPct);
  if (idle && rowsLeft > chunking.defaultRows) {
    return hint(chunking.underutilizedRows, 'CHUNK_HINT_IDLE', gpu.utilizationPct);
  }
  return hint(chunking.defaultRows, 'CHUNK_HINT_DEFAULT', null);
}

function byTimeAndBytes(
  policy: PolicyData,
  chunking: TimeAndBytesChunking,
  input: PlanInput,
  chosen: Admitted,
): Wanted {
  const { work, limits, snapshot } = input;
  const seconds = limits.chunkSecondsTarget;
  const fullRows = Math.max(1, Math.floor(chosen.rate.rowsPerSecond * seconds));
  let wanted: Wanted = {
    rows: fullRows,
    reasons: [chosen.rate.because, reason('CHUNK_BY_TIME', { rows: fullRows, seconds })],
  };
  const grown = growthRows(policy, chosen);
  if (grown < wanted.rows) {
    const { growthFactor: factor = 0 } = policy.placement ?? {};
    const reasons = [...wanted.reasons, reason('CHUNK_BY_EVIDENCE', { rows: grown, factor })];
    wanted = { rows: grown, reasons };
  }
  const hostPct = hostMemoryUsedPct(snapshot);
  const devicePct = isOnGpu(chosen) ? deviceMemoryUsedPct(chosen.device) : null;
  const mostPct = Math.max(hostPct ?? 0, devicePct ?? 0);
  const usedPct = Math.round(mostPct);
  // Policies without placement compare what is shown.
  const comparedPct = policy.placement === undefined ? usedPct : mostPct;
  if (comparedPct >= policy.telemetry.memoryPressureFromPct) {
    const factor = chunking.pressureFactor;
    wanted = {
      rows: Math.max(1, Math.floor(wanted.rows * factor)),
      reasons: [...wanted.reasons, reason('CHUNK_MEMORY_PRESSURE', { usedPct, factor })],
    };
  }
  const remaining = Math.max(work.remainingRows, work.rows);
  const taper = Math.ceil(
    Math.max(remaining / chunking.taperDivisor, wanted.rows * chunking.taperFloor),
  );
  if (taper >= wanted.rows) {
    return wanted;
  }
  const tapered = reason('CHUNK_TAPERED', { rows: taper, remaining });
  return { rows: taper, reasons: [...wanted.reasons, tapered] };
}

function probeRows(policy: PolicyData, chosen: Admitted): number {
  if (chosen.rate.source === 'history' && chosen.probing !== true) {
    return Infinity;
  }
  return probeRowsOf(policy, chosen);
}

/** On a GPU the chunk grows with what was measured there, so that a wrong expectation costs little. */
function growthRows({ placement }: PolicyData, { rate, device }: Admitted): number {
  if (placement === undefined || device.kind !== 'gpu') {
    return Infinity;
  }
  return placement.growthFactor * Math.max(placement.probeRows, rate.rowsSeen ?? 0);
}

function isOnGpu({ device }: Admitted): boolean {
  return device.kind === 'gpu';
}

function capReason(cap: HardCap, chosen: Admitted): Reason {
  const { rows } = cap;
  switch (cap.why) {
    case 'memory':
      return reason('CHUNK_BY_MEMORY', { rows, bytes: chosen.memory.budgetBytes });
    case 'out-of-memory':
      return reason('CHUNK_AFTER_OOM', { rows });
    case 'variant':
      return reason('CHUNK_BY_VARIANT', { rows });
  }
}

/** Applies what no policy and no pin may break: whole tiles, pin borders, the reservation. */
function withinRange(
  input: PlanInput,
  tilesWanted: number,
  rowsHint: number,
  because: readonly Reason[],
): ChunkSize {
  const { reservedTiles } = input.where;
  const border = input.pins.tilesUntilChange ?? Infinity;
  const reasons = [...because];
  let tiles = tilesWanted;
  if (tiles < 1) {
    reasons.push(reason('CHUNK_ONE_TILE'));
    tiles = 1;
  }
  if (tiles > border) {
    reasons.push(reason('CHUNK_PIN_BORDER', { tiles: border }));
    tiles = border;
  }
  if (tiles > reservedTiles) {
    reasons.push(reason('CHUNK_RESERVATION', { tiles: reservedTiles }));
    tiles = reservedTiles;
  }
  return { tiles, rowsHint, reasons };
}
