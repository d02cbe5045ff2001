// Owns a decision for people: what was chosen, why, and what was rejected.
import { escapeControl } from '../../operator/index.ts';
import { renderReason, type Candidate, type Plan, type PlanDecision } from '../../planner/index.ts';
import { formatBytes, formatCount, formatDuration, formatFacts, formatTable } from '../format.ts';

/** Renders a decision with its reasons and every candidate. */
export function renderDecision(decision: PlanDecision): string {
  const reasons = decision.reasons.map((reason) => `  - ${escapeControl(renderReason(reason))}`);
  const candidates = decision.candidates.map((candidate) => [
    `  ${candidate.variant}`,
    candidate.deviceId ?? '-',
    candidate.score === null ? '-' : String(Math.round(candidate.score * 1000) / 1000),
    verdictOf(candidate),
  ]);
  const head =
    decision.schema === 'tileloom.plan/1'
      ? planFacts(decision)
      : formatFacts([['refused', `${decision.code}, the run will ${decision.onRefusal}`]]);
  return [
    head,
    'reasons',
    ...reasons,
    'candidates',
    candidates.length === 0
      ? '  none'
      : formatTable(['  variant', 'device', 'score (highest wins)', ''], candidates),
  ].join('\n');
}

/** Why it was rejected, or the terms of its score where the plan holds them. */
function verdictOf({ reject, terms }: Candidate): string {
  if (reject !== undefined) return `${reject}: ${renderReason({ code: reject })}`;
  return Object.entries(terms ?? {})
    .map(([name, value]) => `${name} ${value > 0 ? '+' : ''}${String(value)}`)
    .join(', ');
}

function planFacts(plan: Plan): string {
  const { predicted, precision } = plan;
  return formatFacts([
    ['plan', plan.planId],
    ['variant', `${plan.variant} on ${plan.deviceId} (${plan.runtime})`],
    ['precision', `${precision.compute}, refinement ${precision.refinement}`],
    [
      'chunk',
      `${formatCount(plan.chunkTiles)} tiles; the next may take up to ` +
        `${formatCount(plan.chunkRowsHint)} rows`,
    ],
    [
      'predicted',
      `${formatDuration(predicted.seconds)}, ${formatBytes(predicted.bytesIn)} in, ` +
        `${formatBytes(predicted.bytesOut)} out, peak ${formatBytes(predicted.peakBytes)}`,
    ],
  ]);
}
