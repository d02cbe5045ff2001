// Owns which variants may run: hard filters first, then a score for what is left. Every variant of
// the operation gets exactly one candidate: its best device, or the reason why it has none.
import type { Runtime, VariantSpec } from '../registry/index.ts';
import type { DeviceSnapshot } from '../telemetry/index.ts';
import { healthReject, outOfService } from './device-health.ts';
import { deviceRate, placementOf, type Placement } from './finishing.ts';
import { memoryModel, roomReject, rowsWithin, type MemoryModel } from './memory.ts';
import type { PolicyData } from './policy.ts';
import { choosePrecision, type PrecisionChoice } from './precision.ts';
import { expectedRate, predictedSeconds, type ExpectedRate } from './rates.ts';
import type { RejectCode } from './reasons.ts';
import { scorePlacement, scoreVariant, type Score } from './scoring.ts';
import type { Candidate, Pin, PinAspect, PlanInput, RequestedPrecision } from './types.ts';

export type PinsByAspect = Readonly<Partial<Record<PinAspect, Pin>>>;

export interface Admitted {
  readonly variant: VariantSpec;
  readonly device: DeviceSnapshot;
  readonly precision: PrecisionChoice;
  readonly rate: ExpectedRate;
  readonly memory: MemoryModel;
  readonly score: Score;
  /** Absent under policies that do not compare devices. */
  readonly placed?: Placement;
  /** Whether it runs only to be measured; the chunk is a probe then. */
  readonly probing?: true;
}

export interface Screening {
  /** In order of registration. */
  readonly candidates: readonly Candidate[];
  readonly admitted: readonly Admitted[];
}

export interface ScreeningRequest {
  readonly input: PlanInput;
  readonly policy: PolicyData;
  readonly variants: readonly VariantSpec[];
  readonly pins: PinsByAspect;
  readonly runtime: Runtime;
  readonly precision: RequestedPrecision;
  /** Whether finishing times are the score: a GPU is among the choices. */
  readonly byTime: boolean;
}

/** Looks at every variant of the operation and keeps those that may run on a device of the host. */
export function screenVariants(request: ScreeningRequest): Screening {
  const candidates: Candidate[] = [];
  const admitted: Admitted[] = [];
  for (const variant of request.variants) {
    const found = screenVariant(request, variant);
    if ('reject' in found) {
      candidates.push({
        variant: variant.id,
        deviceId: found.deviceId,
        score: null,
        reject: found.reject,
      });
    } else {
      admitted.push(found);
      const { total: score, terms } = found.score;
      candidates.push({ variant: variant.id, deviceId: found.device.deviceId, score, terms });
    }
  }
  return { candidates, admitted };
}

/** The admitted variant with the highest score; the first registered among equals. */
export function bestOf(admitted: readonly Admitted[]): Admitted | null {
  let best: Admitted | null = null;
  for (const candidate of admitted) {
    if (best === null || candidate.score.total > best.score.total) {
      best = candidate;
    }
  }
  return best;
}

interface Rejected {
  readonly deviceId: string | null;
  readonly reject: RejectCode;
}

function screenVariant(request: ScreeningRequest, variant: VariantSpec): Admitted | Rejected {
  let best: Admitted | null = null;
  let rejected: Rejected = { deviceId: null, reject: 'NO_DEVICE' };
  for (const device of request.input.snapshot.devices) {
    if (device.kind === variant.runtime) {
      const found = screenOnDevice(request, variant, device);
      if ('reject' in found) {
        rejected = found;
      } else if (best === null || isBetterDevice(found, best)) {
        best = found;
      }
    }
  }
  return best ?? rejected;
}

function isBetterDevice(a: Admitted, b: Admitted): boolean {
  const busy = (admitted: Admitted): number => admitted.device.slotsBusy ?? Infinity;
  return a.score.total > b.score.total || (a.score.total === b.score.total && busy(a) < busy(b));
}

function screenOnDevice(
  request: ScreeningRequest,
  variant: VariantSpec,
  device: DeviceSnapshot,
): Admitted | Rejected {
  const { input, policy } = request;
  const { deviceId } = device;
  const early = placeReject(request, variant, device) ?? factReject(request, variant);
  if (early !== null) {
    return { deviceId, reject: early };
  }
  const precision = choosePrecision(policy.precision, {
    requested: request.precision,
    kernelClass: input.work.kernelClass,
    runtime: variant.runtime,
    fp64Ratio: device.fp64Ratio,
    maxAbsCoordinate: input.work.maxAbsCoordinate,
    coordinateSpan: input.work.coordinateSpan,
  });
  if (!variant.precisionModes.includes(precision.plan.compute)) {
    return { deviceId, reject: 'PRECISION_UNSUPPORTED' };
  }
  const memory = memoryModel(policy.memory, input, variant, device);
  const size =
    sizeReject(input, variant, memory) ?? roomReject(policy.memory, input, variant, device);
  if (size !== null) {
    return { deviceId, reject: size };
  }
  return judged(request, { variant, device, precision, memory });
}

/** Adds expected rate and score: by finishing time where devices are compared. */
function judged(
  { input, policy, variants, byTime }: ScreeningRequest,
  { variant, device, precision, memory }: Omit<Admitted, 'rate' | 'score'>,
): Admitted {
  const { placement, scoring } = policy;
  const rate = expectedRate(input, variant, device, variants);
  if (placement === undefined || !byTime) {
    const rows = Math.max(1, input.work.rows);
    const speed = rows / predictedSeconds(rate, rows);
    const score = scoreVariant(scoring, input, variant, speed);
    return { variant, device, precision, memory, rate, score };
  }
  const placed = placementOf(policy, placement, input, variant, device, rate);
  const { previous } = input;
  const ranBefore = previous?.variant === variant.id && previous.deviceId === device.deviceId;
  const score = scorePlacement(scoring, input, placed, ranBefore ? placement.stickiness : null);
  const shown = device.kind === 'gpu' ? deviceRate(placed, rate) : rate;
  return { variant, device, precision, memory, rate: shown, score, placed };
}

/** Where the variant would run: device state, pins, requested mode, chosen runtime, exclusions. */
function placeReject(
  { input, policy, pins, runtime }: ScreeningRequest,
  variant: VariantSpec,
  device: DeviceSnapshot,
): RejectCode | null {
  if (device.quarantine !== null) {
    const isOld = policy.placement === undefined || device.kind === 'cpu';
    return isOld ? 'DEVICE_QUARANTINED' : outOfService(device.quarantine);
  }
  if (pins.variant !== undefined && pins.variant.value !== variant.id) {
    return 'PIN_OTHER_VARIANT';
  }
  if (pins.runtime !== undefined && pins.runtime.value !== variant.runtime) {
    return 'PIN_OTHER_RUNTIME';
  }
  if (pins.device !== undefined && pins.device.value !== device.deviceId) {
    return 'PIN_OTHER_DEVICE';
  }
  if (variant.runtime !== runtime) {
    const { mode } = input.requested;
    return mode === 'auto' || mode === variant.runtime
      ? 'RUNTIME_NOT_CHOSEN'
      : 'MODE_OTHER_RUNTIME';
  }
  const excluded = input.excluded.some(
    (exclusion) =>
      exclusion.variant === variant.id &&
      exclusion.deviceId === device.deviceId &&
      exclusion.host === input.snapshot.host,
  );
  if (excluded) {
    return 'EXCLUDED_AFTER_FAILURE';
  }
  return policy.placement === undefined ? null : healthReject(device);
}

/** What the variant can do at all. */
function factReject({ input, pins }: ScreeningRequest, variant: VariantSpec): RejectCode | null {
  const { work, snapshot } = input;
  if (variant.numericClass !== 'exact' && pins.variant === undefined) {
    return 'NUMERIC_CLASS_NOT_EXACT';
  }
  if (!variant.boundaries.includes(work.boundary)) {
    return 'BOUNDARY_UNSUPPORTED';
  }
  if (!variant.overlaps.includes(work.overlap)) {
    return 'OVERLAP_UNSUPPORTED';
  }
  const families = variant.geometryFamilies;
  if (families.length > 0 && !work.families.every((family) => families.includes(family))) {
    return 'FAMILY_UNSUPPORTED';
  }
  if (work.mixed && !variant.supportsMixed) {
    return 'MIXED_UNSUPPORTED';
  }
  return variant.isa.every((flag) => snapshot.isa.includes(flag)) ? null : 'ISA_MISSING';
}

/** Whether the least chunk, one tile, is of a size the variant and the memory take. */
function sizeReject(
  { work }: PlanInput,
  variant: VariantSpec,
  memory: MemoryModel,
): RejectCode | null {
  const leastRows = Math.min(work.rows, work.tileRows);
  if (variant.minRows !== null && work.rows < variant.minRows) {
    return 'ROWS_BELOW_MIN';
  }
  if (variant.maxRows !== null && leastRows > variant.maxRows) {
    return 'ROWS_ABOVE_MAX';
  }
  return rowsWithin(memory) < leastRows ? 'MEMORY_EXCEEDED' : null;
}
