// Owns `tileloom run retry | skip | errors`: parked tiles, in an open run and after it has ended.
import type { Command } from 'commander';
import { escapeControl, type OperatorCommand, type ParkedSelection } from '../../operator/index.ts';
import { startChildWorker } from '../child-worker.ts';
import {
  addGroup,
  addLeaf,
  type ActionContext,
  type OptionValues,
  type ProgramContext,
} from '../command.ts';
import { CliError } from '../errors.ts';
import { formatCount, formatTable, formatTime } from '../format.ts';
import {
  control,
  controlOptions,
  identifyRun,
  printAnswer,
  REASON_OPTION,
  requestOf,
  RUN_ARGUMENT,
} from '../operator/command.ts';
import type { RunIdentity } from '../operator/identify.ts';
import { SEND_TIMEOUT_MS } from '../operator/send.ts';
import { formatTiles, parseTileRanges } from '../operator/tile-ranges.ts';
import { countOption, flagOf, numberOf, requiredOption, textOf } from '../options.ts';
import type { ErrorGroup } from '../runs/error-groups.ts';
import { finishFollowing, follow } from '../runs/follow-command.ts';
import { parsePin } from '../runs/pins.ts';
import { readStatus } from '../runs/read-status.ts';
import { reopenRun, requireSomethingToDo, type ReopenedRun } from '../runs/reopen-run.ts';
import { rootsOf } from '../runs/roots.ts';
import { requireRunId, withRun } from '../runs/with-run.ts';
import type { Session } from '../session.ts';
import { RUN_GROUP } from './run-group.ts';

type ParkedCommand = Extract<OperatorCommand, { verb: 'retry' | 'skip' }>;

const SELECTION: readonly (readonly [string, string])[] = [
  ['--tiles <ranges>', 'only these, such as 3-7,9'],
  ['--fingerprint <id>', 'only tiles parked with this error, as run errors shows it'],
];
const STAY: readonly (readonly [string, string])[] = [
  ['--with-worker', 'also run a worker, here, until the run ends (implies --watch)'],
  ['--watch', 'show progress until the run ends; Ctrl-C detaches, the run goes on'],
];

/** Adds the commands. */
export function addRunParked(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'run', RUN_GROUP);
  addLeaf(group, context, {
    name: 'retry',
    summary: 'Compute parked tiles again, in an open run or in one that has ended.',
    args: [RUN_ARGUMENT],
    options: [
      ...SELECTION,
      ['--pin <aspect=value>', 'fix an aspect of the plans of these tiles'],
      countOption('--failed-tiles <n>', 'parked tiles with which the run still goes on', 0),
      ...STAY,
      REASON_OPTION,
      ...controlOptions(),
    ],
    examples: [
      'tileloom run retry RUN',
      'tileloom run retry RUN --tiles 3-7,9 --pin variant=assign/brute-exact@1',
      'tileloom run retry RUN --with-worker --reason input-restored',
    ],
    run: (action, [runId = ''], options) =>
      runParked(
        action,
        runId,
        { verb: 'retry', select: selectOf(options), pin: pinOf(options) },
        options,
      ),
  });
  addLeaf(group, context, {
    name: 'skip',
    summary: 'Accept that parked tiles are left out; they no longer make the result partial.',
    args: [RUN_ARGUMENT],
    options: [
      ...SELECTION,
      requiredOption('--reason <text>', 'why; kept in the audit and shown to others'),
      ...STAY,
      ...controlOptions(),
    ],
    examples: [
      'tileloom run skip RUN --tiles 17 --reason known-bad',
      'tileloom run skip RUN --fingerprint TILE_CORRUPT --reason lost-disk',
    ],
    run: (action, [runId = ''], options) => {
      const select = selectOf(options);
      if (select.tiles === null && select.fingerprint === null) {
        throw new CliError(
          'CLI_USAGE',
          'no tiles are named: expected --tiles or --fingerprint, got neither; see tileloom run errors',
        );
      }
      return runParked(action, runId, { verb: 'skip', select }, options);
    },
  });
  addErrors(group, context);
}

function selectOf(options: OptionValues): ParkedSelection {
  const tiles = textOf(options, 'tiles');
  return {
    tiles: tiles === undefined ? null : parseTileRanges(tiles),
    fingerprint: textOf(options, 'fingerprint') ?? null,
  };
}

function pinOf(options: OptionValues): Extract<ParkedCommand, { verb: 'retry' }>['pin'] {
  const text = textOf(options, 'pin');
  if (text === undefined) {
    return null;
  }
  const { aspect, value } = parsePin(text, '');
  return { aspect, value };
}

async function runParked(
  action: ActionContext,
  runId: string,
  command: ParkedCommand,
  options: OptionValues,
): Promise<number | undefined> {
  requireRunId(runId);
  const request = requestOf(command, options);
  return withRun(action.io, runId, async (session) => {
    const run = await identifyRun(session, runId);
    const worker = flagOf(options, 'withWorker')
      ? startChildWorker({
          io: action.io,
          roots: await rootsOf(run.input.spec),
          logFile: `${session.logsFolder}/worker-${runId}.log`,
        })
      : null;
    try {
      const work = ask(action, session, run, request, options);
      await (worker === null ? work : Promise.race([work, worker.failed]));
      if (worker === null && !flagOf(options, 'watch')) {
        return undefined;
      }
      const read = (): ReturnType<typeof readStatus> => readStatus(session, runId);
      const watched = follow(action, runId, read, { quiet: undefined });
      const followed = await (worker === null ? watched : Promise.race([watched, worker.failed]));
      return finishFollowing(action, runId, followed, true);
    } finally {
      await worker?.stop();
    }
  });
}

/** An Update to an open run; a new execution of one that has ended. */
async function ask(
  action: ActionContext,
  session: Session,
  run: RunIdentity,
  request: ReturnType<typeof requestOf>,
  options: OptionValues,
): Promise<void> {
  const failedTiles = numberOf(options, 'failedTiles');
  // A worker that is only being started takes a while until it answers.
  const patienceMs =
    numberOf(options, 'timeout') ?? (flagOf(options, 'withWorker') ? 60_000 : SEND_TIMEOUT_MS);
  const patient = { ...options, timeout: patienceMs };
  if (run.open) {
    // The run itself takes the order while a shard may have news; asked here, they all have spoken.
    if (textOf(options, 'requestId') === undefined) {
      await requireSomethingToDo(session, run, request);
    }
    if (failedTiles !== undefined) {
      const limits = requestOf(
        { verb: 'limits', set: { failedTiles } },
        { ...options, requestId: `${request.id}-limits` },
      );
      await control(session, action, run, limits, patient);
    }
    // The epoch that was asked for was checked with the first of the two requests.
    const second = failedTiles === undefined ? request : { ...request, expectedEpoch: null };
    printAnswer(action, run.runId, await control(session, action, run, second, patient));
    return;
  }
  const reopened = await reopenRun(session, run, request, { failedTiles, patienceMs });
  printReopened(action, reopened);
}

function printReopened({ output }: ActionContext, run: ReopenedRun): void {
  const name = run.verb === 'retry' ? 'run-retry' : 'run-skip';
  output.document(`tileloom.cli.${name}/1`, run, () =>
    [
      `accepted@${String(run.epoch)}: run ${run.runId} goes on from its ledger, in its ` +
        `${ordinal(run.generation + 1)} publication`,
      `watch it: tileloom run watch ${run.runId}`,
    ].join('\n'),
  );
}

function ordinal(value: number): string {
  const names = ['first', 'second', 'third', 'fourth', 'fifth'];
  return names[value - 1] ?? `${String(value)}th`;
}

function addErrors(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'errors',
    summary: 'Group what went wrong by its fingerprint: how often, when, where, parked or not.',
    args: [RUN_ARGUMENT],
    examples: ['tileloom run errors RUN', 'tileloom run errors RUN -o jsonl'],
    run: ({ io, output }, [runId = '']) =>
      withRun(io, runId, async (session) => {
        await identifyRun(session, runId);
        // Reading histories loads much that the requests above do not need.
        const { readErrorGroups } = await import('../runs/run-errors.ts');
        const errors = await readErrorGroups(session.client, runId);
        const names = {
          schema: 'tileloom.cli.run-errors/1',
          itemSchema: 'tileloom.cli.run-error/1',
          key: 'errors',
        };
        output.list(names, errors, () => errorsTable(errors));
        return undefined;
      }),
  });
}

function errorsTable(errors: readonly ErrorGroup[]): string {
  if (errors.length === 0) {
    return 'no errors';
  }
  const headings = [
    'fingerprint',
    'class',
    'count',
    'parked',
    'first seen',
    'last seen',
    'tiles',
    'example',
  ];
  return formatTable(
    headings,
    errors.map((group) => [
      escapeControl(group.fingerprint),
      group.errorClass,
      formatCount(group.count),
      formatCount(group.parkedNow),
      formatTime(group.firstSeen),
      formatTime(group.lastSeen),
      formatTiles(group.tiles),
      escapeControl(group.message),
    ]),
  );
}
