// Owns `plan explain`: an explanation as text, JSON or a Mermaid flowchart.
import type { Candidate, PlanDecision } from '../../planner/index.ts';
import { renderReason } from '../../planner/index.ts';
import { CliError } from '../errors.ts';
import { loadSpec } from '../files.ts';
import { formatBytes, formatCount, formatDuration, formatFacts } from '../format.ts';
import type { ActionContext, OptionValues } from '../command.ts';
import { listOf, numberOf, textOf } from '../options.ts';
import { explainSpec, type Explanation } from '../runs/explain.ts';
import { parsePin } from '../runs/pins.ts';
import { renderDecision } from './decision.ts';

/** Plans a pipeline on this host as a lane would, without running it. */
export async function explain(
  { io }: Pick<ActionContext, 'io'>,
  path: string,
  options: OptionValues,
): Promise<{ readonly specDigest: string; readonly explanation: Explanation }> {
  const { absolute, digest } = await loadSpec(io, path);
  const reason = textOf(options, 'reason') ?? 'given to plan explain';
  const pins = listOf(options, 'pin').map((pin) => parsePin(pin, reason));
  const explanation = await explainSpec(
    io,
    { ...absolute, plan: { ...absolute.plan, pins: [...absolute.plan.pins, ...pins] } },
    { threads: numberOf(options, 'threads') },
  );
  return { specDigest: digest, explanation };
}

/** Prints an explanation; without a plan the command fails. */
export async function explainPlan(
  context: ActionContext,
  path: string,
  options: OptionValues,
): Promise<void> {
  const { specDigest, explanation } = await explain(context, path, options);
  if (options['output'] === 'mermaid') {
    context.io.stdout(`${renderMermaid(explanation)}\n`);
  } else {
    context.output.document('tileloom.cli.plan-explain/1', { specDigest, ...explanation }, () =>
      renderExplanation(explanation),
    );
  }
  const { first } = explanation;
  if (first.schema === 'tileloom.plan-refusal/1') {
    throw new CliError(
      'CLI_NO_PLAN',
      `the pipeline cannot be planned on this host: expected a plan, got ${first.code}; ` +
        'the reasons above say what would release it',
      { details: { code: first.code } },
    );
  }
}

export function renderExplanation(explanation: Explanation): string {
  const { totals } = explanation;
  const steady = explanation.steady ?? explanation.first;
  const parts = [`first chunk\n${renderDecision(explanation.first)}`];
  if (steady !== explanation.first) {
    parts.push(`chunks after the probe\n${renderDecision(steady)}`);
  }
  if (totals !== null) {
    parts.push(
      `whole run\n${formatFacts([
        ['rows', `${formatCount(totals.rows)} in ${formatCount(totals.tiles)} tiles`],
        ['chunks', formatCount(totals.chunks)],
        ['seconds', `${formatDuration(totals.seconds)} of device work on this host`],
        ['read', formatBytes(totals.bytesIn)],
        ['written', formatBytes(totals.bytesOut)],
        ['peak memory', formatBytes(totals.peakBytes)],
        ['history', `about ${formatCount(totals.historyEvents)} events`],
      ])}`,
    );
  }
  return parts.join('\n\n');
}

/** A flowchart (Mermaid): the work, every candidate of the first plan, the choice, and the totals. */
export function renderMermaid({ first, steady, work, totals, snapshot }: Explanation): string {
  const lines = [
    'flowchart TD',
    node('work', [
      work.operation,
      `${formatCount(work.rows)} rows`,
      `${formatCount(work.vertices)} vertices`,
    ]),
    node('host', [snapshot.host, `${formatCount(snapshot.cores)} cores`]),
    '  work --> plan{"plan"}',
    '  host --> plan',
  ];
  first.candidates.forEach((candidate, index) => {
    const isChosen = first.schema === 'tileloom.plan/1' && candidate.variant === first.variant;
    lines.push(
      node(`c${String(index)}`, [candidate.variant, verdict(candidate)]),
      `  plan ${isChosen ? '==>' : '-.->'} c${String(index)}`,
    );
    if (isChosen) lines.push(`  c${String(index)} ==> chosen`);
  });
  lines.push(node('chosen', describe('first chunk', first)));
  if (first.schema !== 'tileloom.plan/1') lines.push('  plan ==> chosen');
  if (steady !== null) {
    lines.push(node('steady', describe('after the probe', steady)), '  chosen ==> steady');
  }
  if (totals !== null) {
    lines.push(
      node('total', [
        `${formatCount(totals.chunks)} chunks`,
        `${formatDuration(totals.seconds)} of device work`,
        `peak ${formatBytes(totals.peakBytes)}`,
      ]),
      `  ${steady === null ? 'chosen' : 'steady'} ==> total`,
    );
  }
  return lines.join('\n');
}

function describe(what: string, decision: PlanDecision): readonly string[] {
  if (decision.schema === 'tileloom.plan-refusal/1') {
    return [what, `refused: ${decision.code}`, ...decision.reasons.map(renderReason)];
  }
  const { predicted, variant, precision, deviceId, chunkTiles } = decision;
  return [
    what,
    `${variant}, ${precision.compute}, on ${deviceId}`,
    `${formatCount(chunkTiles)} tiles, ${formatDuration(predicted.seconds)}, ` +
      `peak ${formatBytes(predicted.peakBytes)}`,
  ];
}

function verdict({ score, reject }: Candidate): string {
  return reject === undefined ? `score ${String(score ?? 0)}` : reject;
}

/** A node; quotes and brackets in its text are written as entities. */
function node(id: string, lines: readonly string[]): string {
  const text = lines
    .map((line) =>
      line.replaceAll(/[#"<>&\u0000-\u001f]/g, (sign) => `#${String(sign.codePointAt(0))};`),
    )
    .join('<br/>');
  return `  ${id}["${text}"]`;
}
