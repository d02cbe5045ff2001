// Owns `tileloom run pause | resume | cancel | limits`: requests to an open run.
import { Option, type Command } from 'commander';
import type { OperatorLimits } from '../../operator/index.ts';
import {
  addGroup,
  addLeaf,
  type ActionContext,
  type OptionValues,
  type ProgramContext,
} from '../command.ts';
import { CliError } from '../errors.ts';
import {
  control,
  controlOptions,
  identifyRun,
  printAnswer,
  REASON_OPTION,
  requestOf,
  RUN_ARGUMENT,
  runControl,
} from '../operator/command.ts';
import { runEnded } from '../operator/send.ts';
import { countOption, durationOption, flagOf, numberOf, textOf } from '../options.ts';
import { followUntil } from '../runs/follow-command.ts';
import { readStatus } from '../runs/read-status.ts';
import { withRun } from '../runs/with-run.ts';
import { RUN_GROUP } from './run-group.ts';

/** Adds the commands. */
export function addRunControl(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'run', RUN_GROUP);
  addPause(group, context);
  addLeaf(group, context, {
    name: 'resume',
    summary: 'End a pause; lanes claim hosts again.',
    args: [RUN_ARGUMENT],
    options: [REASON_OPTION, ...controlOptions()],
    examples: ['tileloom run resume RUN'],
    run: (action, [runId = ''], options) => runControl(action, runId, { verb: 'resume' }, options),
  });
  addLeaf(group, context, {
    name: 'cancel',
    summary: 'Stop a run at the next chunk boundary; what is finished is sealed and stays.',
    args: [RUN_ARGUMENT],
    options: [REASON_OPTION, ...controlOptions()],
    examples: ['tileloom run cancel RUN', 'tileloom run cancel RUN --reason wrong-layer'],
    run: cancelRun,
  });
  addLimits(group, context);
}

function addPause(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'pause',
    summary: 'Start no further chunk; those in flight finish, or stop at their next batch.',
    args: [RUN_ARGUMENT],
    options: [
      new Option('--mode <mode>', 'drain: finish chunks in flight; now: cancel them')
        .choices(['drain', 'now'])
        .default('drain'),
      durationOption('--ttl <duration>', 'resume by itself after this long'),
      ['--wait', 'wait until no chunk is in flight'],
      REASON_OPTION,
      ...controlOptions(),
    ],
    examples: [
      'tileloom run pause RUN',
      'tileloom run pause RUN --mode now --ttl 30m --reason maintenance',
      'tileloom run pause RUN --wait -o json',
    ],
    run: (action, [runId = ''], options) => {
      const mode = textOf(options, 'mode') === 'now' ? 'now' : 'drain';
      const ttlMs = numberOf(options, 'ttl') ?? null;
      return runControl(action, runId, { verb: 'pause', mode, ttlMs }, options, (session) =>
        flagOf(options, 'wait')
          ? followUntil(action, session, runId, { goal: 'drained', timeoutMs: undefined })
          : Promise.resolve(undefined),
      );
    },
  });
}

/** A run that is cancelled already is as asked for; one that ended otherwise is not. */
function cancelRun(
  action: ActionContext,
  [runId = '']: readonly string[],
  options: OptionValues,
): Promise<number | undefined> {
  const request = requestOf({ verb: 'cancel' }, options);
  return withRun(action.io, runId, async (session) => {
    const run = await identifyRun(session, runId);
    if (run.open) {
      const controlled = await control(session, action, run, request, options);
      printAnswer(action, runId, controlled, { requested: true });
      return undefined;
    }
    const { phase } = await readStatus(session, runId);
    if (phase !== 'cancelled') {
      throw runEnded(run);
    }
    action.output.document(
      'tileloom.cli.run-cancel/1',
      { runId, requestId: request.id, queued: false, changed: false, requested: false, phase },
      () => `run ${runId} has ended already (${phase})`,
    );
    return undefined;
  });
}

function addLimits(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'limits',
    summary: 'Change limits of a run that goes on; they hold from the next chunk on.',
    args: [RUN_ARGUMENT],
    options: [
      countOption('--lanes <n>', 'lanes of each shard'),
      durationOption('--chunk-seconds <duration>', 'time a chunk is planned to take'),
      ['--cadence <n>', 'plan every-chunk, or once for so many chunks'],
      ['--memory <size>', 'memory a chunk may take, such as 2GiB'],
      countOption('--failed-tiles <n>', 'parked tiles with which the run still goes on', 0),
      REASON_OPTION,
      ...controlOptions(),
    ],
    examples: [
      'tileloom run limits RUN --lanes 4',
      'tileloom run limits RUN --chunk-seconds 10 --memory 512MiB --reason big-tiles',
    ],
    run: async (action, [runId = ''], options) =>
      runControl(action, runId, { verb: 'limits', set: await limitsOf(options) }, options),
  });
}

type Writable<T> = { -readonly [Key in keyof T]?: T[Key] };

async function limitsOf(options: OptionValues): Promise<Partial<OperatorLimits>> {
  const set: Writable<OperatorLimits> = {};
  const lanes = numberOf(options, 'lanes');
  const chunkMs = numberOf(options, 'chunkSeconds');
  const failedTiles = numberOf(options, 'failedTiles');
  const cadence = textOf(options, 'cadence');
  const memory = textOf(options, 'memory');
  if (lanes !== undefined) set.lanes = lanes;
  if (chunkMs !== undefined) set.chunkSecondsTarget = chunkMs / 1000;
  if (failedTiles !== undefined) set.failedTiles = failedTiles;
  if (cadence !== undefined) set.cadence = cadenceOf(cadence);
  if (memory !== undefined) set.memoryBytesMax = await bytesOf(memory);
  if (Object.keys(set).length === 0) {
    throw new CliError(
      'CLI_USAGE',
      'no limit is given: expected at least one of --lanes, --chunk-seconds, --cadence, --memory, ' +
        '--failed-tiles, got none',
    );
  }
  return set;
}

async function bytesOf(text: string): Promise<number> {
  const { parseSize } = await import('../../spec/index.ts');
  const bytes = parseSize(text);
  if (bytes === null) {
    throw new CliError(
      'CLI_USAGE',
      `memory ${JSON.stringify(text)} is not valid: expected a size with a unit such as 2GiB, ` +
        `got ${JSON.stringify(text)}`,
    );
  }
  return bytes;
}

function cadenceOf(text: string): OperatorLimits['cadence'] {
  if (text === 'every-chunk') {
    return text;
  }
  const chunks = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(chunks) || chunks < 1) {
    throw new CliError(
      'CLI_USAGE',
      `cadence ${JSON.stringify(text)} is not valid: expected every-chunk or a whole number of chunks, ` +
        `got ${JSON.stringify(text)}`,
    );
  }
  return chunks;
}
