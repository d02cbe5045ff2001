// Owns `tileloom run start`: check a pipeline, start a run of it, and stay with it when asked to.
import { join, resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { startChildWorker, type ChildWorker } from '../child-worker.ts';
import {
  addGroup,
  addLeaf,
  type ActionContext,
  type OptionValues,
  type ProgramContext,
} from '../command.ts';
import { loadSpec } from '../files.ts';
import { formatFacts } from '../format.ts';
import { countOption, flagOf, listOf, listOption, numberOf, textOf } from '../options.ts';
import { finishFollowing, follow } from '../runs/follow-command.ts';
import { rememberRun } from '../runs/local-runs.ts';
import { parsePin } from '../runs/pins.ts';
import { readStatus } from '../runs/read-status.ts';
import { rootsOf } from '../runs/roots.ts';
import { checkStartPins } from '../runs/start-pins.ts';
import {
  checkBeforeStart,
  makeRunId,
  overrideSpec,
  submitRun,
  type StartOverrides,
  type SubmittedRun,
} from '../runs/start.ts';
import { requireRunId } from '../runs/with-run.ts';
import { withSession, type Session } from '../session.ts';
import { RUN_GROUP } from './run-group.ts';

/** Adds the command. */
export function addRunStart(program: Command, context: ProgramContext): void {
  addStart(addGroup(program, 'run', RUN_GROUP), context);
}

function addStart(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'start',
    summary: 'Check a pipeline and start a run of it.',
    args: [['<spec>', 'YAML or JSON file']],
    options: [
      ['--with-worker', 'also run a worker, here, until the run ends (implies --watch)'],
      ['--watch', 'show progress until the run ends; Ctrl-C detaches, the run goes on'],
      listOption('--pin <aspect=value>', 'pin an aspect of every plan; may be repeated'),
      ['--reason <text>', 'why the pins are set; recorded in every plan they touch'],
      new Option('--mode <mode>', 'where to run').choices(['auto', 'cpu', 'gpu']),
      new Option('--precision <precision>', 'precision to compute in').choices([
        ...['auto', 'fp32', 'fp64'],
      ]),
      ['--variant <id>', 'short for --pin variant=ID'],
      countOption('--chunk-rows <n>', 'short for --pin chunkRows=N'),
      countOption('--lanes <n>', 'lanes of each shard'),
      ['--sink <folder>', "write here instead of the spec's sink.path"],
      ['--run-id <id>', 'use this id instead of a made one'],
    ],
    examples: [
      'tileloom run start pipeline.yaml',
      'tileloom run start pipeline.yaml --with-worker --watch',
      'tileloom run start pipeline.yaml -o json --sink ./out-2 --pin variant=assign/grid-avx2@1',
    ],
    run: (action, [path = ''], options) => startRun(action, path, options),
  });
}

async function startRun(
  action: ActionContext,
  path: string,
  options: OptionValues,
): Promise<number | undefined> {
  const { io, output } = action;
  const loaded = await loadSpec(io, path);
  const overrides = overridesOf(options, io.cwd);
  const spec = overrideSpec(loaded.absolute, overrides);
  const written = overrideSpec(loaded.spec, {
    ...overrides,
    sink: textOf(options, 'sink'),
  });
  checkStartPins(spec);
  await checkBeforeStart(spec);
  const runId = textOf(options, 'runId') ?? makeRunId(spec.name, io.now());
  requireRunId(runId);
  return withSession(io, { start: true, note: output.note }, async (session) => {
    const submitted = await submitRun(session, { runId, spec, written });
    await rememberRun(session.runsFolder, {
      schema: 'tileloom.local-run/1',
      runId,
      name: spec.name,
      sink: submitted.sink,
      specDigest: submitted.specDigest,
      startedAt: io.now(),
    });
    const withWorker = flagOf(options, 'withWorker');
    if (!withWorker && !flagOf(options, 'watch')) {
      printStarted(action, submitted);
      return undefined;
    }
    if (output.format !== 'json') {
      printStarted(action, submitted);
    }
    const roots = await rootsOf(spec);
    const worker = withWorker
      ? startChildWorker({ io, roots, logFile: join(session.logsFolder, `worker-${runId}.log`) })
      : null;
    return watchStarted(action, session, submitted, worker);
  });
}

function overridesOf(options: OptionValues, cwd: string): StartOverrides {
  const reason = textOf(options, 'reason') ?? 'given to run start';
  const pins = listOf(options, 'pin').map((pin) => parsePin(pin, reason));
  const variant = textOf(options, 'variant');
  const chunkRows = numberOf(options, 'chunkRows');
  const sink = textOf(options, 'sink');
  return {
    mode: textOf(options, 'mode') as StartOverrides['mode'],
    precision: textOf(options, 'precision') as StartOverrides['precision'],
    lanes: numberOf(options, 'lanes'),
    sink: sink === undefined ? undefined : resolve(cwd, sink),
    pins: [
      ...pins,
      ...(variant === undefined ? [] : [parsePin(`variant=${variant}`, reason)]),
      ...(chunkRows === undefined ? [] : [parsePin(`chunkRows=${String(chunkRows)}`, reason)]),
    ],
  };
}

function printStarted({ output }: ActionContext, run: SubmittedRun): void {
  output.document('tileloom.cli.run-start/1', run, () =>
    [
      formatFacts([
        ['run', run.runId],
        ['sink', run.sink],
        ['spec', run.specDigest],
      ]),
      '',
      'work on it: tileloom worker start   (where no worker runs yet)',
      `watch it:   tileloom run watch ${run.runId}`,
      `its plans:  tileloom plan list ${run.runId}`,
    ].join('\n'),
  );
}

async function watchStarted(
  action: ActionContext,
  session: Session,
  run: SubmittedRun,
  worker: ChildWorker | null,
): Promise<number> {
  try {
    const read = (): ReturnType<typeof readStatus> => readStatus(session, run.runId);
    const watched = follow(action, run.runId, read, { quiet: undefined });
    const followed = await (worker === null ? watched : Promise.race([watched, worker.failed]));
    if (action.output.format === 'json') {
      action.output.document(
        'tileloom.cli.run-start/1',
        { ...run, final: followed.report },
        () => '',
      );
    }
    return finishFollowing(action, run.runId, followed, action.output.format !== 'json');
  } finally {
    await worker?.stop();
  }
}
