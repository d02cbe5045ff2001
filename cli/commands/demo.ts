// Owns `tileloom demo`: a whole run on real data, with nothing to set up.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { addLeaf, type ActionContext, type ProgramContext } from '../command.ts';
import { runDemo, type DemoRun } from '../demo/run-demo.ts';
import { EXIT } from '../exit.ts';
import { shortPath } from '../files.ts';
import { formatCount, formatDuration, formatFacts, formatShort, formatTable } from '../format.ts';
import { interruptible, type CommandIo } from '../io.ts';
import { countOption, flagOf, numberOf, textOf } from '../options.ts';

const DEFAULT_ROWS = 20_000_000;

/** Adds the command. */
export function addDemoCommand(program: Command, context: ProgramContext): void {
  addLeaf(program, context, {
    name: 'demo',
    summary:
      'Run real cities and synthetic points against US counties, start to end, on this machine.',
    options: [
      ['--dir <folder>', 'work folder (default: ./tileloom-demo)'],
      countOption('--rows <n>', 'synthetic points of the second run (default 20_000_000)'),
      countOption('--threads <n>', 'threads of the worker (default: all cores)'),
      ['--keep', 'leave the server running that the demo started'],
    ],
    examples: ['tileloom demo', 'tileloom demo --rows 200_000_000 --keep'],
    run: (action, _args, options) => demo(action, options),
  });
}

async function demo(
  action: ActionContext,
  options: Readonly<Record<string, unknown>>,
): Promise<number> {
  const { io, output } = action;
  const root = resolve(io.cwd, textOf(options, 'dir') ?? 'tileloom-demo');
  const message = 'stopping the demo; its runs are cancelled, finished chunks are kept';
  const { value: runs, interrupted } = await interruptible(io, message, (signal) =>
    runDemo(
      action,
      {
        root,
        rows: numberOf(options, 'rows') ?? DEFAULT_ROWS,
        keep: flagOf(options, 'keep'),
        threads: numberOf(options, 'threads'),
        signal,
      },
      (run) => {
        if (output.format === 'text') {
          io.stdout(`${renderRun(io, run)}\n\n`);
        } else if (output.format === 'jsonl') {
          output.document('tileloom.cli.demo-run/1', run, () => '');
        }
      },
    ),
  );
  if (interrupted || runs === null) {
    return EXIT.interrupted;
  }
  if (output.format !== 'jsonl') {
    output.document('tileloom.cli.demo/1', { folder: root, runs }, () =>
      renderNext(io, root, runs),
    );
  }
  return EXIT.ok;
}

function renderRun(io: CommandIo, run: DemoRun): string {
  const facts = formatFacts([
    ['run', run.runId],
    ['rows', `${formatCount(run.rows)}, ${formatCount(run.hits ?? 0)} of them in a county`],
    [
      'took',
      `${formatDuration(run.seconds ?? 0)} from start to published, ` +
        `${formatShort(run.rowsPerSecond ?? 0)} rows/s`,
    ],
    ['digest', run.digest],
    ['result', shortPath(io, run.result)],
    ['map', shortPath(io, run.map)],
  ]);
  const top = formatTable(
    ['county', 'FIPS', run.measure],
    run.top.map((feature) => [feature.name ?? '-', feature.id, formatCount(feature.value)]),
  );
  return `${top}\n\n${facts}`;
}

function renderNext(io: CommandIo, root: string, runs: readonly DemoRun[]): string {
  const last = runs.at(-1);
  const folder = shortPath(io, root);
  // In a checkout (`npm run demo`) the command is not on PATH.
  const tileloom = io.env['npm_lifecycle_event'] === undefined ? 'tileloom' : 'npx tileloom';
  return [
    'Next:',
    `  ${tileloom} server start && ${tileloom} plan list ${last?.runId ?? ''}`,
    '      what was planned for each chunk, and why',
    `  ${tileloom} plan explain ${folder}/points-by-county.yaml`,
    '      what would be planned here, without running it',
    `  ${tileloom} run start ${folder}/points-by-county.yaml --with-worker ` +
      `--sink ${folder}/out/again --variant assign/grid-scalar@1`,
    '      another variant: another speed, the same digest',
  ].join('\n');
}
