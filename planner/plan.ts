// Owns the planner's one public function: PlanInput → Plan, or a refusal with its reasons.
//
// I1. Pure: no clock, randomness, input, output or environment; equal inputs give equal bytes.
// I2. A pin is honoured or the plan is refused; nothing outranks a pin.
// I3. 1 ≤ chunkTiles ≤ reservedTiles.
// I4. The whole decision stays below 1.5 KiB: what a long list of variants adds is cut and counted.
import { canonicalJson, sha256Hex } from '../core/index.ts';
import type { Registry } from '../registry/index.ts';
import { attemptPlan, type Attempt } from './attempt.ts';
import type { Admitted } from './candidates.ts';
import { sizeChunk } from './chunk-sizing.ts';
import { PlannerError, type PlannerErrorCode } from './errors.ts';
import { peakBytes } from './memory.ts';
import type { Policy } from './policy.ts';
import { predictedSeconds } from './rates.ts';
import { reason } from './reasons.ts';
import { refuse, refuseForeignHost, refuseLargeChunk } from './refusal.ts';
import type { Candidate, Plan, PlanDecision, PlanInput, PlanRefusal, Reason } from './types.ts';

/** Most candidates in a plan; the best come first to stay, then rejected ones in registry order. */
const CANDIDATES_MAX = 8;
/** Candidates that stay even in a decision that is too long. */
const CANDIDATES_MIN = 3;
/** Candidates that show their score terms. */
const TERMS_MAX = 2;
/** With a snapshot of three devices the plan activity's answer stays below 3 KiB. */
const DECISION_BYTES_MAX = 1_440;

/**
 * Plans one chunk.
 *
 * @param input must name exactly the given policy and registry by digest
 * @throws {PlannerError} `PLAN_POLICY_MISMATCH`, `PLAN_REGISTRY_MISMATCH`, or `PLAN_INPUT_INVALID`
 *   for numbers that cannot be
 * @throws {RegistryError} `REGISTRY_OPERATION_UNKNOWN`
 */
export function plan(input: PlanInput, policy: Policy, registry: Registry): PlanDecision {
  checkInput(input, policy, registry);
  const elsewhere = refuseForeignHost(input);
  if (elsewhere !== null) {
    return elsewhere;
  }
  const attempt = attemptPlan(input, policy.data, registry);
  const context = { policy: policy.data, registry, attempt };
  if (attempt.chosen === null) {
    return bounded(refuse(context)).decision;
  }
  const tooLarge = refuseLargeChunk(context);
  return tooLarge === null
    ? toPlan(input, policy, attempt, attempt.chosen)
    : bounded(tooLarge).decision;
}

/** SHA-256 of the canonical JSON of input and decision. */
export function planIdOf(input: PlanInput, decision: Omit<Plan, 'planId'>): string {
  return planIdFrom(canonicalJson(decision), input);
}

/** The same from the decision's canonical JSON: its key comes before the input's. */
function planIdFrom(decision: string, input: PlanInput): string {
  return sha256Hex(`{"decision":${decision},"input":${canonicalJson(input)}}`);
}

function toPlan(given: PlanInput, policy: Policy, attempt: Attempt, chosen: Admitted): Plan {
  const { input } = attempt;
  const { work, where } = input;
  const size = sizeChunk(policy.data, input, chosen, attempt.pins.chunkRows);
  const meanTileRows = Math.ceil(work.rows / where.reservedTiles);
  const rows = Math.min(work.rows, size.tiles * meanTileRows);
  const reasons = [...attempt.reasons, ...size.reasons];
  if (chosen.device.kind === 'gpu' && work.streaming && work.chunkIndex === 0) {
    reasons.push(reason('REPLAN_AFTER_PROBE'));
  }
  const { text, decision } = bounded<Omit<Plan, 'planId'>>({
    schema: 'tileloom.plan/1',
    runtime: chosen.variant.runtime,
    deviceId: chosen.device.deviceId,
    variant: chosen.variant.id,
    precision: chosen.precision.plan,
    chunkTiles: size.tiles,
    chunkRowsHint: size.rowsHint,
    leaseChunks: policy.data.leaseChunks,
    reasons,
    candidates: attempt.screening.candidates,
    predicted: {
      seconds: predictedSeconds(chosen.rate, rows),
      bytesIn: Math.ceil(rows * work.bytesPerRow),
      bytesOut: Math.ceil(rows * work.bytesOutPerRow),
      peakBytes: peakBytes(chosen.memory, rows),
    },
  });
  return { ...decision, planId: planIdFrom(text, given) };
}

interface Bounded<T> {
  readonly decision: T;
  /** Its canonical JSON. */
  readonly text: string;
}

/** Keeps a decision within its bytes: terms of the best only, then fewer rejected candidates. */
function bounded<T extends Omit<Plan, 'planId'> | PlanRefusal>(whole: T): Bounded<T> {
  const least = Math.min(CANDIDATES_MIN, whole.candidates.length);
  let shown = Math.min(CANDIDATES_MAX, whole.candidates.length);
  let terms = TERMS_MAX;
  for (;;) {
    const decision = compact(whole, shown, terms);
    const text = canonicalJson(decision);
    if (text.length <= DECISION_BYTES_MAX || (terms === 0 && shown <= least)) {
      return { decision, text };
    }
    if (terms > 0) terms -= 1;
    else shown -= 1;
  }
}

/** Keeps the best and the first rejected candidates, and the terms of the best. */
function compact<T extends Omit<Plan, 'planId'> | PlanRefusal>(
  decision: T,
  candidatesMax: number,
  termsMax: number,
): T {
  const { candidates } = decision;
  const ranked = candidates
    .filter((candidate) => candidate.score !== null)
    .toSorted((a, b) => (b.score ?? 0) - (a.score ?? 0));
  const detailed = new Set<Candidate>(ranked.slice(0, termsMax));
  const rejected = candidates.filter((candidate) => candidate.score === null);
  const kept = new Set([...ranked, ...rejected].slice(0, candidatesMax));
  const omitted = candidates.length - kept.size;
  const reasons: readonly Reason[] =
    omitted === 0
      ? decision.reasons
      : [...decision.reasons, reason('CANDIDATES_OMITTED', { count: omitted })];
  const shown = candidates
    .filter((candidate) => kept.has(candidate))
    .map((candidate) => (detailed.has(candidate) ? candidate : withoutTerms(candidate)));
  return { ...decision, reasons, candidates: shown };
}

function withoutTerms(candidate: Candidate): Candidate {
  const { terms: _, ...rest } = candidate;
  return rest;
}

function checkInput(input: PlanInput, policy: Policy, registry: Registry): void {
  if (input.policy.id !== policy.id || input.policy.digest !== policy.digest) {
    const got = `${policy.id} ${policy.digest.slice(0, 12)}`;
    const expected = `${input.policy.id} ${input.policy.digest.slice(0, 12)}`;
    throw refused('PLAN_POLICY_MISMATCH', 'policy', expected, got);
  }
  if (input.registry.digest !== registry.digest) {
    const expected = input.registry.digest.slice(0, 12);
    throw refused('PLAN_REGISTRY_MISMATCH', 'registry', expected, registry.digest.slice(0, 12));
  }
  const { where, work, limits } = input;
  checkNumber('where.reservedTiles', where.reservedTiles, 1, true);
  checkNumber('work.rows', work.rows, 0, true);
  checkNumber('work.remainingRows', work.remainingRows, 0, true);
  checkNumber('work.tileRows', work.tileRows, 1, true);
  checkNumber('work.indexBytes', work.indexBytes, 0, false);
  checkNumber('work.bytesPerRow', work.bytesPerRow, 0, false);
  checkNumber('work.bytesOutPerRow', work.bytesOutPerRow, 0, false);
  checkNumber('limits.memoryBytesMax', limits.memoryBytesMax, 1, false);
  checkNumber('limits.chunkSecondsTarget', limits.chunkSecondsTarget, 1e-6, false);
  for (const { aspect, value } of input.pins.winners) {
    if (aspect === 'chunkRows') {
      checkNumber('pins.chunkRows', typeof value === 'number' ? value : NaN, 1, true);
    } else if (aspect === 'precision') {
      checkWord('pins.precision', value, ['fp32', 'fp64', 'auto']);
    } else if (aspect === 'runtime') {
      checkWord('pins.runtime', value, ['cpu', 'gpu']);
    }
  }
}

function checkNumber(name: string, value: number, minimum: number, whole: boolean): void {
  if (!Number.isFinite(value) || value < minimum || (whole && !Number.isInteger(value))) {
    const expected = `a ${whole ? 'whole ' : ''}number from ${String(minimum)}`;
    throw refused('PLAN_INPUT_INVALID', name, expected, String(value));
  }
}

function checkWord(name: string, value: string | number, words: readonly string[]): void {
  if (!words.includes(String(value))) {
    throw refused('PLAN_INPUT_INVALID', name, `one of ${words.join(', ')}`, String(value));
  }
}

function refused(
  code: PlannerErrorCode,
  name: string,
  expected: string,
  got: string,
): PlannerError {
  return new PlannerError(
    code,
    `plan input ${name} does not hold: expected ${expected}, got ${got}; make the request again`,
    { details: { name, expected, got } },
  );
}
