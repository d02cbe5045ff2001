// Owns the score of an admissible variant: a sum of named terms, so that a plan can show why.
import type { VariantSpec } from '../registry/index.ts';
import { uploadShare, type Placement } from './finishing.ts';
import type { ScoringPolicy } from './policy.ts';
import type { PlanInput } from './types.ts';

export type ScoreTerms = Readonly<Record<string, number>>;

export interface Score {
  readonly total: number;
  /** Terms other than zero. */
  readonly terms: ScoreTerms;
}

/**
 * Scores a variant for the work of a plan input.
 *
 * @param effectiveRowsPerSecond rows of the reservation ÷ their predicted seconds, fixed cost included
 */
export function scoreVariant(
  policy: ScoringPolicy,
  input: PlanInput,
  variant: VariantSpec,
  effectiveRowsPerSecond: number,
): Score {
  const { work, previous } = input;
  const shared = work.families.filter((family) => variant.geometryFamilies.includes(family)).length;
  const covered = shared === work.families.length && shared > 0;
  const cooperative = variant.tags.includes('cooperative');
  const fits = cooperative
    ? work.meanVertices >= policy.cooperativeFromVertices
    : work.meanVertices > 0 && work.meanVertices < policy.cooperativeFromVertices;
  const terms: Record<string, number> = {
    class: variant.kernelClass === work.kernelClass ? policy.classMatch : 0,
    families:
      variant.geometryFamilies.length === 0
        ? policy.noFamilies
        : shared * policy.perFamily + (covered ? policy.allFamilies : 0),
    residency: variant.preferredResidency === work.residency ? policy.residency : 0,
    mixed: work.mixed && variant.supportsMixed ? policy.mixed : 0,
    granularity: fits ? (cooperative ? policy.cooperative : policy.independent) : 0,
    speed:
      policy.perSpeedDoubling === 0
        ? 0
        : rounded(policy.perSpeedDoubling * linearLog2(effectiveRowsPerSecond / 1e6)),
    previous: previous?.variant === variant.id ? policy.previous : 0,
  };
  let total = 0;
  for (const [name, value] of Object.entries(terms)) {
    total += value;
    if (value === 0) {
      delete terms[name];
    }
  }
  return { total: rounded(total), terms };
}

/**
 * Scores a variant by its finishing time: each piece is shown by the points it costs.
 *
 * @param rows of the reservation
 * @param stickiness share by which another device must be earlier; null: it did not run before
 */
export function scorePlacement(
  policy: ScoringPolicy,
  input: PlanInput,
  placed: Placement,
  stickiness: number | null,
): Score {
  const rows = Math.max(1, input.work.rows);
  const pieces: readonly (readonly [string, (seconds: number) => number])[] = [
    ['copies', (seconds) => seconds + rows * placed.copySeconds],
    ['fixed', (seconds) => seconds + placed.fixedSeconds],
    ['upload', (seconds) => seconds + placed.uploadSeconds * uploadShare(input)],
    ['busy', (seconds) => seconds * placed.busyFactor],
    ['previous', (seconds) => (stickiness === null ? seconds : seconds / (1 + stickiness))],
  ];
  const points = (seconds: number): number =>
    rounded(policy.perSpeedDoubling * linearLog2(rows / seconds / 1e6));
  let seconds = rows * placed.rowSeconds;
  let total = points(seconds);
  const terms: Record<string, number> = total === 0 ? {} : { speed: total };
  for (const [name, then] of pieces) {
    seconds = then(seconds);
    const after = points(seconds);
    const term = rounded(after - total);
    if (term !== 0) {
      terms[name] = term;
    }
    total = after;
  }
  return { total, terms };
}

/**
 * Logarithm to base 2, exact at powers of two and linear between them.
 *
 * Math.log2 may differ in the last bit between engines; a replayed plan must not.
 */
export function linearLog2(value: number): number {
  let mantissa = Math.min(Math.max(value, 1e-12), 1e15);
  let exponent = 0;
  while (mantissa >= 2) {
    mantissa /= 2;
    exponent += 1;
  }
  while (mantissa < 1) {
    mantissa *= 2;
    exponent -= 1;
  }
  return exponent + (mantissa - 1);
}

function rounded(value: number): number {
  const hundredths = Math.round(value * 100) / 100;
  return hundredths === 0 ? 0 : hundredths;
}
