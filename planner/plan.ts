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
/** With a snapshot of a CPU and two GPUs the plan activity's answer stays below 3.5 KiB. */
const DECISION_BYTES_MAX = 1_440;

/** SHA-256 of a text (UTF-8), as 64 lower-case hex digits. */
export type TextDigest = (text: string) => string;

/**
 * Plans one chunk.
 *
 * @param input must name exactly the given policy and registry by digest
 * @param digest replays hand in the platform's own SHA-256, which is ten times as fast
 * @throws {PlannerError} `PLAN_POLICY_MISMATCH`, `PLAN_REGISTRY_MISMATCH`, or `PLAN_INPUT_INVALID`
 *   for numbers that cannot be
 * @throws {RegistryError} `REGISTRY_OPERATION_UNKNOWN`
 */
export function plan(
  input: PlanInput,
  policy: Policy,
  registry: Registry,
  digest: TextDigest = sha256Hex,
): PlanDecision {
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
    ? toPlan(input, policy, attempt, attempt.chosen, digest)
    : bounded(tooLarge).decision;
}

/** SHA-256 of the canonical JSON of input and decision. */
export function planIdOf(input: PlanInput, decision: Omit<Plan, 'planId'>): string {
  return planIdFrom(canonicalJson(decision), input, sha256Hex);
}

/** The same from the decision's canonical JSON: its key comes before the input's. */
function planIdFrom(decision: string, input: PlanInput, digest: TextDigest): string {
  return digest(`{"decision":${decision},"input":${canonicalJson(input)}}`);
}

/** Rows that a prediction for so many tiles of the reservation is about. */
export function plannedRows(
  { work, where }: Pick<PlanInput, 'work' | 'where'>,
  tiles: number,
): number {
  return Math.min(work.rows, tiles * Math.ceil(work.rows / where.reservedTiles));
}

function toPlan(
  given: PlanInput,
  policy: Policy,
  attempt: Attempt,
  chosen: Admitted,
  digest: TextDigest,
): Plan {
  const { input } = attempt;
  const { work } = input;
  const size = sizeChunk(policy.data, input, chosen, attempt.pins.chunkRows);
  const rows = plannedRows(input, size.tiles);
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
  return { ...decision, planId: planIdFrom(text, given, digest) };
}

interface Bounded<T> {
  readonly decision: T;
  /** Its canonical JSON. */
  readonly text: string;
}

/** Keeps a decision within its bytes: terms of the best only, then fewer rejected candidates. */
function bounded<T extends Omit<Plan, 'planId'> | PlanRefusal>(whole: T): Bounded<T> {
  const least = Math.min(CANDIDATES_MIN, whole.candidates.length);
  const write = decisionWriter(whole);
  let shown = Math.min(CANDIDATES_MAX, whole.candidates.length);
  let terms = TERMS_MAX;
  for (;;) {
    const kept = keptCandidates(whole.candidates, shown, terms);
    const text = write(kept);
    if (text.length <= DECISION_BYTES_MAX || (terms === 0 && shown <= least)) {
      const { candidates } = kept;
      return {
        decision: { ...whole, reasons: withOmission(whole.reasons, kept), candidates },
        text,
      };
    }
    if (terms > 0) terms -= 1;
    else shown -= 1;
  }
}

interface Kept {
  readonly candidates: readonly Candidate[];
  readonly omitted: number;
}

/** Keeps the best and the first rejected candidates, and the terms of the best. */
function keptCandidates(
  candidates: readonly Candidate[],
  candidatesMax: number,
  termsMax: number,
): Kept {
  const ranked = candidates
    .filter((candidate) => candidate.score !== null)
    .toSorted((a, b) => (b.score ?? 0) - (a.score ?? 0));
  const detailed = new Set<Candidate>(ranked.slice(0, termsMax));
  const rejected = candidates.filter((candidate) => candidate.score === null);
  const kept = new Set([...ranked, ...rejected].slice(0, candidatesMax));
  const shown = candidates
    .filter((candidate) => kept.has(candidate))
    .map((candidate) => (detailed.has(candidate) ? candidate : withoutTerms(candidate)));
  return { candidates: shown, omitted: candidates.length - kept.size };
}

function withOmission(reasons: readonly Reason[], { omitted }: Kept): readonly Reason[] {
  return omitted === 0 ? reasons : [...reasons, reason('CANDIDATES_OMITTED', { count: omitted })];
}

/** Writes the canonical JSON of a decision with other lists; all else is serialised only once. */
function decisionWriter(whole: Omit<Plan, 'planId'> | PlanRefusal): (kept: Kept) => string {
  const [beforeCandidates, rest] = splitAfter(
    canonicalJson({ ...whole, candidates: [], reasons: [] }),
    '"candidates":',
  );
  const [beforeReasons, end] = splitAfter(rest, '"reasons":');
  const reasons = canonicalJson(whole.reasons);
  const texts = new Map<Candidate, string>();
  const candidateText = (candidate: Candidate): string => {
    const text = texts.get(candidate) ?? canonicalJson(candidate);
    texts.set(candidate, text);
    return text;
  };
  return (kept) => {
    const shown = `[${kept.candidates.map(candidateText).join(',')}]`;
    const cited = kept.omitted === 0 ? reasons : canonicalJson(withOmission(whole.reasons, kept));
    return beforeCandidates + shown + beforeReasons + cited + end;
  };
}

/** The text up to a key, and what follows the empty list there; no string value can look like a key. */
function splitAfter(text: string, key: string): readonly [string, string] {
  const at = text.indexOf(`${key}[]`) + key.length;
  return [text.slice(0, at), text.slice(at + 2)];
}

function withoutTerms(candidate: Candidate): Candidate {
  if (candidate.terms === undefined) {
    return candidate;
  }
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
