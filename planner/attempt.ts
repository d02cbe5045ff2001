// Owns the order of decisions: availability → pins → runtime (crossover, stickiness) → precision →
// admissible variants → score. It ends with the best variant, or with none; sizing comes after.
import {
  findOperation,
  type OperationSpec,
  type Registry,
  type Runtime,
} from '../registry/index.ts';
import { withoutMetrics } from '../telemetry/index.ts';
import {
  bestOf,
  screenVariants,
  type Admitted,
  type PinsByAspect,
  type Screening,
  type ScreeningRequest,
} from './candidates.ts';
import { mergedScreening, winnerOf, type Winner } from './competition.ts';
import { crossoverUnits } from './crossover.ts';
import { citeOutOfService } from './device-health.ts';
import type { PolicyData } from './policy.ts';
import { reason } from './reasons.ts';
import type { Pin, PinAspect, PlanInput, Reason, RequestedPrecision } from './types.ts';

export interface Attempt {
  /** The input as the policy sees it: a stale snapshot has lost its metrics. */
  readonly input: PlanInput;
  readonly pins: PinsByAspect;
  readonly chosen: Admitted | null;
  readonly screening: Screening;
  readonly reasons: readonly Reason[];
}

const LOSERS_NAMED = 4;

/** Decides everything but the size of the chunk. */
export function attemptPlan(given: PlanInput, policy: PolicyData, registry: Registry): Attempt {
  const operation = findOperation(registry, given.work.operation);
  const reasons: Reason[] = [];
  const input = freshEnough(given, policy, reasons);
  const pins = pinsByAspect(input.pins.winners);
  citeAvailability(input, policy, reasons);
  citePins(input, reasons);
  const choice = chooseRuntime(input, policy, operation, pins, reasons);
  const precision = (pins.precision?.value ?? input.requested.precision) as RequestedPrecision;
  const request = { input, policy, variants: operation.variants, pins, precision };
  const { screening, winner } = decide(request, choice, reasons);
  const { chosen } = winner;
  if (chosen !== null) {
    citePrecision(chosen, reasons);
    if (winner.because === null) citeVariant(chosen, screening, reasons);
    else reasons.push(winner.because);
  }
  return { input, pins, chosen, screening, reasons };
}

interface Decided {
  readonly screening: Screening;
  readonly winner: Winner;
}

function decide(request: Unplaced, choice: RuntimeChoice, reasons: Reason[]): Decided {
  const { placement } = request.policy;
  if (placement === undefined || !choice.open) {
    const screening = screenWithFallbacks(request, choice, reasons);
    return { screening, winner: { chosen: bestOf(screening.admitted), because: null } };
  }
  const said = { cpu: [] as Reason[], gpu: [] as Reason[] };
  const screen = (runtime: Runtime): Screening =>
    screenPrecisions({ ...request, runtime, byTime: true }, said[runtime]);
  const screening = mergedScreening(request, screen('cpu'), screen('gpu'));
  const winner = winnerOf(request.policy, placement, request.input, screening);
  if (winner.chosen !== null) reasons.push(...said[winner.chosen.variant.runtime]);
  return { screening, winner };
}

interface RuntimeChoice {
  readonly runtime: Runtime;
  /** Whether a pin or the pipeline asked for it, so that no other runtime will do. */
  readonly forced: boolean;
  /** Whether the devices compete instead; then `runtime` says nothing. */
  readonly open?: boolean;
}

type Unplaced = Omit<ScreeningRequest, 'runtime' | 'byTime'>;

function freshEnough(input: PlanInput, policy: PolicyData, reasons: Reason[]): PlanInput {
  const limitMs = policy.telemetry.ageMsMax;
  const { ageMs } = input.snapshot;
  if (limitMs === null || ageMs <= limitMs) {
    return input;
  }
  reasons.push(reason('TELEMETRY_STALE', { ageMs, limitMs }));
  return { ...input, snapshot: withoutMetrics(input.snapshot) };
}

function pinsByAspect(winners: readonly Pin[]): PinsByAspect {
  const pins: Partial<Record<PinAspect, Pin>> = {};
  for (const pin of winners) {
    pins[pin.aspect] ??= pin;
  }
  return pins;
}

function citeAvailability(input: PlanInput, policy: PolicyData, reasons: Reason[]): void {
  const { backend, reason: why } = input.snapshot;
  if (backend === 'unavailable') {
    reasons.push(reason('TELEMETRY_UNAVAILABLE', { why: why ?? 'no reason given' }));
  }
  if (!hasGpu(input)) {
    reasons.push(reason('NO_GPU'));
  }
  if (policy.placement !== undefined) {
    reasons.push(...citeOutOfService(input.snapshot));
  }
}

function citePins({ pins }: PlanInput, reasons: Reason[]): void {
  for (const { id, aspect, value } of pins.winners) {
    reasons.push(reason('PIN_APPLIED', { pin: id, aspect, value }));
  }
  if (pins.losers.length > 0) {
    const named = pins.losers.slice(0, LOSERS_NAMED).join(', ');
    reasons.push(reason('PIN_OVERRIDDEN', { count: pins.losers.length, pins: named }));
  }
}

function hasGpu({ snapshot }: PlanInput): boolean {
  return snapshot.devices.some((device) => device.kind === 'gpu' && device.quarantine === null);
}

function chooseRuntime(
  input: PlanInput,
  policy: PolicyData,
  operation: OperationSpec,
  pins: PinsByAspect,
  reasons: Reason[],
): RuntimeChoice {
  const pinned = pinnedRuntime(input, operation, pins);
  if (pinned !== null) {
    return { runtime: pinned, forced: true };
  }
  const { mode } = input.requested;
  if (mode !== 'auto') {
    reasons.push(reason('MODE_REQUESTED', { mode }));
    return { runtime: mode, forced: true };
  }
  if (!hasGpu(input)) {
    return { runtime: 'cpu', forced: false };
  }
  const { work } = input;
  const units = work.workUnits ?? work.rows;
  const unit = work.workUnits === null ? 'rows' : 'work units';
  const threshold = crossoverUnits(policy.crossover, operation, work.shape);
  if (units >= threshold && policy.placement !== undefined) {
    reasons.push(reason('CROSSOVER_OPEN', { units, unit, threshold }));
    return { runtime: 'gpu', forced: false, open: true };
  }
  if (units >= threshold) {
    reasons.push(reason('CROSSOVER_REACHED', { units, unit, threshold }));
    return { runtime: 'gpu', forced: false };
  }
  if (work.residency === 'device') {
    reasons.push(reason('DEVICE_RESIDENT'));
    return { runtime: 'gpu', forced: false };
  }
  reasons.push(reason('CROSSOVER_BELOW', { units, unit, threshold }));
  return { runtime: 'cpu', forced: false };
}

/** The runtime that pins imply; pins that contradict each other leave no candidate later. */
function pinnedRuntime(
  { snapshot }: PlanInput,
  operation: OperationSpec,
  pins: PinsByAspect,
): Runtime | null {
  if (pins.runtime !== undefined) {
    return pins.runtime.value as Runtime;
  }
  const variant = operation.variants.find((candidate) => candidate.id === pins.variant?.value);
  const device = snapshot.devices.find((candidate) => candidate.deviceId === pins.device?.value);
  return variant?.runtime ?? device?.kind ?? null;
}

/**
 * Screens for the chosen runtime. Where nothing is admissible, an automatic precision becomes fp64,
 * then an automatic runtime the other one. Each step is in the plan: nothing falls back later.
 */
function screenWithFallbacks(
  request: Unplaced,
  choice: RuntimeChoice,
  reasons: Reason[],
): Screening {
  const screen = (runtime: Runtime): Screening =>
    screenPrecisions({ ...request, runtime, byTime: runtime === 'gpu' }, reasons);
  const first = screen(choice.runtime);
  if (first.admitted.length > 0 || choice.forced) {
    return first;
  }
  const from = choice.runtime;
  const to = from === 'cpu' ? 'gpu' : 'cpu';
  const second = screen(to);
  if (second.admitted.length === 0) {
    return first;
  }
  reasons.push(reason('RUNTIME_SWITCHED', { from, to }));
  return second;
}

function screenPrecisions(request: ScreeningRequest, reasons: Reason[]): Screening {
  const screening = screenVariants(request);
  const missing = screening.candidates.some((each) => each.reject === 'PRECISION_UNSUPPORTED');
  if (screening.admitted.length > 0 || request.precision !== 'auto' || !missing) {
    return screening;
  }
  const inFp64 = screenVariants({ ...request, precision: 'fp64' });
  if (inFp64.admitted.length === 0) {
    return screening;
  }
  reasons.push(reason('PRECISION_NO_VARIANT', { wanted: 'fp32' }));
  return inFp64;
}

function citePrecision(chosen: Admitted, reasons: Reason[]): void {
  if (reasons.some((given) => given.code === 'PRECISION_NO_VARIANT')) {
    return;
  }
  const { plan, reason: code, fp64Ratio } = chosen.precision;
  switch (code) {
    case 'PRECISION_CPU':
      reasons.push(reason(code));
      break;
    case 'PRECISION_REQUESTED':
      reasons.push(reason(code, { precision: plan.compute }));
      break;
    case 'PRECISION_NATIVE_FP64':
    case 'PRECISION_SLOW_FP64':
      reasons.push(reason(code, { precision: plan.compute, ratio: fp64Ratio }));
      break;
  }
}

function citeVariant(chosen: Admitted, { admitted }: Screening, reasons: Reason[]): void {
  const variant = chosen.variant.id;
  const next = bestOf(admitted.filter((candidate) => candidate !== chosen));
  if (next === null) {
    reasons.push(reason('VARIANT_ONLY', { variant }));
    return;
  }
  const score = chosen.score.total;
  if (next.score.total === score) {
    reasons.push(reason('VARIANT_TIE', { variant, next: next.variant.id, score }));
    return;
  }
  const params = { variant, score, next: next.variant.id, nextScore: next.score.total };
  reasons.push(reason('VARIANT_BEST', params));
}
