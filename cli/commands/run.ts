// Owns `tileloom run`: start, list, status, watch, wait, cancel, clean.
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import { cleanSink, readManifest } from '../../datasets/index.ts';
import { runWorkflowId } from '../../workflows/messages.ts';
import { startChildWorker, type ChildWorker } from '../child-worker.ts';
import {
  addGroup,
  addLeaf,
  type ActionContext,
  type OptionValues,
  type ProgramContext,
} from '../command.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { loadSpec } from '../files.ts';
import { formatBytes, formatCount, formatFacts, formatTable, formatTime } from '../format.ts';
import { interruptible } from '../io.ts';
import {
  countOption,
  durationOption,
  flagOf,
  listOf,
  listOption,
  numberOf,
  textOf,
} from '../options.ts';
import { exitCodeOfPhase, followRun, type Followed } from '../runs/follow.ts';
import { keptFiles } from '../runs/kept-files.ts';
import { listRuns } from '../runs/list.ts';
import { recallRun, rememberRun } from '../runs/local-runs.ts';
import { parsePin } from '../runs/pins.ts';
import { renderStatus } from '../runs/render-status.ts';
import {
  checkBeforeStart,
  makeRunId,
  nearestFolder,
  overrideSpec,
  submitRun,
  type StartOverrides,
  type SubmittedRun,
} from '../runs/start.ts';
import { readRunStatus, type RunReport } from '../runs/status.ts';
import { requireRunId, withRun } from '../runs/with-run.ts';
import { withSession, type Session } from '../session.ts';

const STATUS_SCHEMA = 'tileloom.cli.run-status/1';
const RUN_ARGUMENT: readonly [string, string] = ['<run>', 'run id, as run start printed it'];

/** Adds the group. */
export function addRunCommands(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'run', 'Start runs and see how they do.');
  addStart(group, context);
  addLeaf(group, context, {
    name: 'list',
    summary: 'List the runs that the server knows, latest first.',
    options: [countOption('--limit <n>', 'at most so many (default 50)')],
    examples: ['tileloom run list', 'tileloom run list -o jsonl'],
    run: ({ io, output }, _args, options) =>
      withSession(io, {}, async (session) => {
        const runs = await listRuns(session, numberOf(options, 'limit') ?? 50);
        const names = {
          schema: 'tileloom.cli.run-list/1',
          itemSchema: 'tileloom.cli.run-list-item/1',
          key: 'runs',
        };
        output.list(names, runs, () =>
          formatTable(
            ['run', 'pipeline', 'state', 'started', 'sink'],
            runs.map((run) => [
              run.runId,
              run.name ?? '-',
              run.state,
              formatTime(run.startedAt),
              run.sink ?? '-',
            ]),
          ),
        );
        return undefined;
      }),
  });
  addLeaf(group, context, {
    name: 'status',
    summary: 'Show how far a run is, what it does, and what it waits for.',
    args: [RUN_ARGUMENT],
    examples: ['tileloom run status RUN', 'tileloom run status RUN -o json'],
    run: ({ io, output }, [runId = '']) =>
      withRun(io, runId, async (session) => {
        const report = await readStatus(session, runId);
        output.document(STATUS_SCHEMA, report, () => renderStatus(report));
        return undefined;
      }),
  });
  addFollowing(group, context);
  addLeaf(group, context, {
    name: 'cancel',
    summary: 'Stop a run at the next chunk boundary; what is finished is sealed and stays.',
    args: [RUN_ARGUMENT],
    examples: ['tileloom run cancel RUN'],
    run: ({ io, output }, [runId = '']) =>
      withRun(io, runId, async (session) => {
        const report = await readStatus(session, runId);
        if (report.open) {
          await session.client.workflow.getHandle(runWorkflowId(runId)).cancel();
        }
        const cancelled = { runId, requested: report.open, phase: report.phase };
        output.document('tileloom.cli.run-cancel/1', cancelled, () =>
          report.open
            ? `cancel requested; watch it end: tileloom run wait ${runId}`
            : `run ${runId} has ended already (${report.phase})`,
        );
        return undefined;
      }),
  });
  addClean(group, context);
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
    const roots = await rootsOf(
      spec.source.dataset,
      spec.layers[spec.steps[0].layer]?.file,
      spec.sink.path,
    );
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

/** Folders under which a worker for this run must be allowed to read and write. */
async function rootsOf(
  dataset: string,
  layer: string | undefined,
  sink: string,
): Promise<readonly string[]> {
  const folders = [dataset, ...(layer === undefined ? [] : [dirname(layer)]), dirname(sink)];
  return [...new Set(await Promise.all(folders.map((folder) => nearestFolder(folder))))];
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
    const read = (): Promise<RunReport> => readStatus(session, run.runId);
    const watched = follow(action, run.runId, read, undefined);
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

function addFollowing(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'watch',
    summary: 'Show progress, time left and the current plan until the run ends.',
    args: [RUN_ARGUMENT],
    examples: ['tileloom run watch RUN', 'tileloom run watch RUN -o jsonl > progress.jsonl'],
    run: (action, [runId = '']) =>
      withRun(action.io, runId, async (session) => {
        const read = (): Promise<RunReport> => readStatus(session, runId);
        const followed = await follow(action, runId, read, undefined);
        return finishFollowing(action, runId, followed, true);
      }),
  });
  addLeaf(group, context, {
    name: 'wait',
    summary: 'Wait silently until the run ends; the exit code tells how.',
    args: [RUN_ARGUMENT],
    options: [durationOption('--timeout <duration>', 'give up after this long, with exit code 6')],
    examples: ['tileloom run wait RUN --timeout 2h && echo done'],
    run: (action, [runId = ''], options) =>
      withRun(action.io, runId, async (session) => {
        const read = (): Promise<RunReport> => readStatus(session, runId);
        const timeoutMs = numberOf(options, 'timeout');
        const followed = await follow(action, runId, read, { timeoutMs, quiet: true });
        return finishFollowing(action, runId, followed, true);
      }),
  });
}

async function follow(
  { io, output }: ActionContext,
  runId: string,
  read: () => Promise<RunReport>,
  options: { readonly timeoutMs?: number | undefined; readonly quiet: boolean } | undefined,
): Promise<Followed> {
  const message = `detached; the run goes on. See it again: tileloom run watch ${runId}`;
  let last = '';
  const { value } = await interruptible(io, message, (signal) =>
    followRun({
      io,
      label: runId,
      signal,
      read,
      timeoutMs: options?.timeoutMs,
      quiet: options?.quiet ?? output.format !== 'text',
      onReport: (report) => {
        const line = JSON.stringify([report.phase, report.counts, report.waiting]);
        if (output.format === 'jsonl' && options?.quiet !== true && report.open && line !== last) {
          last = line;
          output.document(STATUS_SCHEMA, report, () => '');
        }
      },
    }),
  );
  return value;
}

/** Prints the final status and gives the exit code. */
function finishFollowing(
  { output }: ActionContext,
  runId: string,
  { report, end }: Followed,
  print: boolean,
): number {
  if (report !== null && print) {
    output.document(STATUS_SCHEMA, report, () => renderStatus(report));
  }
  if (end === 'detached') {
    return EXIT.interrupted;
  }
  if (end === 'timed-out') {
    output.note(`run ${runId} has not ended in time; it goes on`);
    return EXIT.waitTimedOut;
  }
  return report === null ? EXIT.unexpected : exitCodeOfPhase(report.phase);
}

function addClean(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'clean',
    summary: "Remove leftovers from a closed run's sink; what its manifest or ledger names stays.",
    args: [RUN_ARGUMENT],
    examples: ['tileloom run clean RUN'],
    run: ({ io, output }, [runId = '']) =>
      withRun(io, runId, async (session) => {
        const report = await readStatus(session, runId);
        if (report.open) {
          throw new CliError(
            'CLI_RUN_OPEN',
            `run ${runId} cannot be cleaned: expected a closed run, got phase ${report.phase}; ` +
              `wait for it, or cancel it: tileloom run cancel ${runId}`,
            { details: { runId, phase: report.phase } },
          );
        }
        if (report.sink === null) {
          throw new CliError(
            'CLI_RUN_UNKNOWN',
            `run ${runId} has no known sink: expected one from the server or this machine, got none; ` +
              'run the command where the run was started',
            { details: { runId } },
          );
        }
        const published = (await readManifest(report.sink)) !== null;
        const keep = published ? [] : await keptFiles(session.client, runId, report.sink);
        const result = await cleanSink(report.sink, { keep });
        output.document(
          'tileloom.cli.run-clean/1',
          { runId, sink: report.sink, ...result },
          () =>
            `${formatCount(result.removed.length)} files removed, ${formatBytes(result.bytes)} freed`,
        );
        return undefined;
      }),
  });
}

async function readStatus(session: Session, runId: string): Promise<RunReport> {
  const local = await recallRun(session.runsFolder, runId);
  return readRunStatus({ client: session.client, now: session.now, local }, runId);
}
