// Owns `plan diff RUN --explain SPEC`: what the planner says of a pipeline here and now, against what a
// run planned and measured.
import { joinRecords, type PlanRecord } from '../../history/index.ts';
import { EXIT } from '../exit.ts';
import { formatCount, formatDuration, formatFacts } from '../format.ts';
import type { Output } from '../output.ts';
import type { Explanation } from '../runs/explain.ts';
import { diffPlans, isDifferent, renderDiff, type DiffSide, type PlanDiff } from './diff.ts';
import type { PlanSource } from './source.ts';

interface Executed {
  readonly first: PlanRecord | null;
  /** The largest chunk after the first. */
  readonly steady: PlanRecord | null;
  readonly chunks: number;
  readonly rows: number;
  readonly workSeconds: number;
  readonly predictedSeconds: number;
}

/** Compares an explanation with a run; exit code 8 when the first or the steady plan differs. */
export async function diffExplanation(
  output: Output,
  source: PlanSource,
  explanation: Explanation,
): Promise<number> {
  const executed = await executedPlans(source);
  const first = compare('first chunk', explanation.first, executed.first);
  const steady = compare(
    'chunks after the probe',
    explanation.steady ?? explanation.first,
    executed.steady ?? executed.first,
  );
  const { chunks, rows, workSeconds, predictedSeconds } = executed;
  const totals = {
    explained: explanation.totals,
    executed: { chunks, rows, workSeconds, predictedSeconds },
  };
  output.document(
    'tileloom.cli.plan-diff-explain/1',
    { runId: source.runId, first, steady, totals },
    () =>
      [
        `first chunk: ${renderDiff(first)}`,
        `chunks after the probe: ${renderDiff(steady)}`,
        `whole run\n${renderTotals(explanation, executed)}`,
      ].join('\n\n'),
  );
  return isDifferent(first) || isDifferent(steady) ? EXIT.plansDiffer : EXIT.ok;
}

function compare(
  what: string,
  explained: Explanation['first'],
  record: PlanRecord | null,
): PlanDiff {
  const left: DiffSide = { name: 'explained', input: null, decision: explained };
  const right = { name: 'executed', input: null, decision: record?.decision ?? null };
  const diff = diffPlans(left, right);
  return {
    ...diff,
    left: left.name,
    right: record === null ? `executed (no ${what})` : right.name,
  };
}

async function executedPlans(source: PlanSource): Promise<Executed> {
  let first: PlanRecord | null = null;
  let steady: PlanRecord | null = null;
  const sums = { chunks: 0, rows: 0, workSeconds: 0, predictedSeconds: 0 };
  for await (const record of joinRecords(source.lines())) {
    if (record.outcome !== 'executed') continue;
    const answer = record.execution?.answer;
    sums.chunks += 1;
    sums.rows += answer?.part.rows ?? 0;
    sums.workSeconds += answer?.seconds.work ?? 0;
    sums.predictedSeconds += planOf(record)?.predicted.seconds ?? 0;
    if (first === null) first = record;
    else if ((planOf(record)?.chunkTiles ?? 0) > (planOf(steady)?.chunkTiles ?? 0)) steady = record;
  }
  return { first, steady, ...sums };
}

function planOf(record: PlanRecord | null) {
  return record?.decision?.schema === 'tileloom.plan/1' ? record.decision : null;
}

function renderTotals({ totals }: Explanation, executed: Executed): string {
  return formatFacts([
    [
      'chunks',
      `${totals === null ? '-' : formatCount(totals.chunks)} explained, ${formatCount(executed.chunks)} executed`,
    ],
    [
      'rows',
      `${totals === null ? '-' : formatCount(totals.rows)} explained, ${formatCount(executed.rows)} executed`,
    ],
    [
      'seconds',
      `${totals === null ? '-' : formatDuration(totals.seconds)} explained, ` +
        `${formatDuration(executed.predictedSeconds)} predicted by the run's plans, ` +
        `${formatDuration(executed.workSeconds)} measured`,
    ],
  ]);
}
