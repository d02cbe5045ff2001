// Owns `tileloom plan`: the plans a run made, one of them in full, and what would be planned now.
import type { Command } from 'commander';
import { renderReason, type Plan, type PlanDecision } from '../../planner/index.ts';
import type { HistoryLine, PlanLine } from '../../history/index.ts';
import { addGroup, addLeaf, type ProgramContext } from '../command.ts';
import { CliError } from '../errors.ts';
import { loadSpec } from '../files.ts';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatFacts,
  formatShort,
  formatTable,
} from '../format.ts';
import { chunkRows, isPlan, type ChunkRow } from '../history/chunks.ts';
import { runLines, serviceHistory } from '../history/source.ts';
import { countOption, listOf, listOption, numberOf, textOf } from '../options.ts';
import { explainSpec, type Explanation } from '../runs/explain.ts';
import { parsePin } from '../runs/pins.ts';
import { withRun } from '../runs/with-run.ts';

/** Adds the group. */
export function addPlanCommands(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'plan', 'See what was planned, and why.');
  addList(group, context);
  addShow(group, context);
  addExplain(group, context);
}

function addList(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'list',
    summary: 'List every plan of a run: what it chose, why, and what came of it.',
    args: [['<run>', 'run id']],
    examples: ['tileloom plan list RUN', 'tileloom plan list RUN -o jsonl | grep failed'],
    run: ({ io, output }, [runId = '']) =>
      withRun(io, runId, async (session) => {
        const rows = await chunkRows(runLines(serviceHistory(session.client), runId));
        const names = {
          schema: 'tileloom.cli.plan-list/1',
          itemSchema: 'tileloom.cli.plan-list-item/1',
          key: 'plans',
        };
        output.list(names, rows, () => renderList(rows));
        return undefined;
      }),
  });
}

function renderList(rows: readonly ChunkRow[]): string {
  return formatTable(
    [
      'chunk',
      'try',
      'tiles',
      'variant',
      'device',
      'state',
      'rows',
      'predicted',
      'took',
      'rows/s',
      'why',
    ],
    rows.map((row) => [
      `${String(row.shard)}/${String(row.chunk)}`,
      String(row.attempt),
      `${String(row.firstTile)}-${String(row.endTile - 1)}`,
      row.variant ?? '-',
      row.deviceId ?? '-',
      row.state,
      row.rows === null ? '-' : formatCount(row.rows),
      row.predictedSeconds === null ? '-' : formatDuration(row.predictedSeconds),
      row.workSeconds === null ? '-' : formatDuration(row.workSeconds),
      row.rowsPerSecond === null ? '-' : formatShort(row.rowsPerSecond),
      row.failure ?? row.reasons.join(' '),
    ]),
  );
}

function addShow(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'show',
    summary: 'Show one plan in full: reasons, candidates, snapshot, outcome.',
    args: [
      ['<run>', 'run id'],
      ['<chunk>', 'shard/chunk as plan list shows it; the chunk alone means shard 0'],
    ],
    examples: ['tileloom plan show RUN 0/3', 'tileloom plan show RUN 3 -o json'],
    run: ({ io, output }, [runId = '', place = '']) => {
      const { shard, chunk } = parsePlace(place);
      return withRun(io, runId, async (session) => {
        const lines = await linesOfChunk(
          runLines(serviceHistory(session.client), runId),
          shard,
          chunk,
        );
        if (lines.length === 0) {
          throw new CliError(
            'CLI_CHUNK_UNKNOWN',
            `chunk ${place} of run ${runId} is unknown: expected a chunk of plan list, got none; ` +
              `see tileloom plan list ${runId}`,
            { details: { runId, chunk: place } },
          );
        }
        output.document('tileloom.cli.plan-show/1', { runId, shard, chunk, records: lines }, () =>
          lines.map((line) => renderLine(line)).join('\n\n'),
        );
        return undefined;
      });
    },
  });
}

/** `3` is chunk 3 of shard 0; `2/7` is chunk 7 of shard 2. */
function parsePlace(place: string): { shard: number; chunk: number } {
  const match = /^(?:(\d{1,6})\/)?(\d{1,9})$/.exec(place);
  if (match === null) {
    throw new CliError(
      'CLI_USAGE',
      `chunk ${place} is not valid: expected shard/chunk such as 0/3, got ${JSON.stringify(place)}`,
    );
  }
  return { shard: Number(match[1] ?? 0), chunk: Number(match[2]) };
}

/** Every line of a chunk, and the plan that it ran under when an earlier chunk made it. */
async function linesOfChunk(
  lines: AsyncIterable<HistoryLine>,
  shard: number,
  chunk: number,
): Promise<HistoryLine[]> {
  const own: HistoryLine[] = [];
  let leased: PlanLine | null = null;
  const recent = new Map<string, PlanLine>();
  for await (const line of lines) {
    const where = line.kind === 'plan' ? line.call.request.where : line.order;
    if (where.shard !== shard) {
      continue;
    }
    if (where.chunk === chunk) {
      own.push(line);
      if (line.kind === 'execute') {
        leased = recent.get(line.order.planId) ?? leased;
      }
    } else if (line.kind === 'plan' && line.answer !== null && isPlan(line.answer.decision)) {
      recent.set(line.answer.decision.planId, line);
    }
  }
  return leased === null ? own : [leased, ...own];
}

function renderLine(line: HistoryLine): string {
  if (line.kind === 'execute') {
    return renderExecute(line);
  }
  const { where } = line.call.request;
  const head =
    `plan of chunk ${String(where.shard)}/${String(where.chunk)}, ` +
    `try ${String(where.attempt)}, epoch ${String(where.epoch)}`;
  if (line.answer === null) {
    return `${head}\n${formatFacts([['failed', line.failure?.message ?? '']])}`;
  }
  const { snapshot, policy } = line.answer;
  return [
    head,
    formatFacts([
      [
        'host',
        `${snapshot.host}, ${String(snapshot.cores)} cores, load ${String(snapshot.load1 ?? 'unknown')}`,
      ],
      ['policy', `${policy.id} (${policy.digest.slice(0, 12)})`],
      ['GPU telemetry', snapshot.reason ?? snapshot.backend],
    ]),
    renderDecision(line.answer.decision),
  ].join('\n');
}

function renderExecute(line: Extract<HistoryLine, { kind: 'execute' }>): string {
  const { order, answer } = line;
  const facts: [string, string][] = [
    ['tiles', `${String(order.firstTile)}-${String(order.endTile - 1)}`],
    ['variant', `${order.variant}, ${order.precision}, on ${order.deviceId}`],
    ['plan', order.planId],
  ];
  if (answer === null) {
    facts.push(['failed', `${line.failure?.type ?? ''}: ${line.failure?.message ?? ''}`]);
  } else {
    const { seconds } = answer;
    facts.push(
      [
        'rows',
        `${formatCount(answer.part.rows)} (${formatCount(answer.hits)} hits, ` +
          `${formatCount(answer.outside)} outside, ${formatCount(answer.invalid)} invalid)`,
      ],
      [
        'took',
        `${formatDuration(seconds.work)}, queued ${formatDuration(seconds.queued)}; ` +
          `read ${formatDuration(seconds.read)}, kernel ${formatDuration(seconds.kernel)}, ` +
          `write ${formatDuration(seconds.write)}`,
      ],
      ['peak memory', formatBytes(answer.peakBytes)],
      ['part', answer.part.file],
    );
  }
  return `execute, try ${String(order.attempt)}\n${formatFacts(facts)}`;
}

/** Renders a decision: what was chosen, why, and what was rejected. */
export function renderDecision(decision: PlanDecision): string {
  const reasons = decision.reasons.map((reason) => `  - ${renderReason(reason)}`);
  const candidates = decision.candidates.map((candidate) => [
    `  ${candidate.variant}`,
    candidate.deviceId ?? '-',
    candidate.score === null ? '-' : String(Math.round(candidate.score * 1000) / 1000),
    candidate.reject === undefined ? '' : renderReason({ code: candidate.reject }),
  ]);
  const head = isPlan(decision)
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

function addExplain(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'explain',
    summary: 'Plan a pipeline on this host without running it: decision, reasons, time, memory.',
    args: [['<spec>', 'YAML or JSON file']],
    options: [
      listOption('--pin <aspect=value>', 'plan under this pin; may be repeated'),
      countOption('--threads <n>', 'plan as for a worker with so many threads'),
      ['--reason <text>', 'why the pins are set'],
    ],
    examples: [
      'tileloom plan explain pipeline.yaml',
      'tileloom plan explain pipeline.yaml --pin variant=assign/grid-scalar@1 -o json',
    ],
    run: async ({ io, output }, [path = ''], options) => {
      const { absolute, digest } = await loadSpec(io, path);
      const reason = textOf(options, 'reason') ?? 'given to plan explain';
      const pins = listOf(options, 'pin').map((pin) => parsePin(pin, reason));
      const explanation = await explainSpec(
        io,
        { ...absolute, plan: { ...absolute.plan, pins: [...absolute.plan.pins, ...pins] } },
        { threads: numberOf(options, 'threads') },
      );
      output.document('tileloom.cli.plan-explain/1', { specDigest: digest, ...explanation }, () =>
        renderExplanation(explanation),
      );
      if (!isPlan(explanation.first)) {
        throw new CliError(
          'CLI_NO_PLAN',
          `the pipeline cannot be planned on this host: expected a plan, got ${explanation.first.code}; ` +
            'the reasons above say what would release it',
          { details: { code: explanation.first.code } },
        );
      }
      return undefined;
    },
  });
}

function renderExplanation(explanation: Explanation): string {
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
