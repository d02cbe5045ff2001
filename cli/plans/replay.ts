// Owns `plan replay`: every recorded plan recomputed from its own input, compared to the byte.
import { hash } from 'node:crypto';
import { joinRecords, type PlanRecord } from '../../history/index.ts';
import {
  rebuildRecipes,
  replayPlan,
  type Recipes,
  type UnknownRecipe,
} from '../../planner/index.ts';
import { EXIT } from '../exit.ts';
import { formatCount } from '../format.ts';
import type { Output } from '../output.ts';
import { renderDifference, type PlainDifference, plainDifferences } from './differences.ts';
import { unknownRecipeError } from './recipe-error.ts';
import type { PlanSource } from './source.ts';

/** One plan that did not come out as recorded. */
export interface ReplayDifference {
  readonly shard: number;
  readonly chunk: number;
  readonly attempt: number;
  readonly planId: string | null;
  readonly differences: readonly PlainDifference[];
  readonly error: string | null;
}

export interface ReplayReport {
  readonly runId: string;
  readonly plans: number;
  readonly equal: number;
  readonly different: number;
  /** Plans whose policy or registry is not to be had. */
  readonly unknown: number;
  /** Plan calls without an answer: there is nothing to recompute. */
  readonly unanswered: number;
  /** Elapsed, reading included. */
  readonly seconds: number;
  readonly unknownRecipes: readonly { readonly what: string; readonly digest: string }[];
  /** The first of the plans that differ. */
  readonly differences: readonly ReplayDifference[];
}

/** Differing plans that a document shows; jsonl shows each. */
const SHOWN_MAX = 20;

/** Replays every plan; exit code 8 when one differs. */
export async function replayPlans(
  output: Output,
  source: PlanSource,
  now: () => number,
): Promise<number> {
  const { recipes, problems } = rebuildRecipes(await source.recipes());
  for (const problem of problems) output.note(problem);
  const report = await replayAll(source, recipes, now, (difference) => {
    if (output.format === 'jsonl') {
      output.document('tileloom.cli.plan-replay-item/1', difference, () => '');
    }
  });
  output.document('tileloom.cli.plan-replay/1', report, () => renderReport(report));
  if (report.different > 0) return EXIT.plansDiffer;
  const [missing] = report.unknownRecipes;
  if (missing !== undefined) {
    throw unknownRecipeError(missing.what, missing.digest, report.unknown);
  }
  return EXIT.ok;
}

/** SHA-256 of the platform: replaying is mostly hashing. */
export const nativeDigest = (text: string): string => hash('sha256', text);

async function replayAll(
  source: PlanSource,
  recipes: Recipes,
  now: () => number,
  onDifference: (difference: ReplayDifference) => void,
): Promise<ReplayReport> {
  const counts = { plans: 0, equal: 0, different: 0, unknown: 0, unanswered: 0 };
  const unknown = new Map<string, UnknownRecipe>();
  const differences: ReplayDifference[] = [];
  const startedAt = now();
  for await (const record of joinRecords(source.lines())) {
    // A chunk under a leased plan has no plan of its own.
    if (record.leasedFrom !== null || record.planned === null) continue;
    const { input, decision } = record;
    if (input === null || decision === null) {
      counts.unanswered += 1;
      continue;
    }
    counts.plans += 1;
    const replay = replayPlan(input, decision, recipes, nativeDigest);
    counts[replay.kind] += 1;
    if (replay.kind === 'unknown') unknown.set(replay.digest, replay);
    if (replay.kind === 'different') {
      const found = {
        ...placeOf(record),
        differences: plainDifferences(replay.differences),
        error: replay.error,
      };
      onDifference(found);
      if (differences.length < SHOWN_MAX) differences.push(found);
    }
  }
  const seconds = (now() - startedAt) / 1000;
  return {
    runId: source.runId,
    ...counts,
    seconds,
    unknownRecipes: [...unknown.values()].map(({ what, digest }) => ({ what, digest })),
    differences,
  };
}

function placeOf({
  shard,
  chunk,
  attempt,
  decision,
}: PlanRecord): Omit<ReplayDifference, 'differences' | 'error'> {
  const planId = decision?.schema === 'tileloom.plan/1' ? decision.planId : null;
  return { shard, chunk, attempt, planId };
}

function renderReport(report: ReplayReport): string {
  const { plans, equal, different, unknown, unanswered } = report;
  const lines = [
    `${formatCount(plans)} plans of run ${report.runId} replayed: ` +
      `${formatCount(equal)} equal to the byte, ${formatCount(different)} different, ` +
      `${formatCount(unknown)} with a policy or registry that is not known`,
  ];
  if (unanswered > 0) {
    lines.push(`${formatCount(unanswered)} plan calls failed or were not answered`);
  }
  for (const found of report.differences) {
    lines.push(`chunk ${String(found.shard)}/${String(found.chunk)}, try ${String(found.attempt)}`);
    if (found.error !== null) lines.push(`  cannot be planned: ${found.error}`);
    lines.push(
      ...found.differences.map(
        (difference) => `  ${renderDifference(difference, 'recorded', 'recomputed')}`,
      ),
    );
  }
  if (different > report.differences.length) {
    lines.push(`… and ${formatCount(different - report.differences.length)} more; see -o jsonl`);
  }
  return lines.join('\n');
}
