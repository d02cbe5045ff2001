// Owns refusals: why there is no plan here, whose wish stands in the way, and what would release it.
//
// The culprits are found by asking again: a pin (or request) without which a plan exists is one.
import { findOperation, nearestName, type Registry, type VariantSpec } from '../registry/index.ts';
import { attemptPlan, type Attempt } from './attempt.ts';
import { hardCapRows } from './chunk-sizing.ts';
import { leastBudget, leastToldBytes, memoryModel, neededBytes } from './memory.ts';
import type { PolicyData } from './policy.ts';
import { reason, type ReasonCode, type RejectCode } from './reasons.ts';
import type {
  Pin,
  PlanInput,
  PlanRefusal,
  Reason,
  Requested,
  RequestedPrecision,
} from './types.ts';

/** Rejects that no other host, device or memory would lift. */
const STATIC_REJECTS: ReadonlySet<string> = new Set<RejectCode>([
  'NUMERIC_CLASS_NOT_EXACT',
  'BOUNDARY_UNSUPPORTED',
  'OVERLAP_UNSUPPORTED',
  'FAMILY_UNSUPPORTED',
  'MIXED_UNSUPPORTED',
  'PRECISION_UNSUPPORTED',
  'ROWS_BELOW_MIN',
  'ROWS_ABOVE_MAX',
]);

/** Rejects that lift by themselves. */
const PASSING_REJECTS: ReadonlySet<string> = new Set<RejectCode>([
  'DEVICE_THROTTLED',
  'DEVICE_MEMORY_EXHAUSTED',
]);

export interface RefusalContext {
  readonly policy: PolicyData;
  readonly registry: Registry;
  readonly attempt: Attempt;
}

/** Refuses where a pin on the host names another one; null when there is no such pin. */
export function refuseForeignHost(input: PlanInput): PlanRefusal | null {
  const pin = input.pins.winners.find((candidate) => candidate.aspect === 'host');
  if (pin === undefined || pin.value === input.snapshot.host) {
    return null;
  }
  const reasons = [
    reason('PIN_HOST_ELSEWHERE', { pin: pin.id, value: pin.value, host: input.snapshot.host }),
    reason('RELEASE_BY_HOST', { host: String(pin.value) }),
    reason('RELEASE_BY_CLEARING_PIN', { pin: pin.id }),
  ];
  return refusal('PIN_HOST_ELSEWHERE', pin.ifImpossible, reasons, null);
}

/** Refuses a pinned chunk size that the chosen variant cannot take; null when it can. */
export function refuseLargeChunk({ attempt }: RefusalContext): PlanRefusal | null {
  const { input, chosen } = attempt;
  const pin = attempt.pins.chunkRows;
  if (pin === undefined || chosen === null) {
    return null;
  }
  const { work, where } = input;
  const cap = hardCapRows(input, chosen);
  const tiles = Math.max(1, Math.floor(Number(pin.value) / work.tileRows));
  const rows = Math.min(tiles * work.tileRows, where.reservedTiles * work.tileRows);
  // A single tile is never too large here: whatever has no room for it was rejected before.
  if (tiles === 1 || rows <= cap.rows) {
    return null;
  }
  const params = { pin: pin.id, rows: Number(pin.value), rowsMax: cap.rows, why: cap.why };
  const reasons = [
    ...attempt.reasons,
    reason('PIN_CHUNK_TOO_LARGE', params),
    reason('RELEASE_BY_CLEARING_PIN', { pin: pin.id }),
  ];
  if (cap.why === 'memory') {
    reasons.push(reason('RELEASE_BY_MEMORY', { bytes: neededBytes(chosen.memory, rows) }));
  }
  return refusal('PIN_CHUNK_TOO_LARGE', pin.ifImpossible, reasons, attempt);
}

/** Refuses where no variant is admissible. */
export function refuse(context: RefusalContext): PlanRefusal {
  return refusePins(context) ?? refuseRequest(context) ?? refuseAll(context);
}

function refusePins(context: RefusalContext): PlanRefusal | null {
  const { attempt, policy, registry } = context;
  const { input } = attempt;
  const { winners } = input.pins;
  const plansWith = (kept: readonly Pin[]): boolean =>
    attemptPlan({ ...input, pins: { ...input.pins, winners: kept } }, policy, registry).chosen !==
    null;
  let culprits = winners.filter((pin) => plansWith(winners.filter((other) => other !== pin)));
  if (culprits.length === 0 && plansWith([])) {
    culprits = winners.filter((pin) => pin.aspect !== 'host' && pin.aspect !== 'chunkRows');
  }
  if (culprits.length === 0) {
    return null;
  }
  const reasons = [...attempt.reasons];
  for (const pin of culprits) {
    reasons.push(unknownVariant(context, pin) ?? impossible(pin));
  }
  reasons.push(...missingGpu(context));
  reasons.push(...releases(context, true));
  reasons.push(...culprits.map((pin) => reason('RELEASE_BY_CLEARING_PIN', { pin: pin.id })));
  const onRefusal = culprits.some((pin) => pin.ifImpossible === 'fail') ? 'fail' : 'hold';
  return refusal('PIN_IMPOSSIBLE', onRefusal, reasons, attempt);
}

function impossible({ id, aspect, value }: Pin): Reason {
  return reason('PIN_IMPOSSIBLE', { pin: id, aspect, value });
}

function unknownVariant({ attempt, registry }: RefusalContext, pin: Pin): Reason | null {
  const { variants } = findOperation(registry, attempt.input.work.operation);
  const ids = variants.map((variant) => variant.id);
  const value = String(pin.value);
  if (pin.aspect !== 'variant' || ids.includes(value)) {
    return null;
  }
  const nearest = nearestName(value, ids) ?? ids.find((id) => id.includes(value)) ?? 'none';
  return reason('PIN_VARIANT_UNKNOWN', { pin: pin.id, value, nearest });
}

function refuseRequest(context: RefusalContext): PlanRefusal | null {
  const { attempt, policy, registry } = context;
  const { input } = attempt;
  const { mode, precision } = input.requested;
  const relaxations = [
    { aspects: ['mode'], requested: { mode: 'auto', precision } },
    { aspects: ['precision'], requested: { mode, precision: 'auto' } },
    { aspects: ['mode', 'precision'], requested: { mode: 'auto', precision: 'auto' } },
  ] as const;
  for (const { aspects, requested } of relaxations) {
    const asked = aspects.every((aspect) => input.requested[aspect] !== 'auto');
    if (asked && attemptPlan({ ...input, requested }, policy, registry).chosen !== null) {
      const reasons = [...attempt.reasons];
      for (const aspect of aspects) {
        reasons.push(reason('REQUEST_IMPOSSIBLE', { aspect, value: input.requested[aspect] }));
      }
      reasons.push(...missingGpu(context));
      reasons.push(...releases(context, true));
      reasons.push(...aspects.map((aspect) => reason('RELEASE_BY_REQUEST', { aspect })));
      const wished = input.requested.ifImpossible ?? policy.onRequestImpossible;
      return refusal('REQUEST_IMPOSSIBLE', isPassing(context) ? 'hold' : wished, reasons, attempt);
    }
  }
  return null;
}

function refuseAll(context: RefusalContext): PlanRefusal {
  const { attempt, policy } = context;
  const { pins, work, requested } = attempt.input;
  const reasons = [
    ...attempt.reasons,
    reason('NO_ADMISSIBLE_VARIANT', { operation: work.operation }),
    ...releases(context, false),
    // Not enough by themselves, but they hide what a host without them could do.
    ...pins.winners.map((pin) => reason('RELEASE_BY_CLEARING_PIN', { pin: pin.id })),
    ...(policy.placement === undefined ? [] : askedFor(requested)),
  ];
  const hopeless = attempt.screening.candidates.every((candidate) =>
    STATIC_REJECTS.has(candidate.reject ?? ''),
  );
  return refusal('NO_ADMISSIBLE_VARIANT', hopeless ? 'fail' : 'hold', reasons, attempt);
}

function askedFor(requested: Requested): readonly Reason[] {
  const aspects = (['mode', 'precision'] as const).filter((aspect) => requested[aspect] !== 'auto');
  return aspects.map((aspect) => reason('RELEASE_BY_REQUEST', { aspect }));
}

/** Whether a variant has the precision asked for, so that a device for it would help. */
function canCompute({ attempt, policy }: RefusalContext, { precisionModes }: VariantSpec): boolean {
  const { input, pins } = attempt;
  const wanted = (pins.precision?.value ?? input.requested.precision) as RequestedPrecision;
  return policy.placement === undefined || wanted === 'auto' || precisionModes.includes(wanted);
}

/** Says why there is no GPU at all where one would help; devices out of service say it themselves. */
function missingGpu(context: RefusalContext): readonly Reason[] {
  const { attempt, policy, registry } = context;
  const { snapshot } = attempt.input;
  const { variants } = findOperation(registry, attempt.input.work.operation);
  const lacked = attempt.screening.candidates.some(({ variant: id, reject }) => {
    const variant = variants.find((candidate) => candidate.id === id);
    return reject === 'NO_DEVICE' && variant !== undefined && canCompute(context, variant);
  });
  const hasAny = snapshot.devices.some(({ kind }) => kind === 'gpu');
  if (policy.placement === undefined || !lacked || hasAny) {
    return [];
  }
  return [reason('GPU_MISSING', { why: snapshot.reason ?? 'the driver lists none' })];
}

/** Whether waiting may be enough: a device is there, and only its state of the moment is in the way. */
function isPassing({ attempt }: RefusalContext): boolean {
  return attempt.screening.candidates.some(({ reject }) => PASSING_REJECTS.has(reject ?? ''));
}

/** What would make a rejected candidate admissible, each remedy once. */
function releases(context: RefusalContext, transient: boolean): readonly Reason[] {
  const { input, screening } = context.attempt;
  const { variants } = findOperation(context.registry, input.work.operation);
  const found = new Map<string, Reason>();
  for (const { variant: id, deviceId, reject } of screening.candidates) {
    const variant = variants.find((candidate) => candidate.id === id);
    const wanted = context.attempt.pins.variant?.value ?? id;
    const isWanted = wanted === id && (variant === undefined || canCompute(context, variant));
    if (variant !== undefined && reject !== undefined && isWanted) {
      const place = { variant, deviceId };
      const release = releaseOf(context, reject as RejectCode, place, transient);
      if (release !== null) {
        found.set(JSON.stringify(release), release);
      }
    }
  }
  return [...found.values()];
}

function releaseOf(
  context: RefusalContext,
  reject: RejectCode,
  place: { readonly variant: VariantSpec; readonly deviceId: string | null },
  transientOnly: boolean,
): Reason | null {
  switch (reject) {
    case 'DEVICE_THROTTLED':
    case 'DEVICE_MEMORY_EXHAUSTED':
      return reason('RELEASE_BY_RECOVERY', { device: place.deviceId, why: reject });
    case 'NO_DEVICE':
    case 'DEVICE_QUARANTINED':
    case 'NO_IMAGE_FOR_DEVICE':
    case 'DRIVER_UNUSABLE':
    case 'DEVICE_ECC_ERRORS':
      return reason('RELEASE_BY_DEVICE', { kind: place.variant.runtime });
    case 'EXCLUDED_AFTER_FAILURE':
    case 'ISA_MISSING':
      return reason('RELEASE_BY_OTHER_HOST', { why: reject });
    case 'MEMORY_EXCEEDED':
      return toldRelease(context, place) ?? memoryRelease(context);
    default:
      return transientOnly || !STATIC_REJECTS.has(reject)
        ? null
        : reason('RELEASE_BY_VARIANT', { why: reject });
  }
}

/** More memory for the executor of a GPU, where what it was told to take is what lacks. */
function toldRelease(
  { attempt, policy }: RefusalContext,
  { variant, deviceId }: { readonly variant: VariantSpec; readonly deviceId: string | null },
): Reason | null {
  const { input } = attempt;
  const device = input.snapshot.devices.find((candidate) => candidate.deviceId === deviceId);
  const told = device?.gpu?.memoryBytesMax;
  if (told === undefined || policy.memory.device === undefined) {
    return null;
  }
  const bytes = leastToldBytes(policy.memory.device, input, variant);
  return bytes > told ? reason('RELEASE_BY_GPU_MEMORY', { device: deviceId, bytes }) : null;
}

/** More memory for the run, or another host where a device itself is too small. */
function memoryRelease(context: RefusalContext): Reason {
  const bytes = leastBytes(context);
  const { memoryBytesMax } = context.attempt.input.limits;
  return context.policy.placement !== undefined && bytes <= memoryBytesMax
    ? reason('RELEASE_BY_OTHER_HOST', { why: 'MEMORY_EXCEEDED' })
    : reason('RELEASE_BY_MEMORY', { bytes });
}

/** Least memory with which one of the variants that lack it could run one tile. */
function leastBytes({ attempt, policy, registry }: RefusalContext): number {
  const { input, screening } = attempt;
  const rows = Math.min(input.work.rows, input.work.tileRows);
  let least = Infinity;
  for (const { variant: id, deviceId, reject } of screening.candidates) {
    const { variants } = findOperation(registry, input.work.operation);
    const variant = variants.find((candidate) => candidate.id === id);
    const device = input.snapshot.devices.find((candidate) => candidate.deviceId === deviceId);
    if (reject === 'MEMORY_EXCEEDED' && variant !== undefined && device !== undefined) {
      const model = memoryModel(policy.memory, input, variant, device);
      least = Math.min(least, leastBudget(model, rows));
    }
  }
  return least;
}

function refusal(
  code: ReasonCode,
  onRefusal: 'hold' | 'fail',
  reasons: readonly Reason[],
  attempt: Attempt | null,
): PlanRefusal {
  return {
    schema: 'tileloom.plan-refusal/1',
    code,
    onRefusal,
    reasons,
    candidates: attempt === null ? [] : attempt.screening.candidates,
  };
}
