// Owns `tileloom pin set | list | clear`: constraints that no plan overrides.
import { Option, type Command } from 'commander';
import { escapeControl, type PinWish } from '../../operator/index.ts';
import type { PinAspect, PinScope } from '../../planner/index.ts';
import { SHARD_STATUS_QUERY, type ShardStatus } from '../../workflows/messages.ts';
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
  controlOptions,
  identifyRun,
  REASON_OPTION,
  RUN_ARGUMENT,
  runControl,
} from '../operator/command.ts';
import { servicePort } from '../operator/port.ts';
import { parseTileRange } from '../operator/tile-ranges.ts';
import {
  countOption,
  durationOption,
  flagOf,
  numberOf,
  requiredOption,
  textOf,
} from '../options.ts';
import {
  chunksByPin,
  reportPins,
  scopeText,
  type PinReport,
  type PinUses,
} from '../runs/pin-report.ts';
import { parsePin } from '../runs/pins.ts';
import { withRun } from '../runs/with-run.ts';
import type { Session } from '../session.ts';

/** Option of each aspect, as Commander names it. */
const ASPECTS: Readonly<Record<PinAspect, string>> = {
  variant: 'variant',
  runtime: 'runtime',
  precision: 'precision',
  chunkRows: 'chunkRows',
  device: 'device',
  host: 'host',
};
const STATUS_MS = 3_000;

/** Adds the group. */
export function addPinCommands(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'pin', 'Fix what plans of an open run may choose.');
  addSet(group, context);
  addLeaf(group, context, {
    name: 'list',
    summary:
      'List the pins of a run: by whom, why, what is left of them, which chunks they touched.',
    args: [RUN_ARGUMENT],
    examples: ['tileloom pin list RUN', 'tileloom pin list RUN -o json'],
    run: listPins,
  });
  addLeaf(group, context, {
    name: 'clear',
    summary: 'Remove pins from a run; plans made after that are free again.',
    args: [RUN_ARGUMENT, ['[pins...]', 'ids as pin list shows them']],
    options: [['--all', 'every pin'], REASON_OPTION, ...controlOptions()],
    examples: ['tileloom pin clear RUN pin-3', 'tileloom pin clear RUN --all'],
    run: (action, [runId = '', ...ids], options) => {
      if (flagOf(options, 'all') === ids.length > 0) {
        throw usage(
          'no pins are named, or too many: expected ids or --all, got ' +
            (ids.length > 0 ? 'both' : 'neither'),
        );
      }
      return runControl(
        action,
        runId,
        { verb: 'unpin', ids: ids.length > 0 ? ids : null },
        options,
      );
    },
  });
}

function addSet(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'set',
    summary: 'Pin aspects of every later plan; a plan that was not executed yet is made again.',
    args: [RUN_ARGUMENT],
    options: [
      ['--variant <id>', 'kernel variant, such as assign/grid-avx2@1'],
      new Option('--runtime <runtime>', 'where chunks run').choices(['cpu', 'gpu']),
      new Option('--precision <precision>', 'precision to compute in').choices(['fp32', 'fp64']),
      countOption('--chunk-rows <n>', 'rows of a chunk, in whole tiles'),
      ['--device <id>', 'device of the host, such as cpu'],
      ['--host <id>', 'host that claims the chunks'],
      ['--operation <name>', 'only for this operation'],
      ['--tiles <range>', 'only for these tiles, such as 120-183'],
      countOption('--chunks <n>', 'only for the next n chunks of each shard'),
      durationOption('--ttl <duration>', 'drop the pin after this long'),
      countOption('--ttl-chunks <n>', 'drop the pin after n chunks of each shard'),
      new Option('--if-impossible <what>', 'what the run does when it cannot be honoured')
        .choices(['hold', 'fail'])
        .default('hold'),
      ['--allow-absent', 'accept a host that no worker serves at present'],
      requiredOption('--reason <text>', 'why; kept in the audit and cited by plans'),
      ...controlOptions(),
    ],
    examples: [
      'tileloom pin set RUN --variant assign/grid-scalar@1 --reason compare',
      'tileloom pin set RUN --host big-1 --tiles 120-183 --ttl 30m --reason hot-tiles',
    ],
    run: (action, [runId = ''], options) =>
      runControl(action, runId, { verb: 'pin', pins: wishesOf(options) }, options),
  });
}

/** One wish for each aspect that is given, all with the same scope and time to live. */
export function wishesOf(options: OptionValues): readonly PinWish[] {
  const scope = scopeOf(options);
  const wishes = Object.entries(ASPECTS).flatMap(([aspect, name]) => {
    const value = textOf(options, name) ?? numberOf(options, name);
    return value === undefined ? [] : [parsePin(`${aspect}=${String(value)}`, '')];
  });
  if (wishes.length === 0) {
    throw usage(
      'no aspect is given: expected at least one of --variant, --runtime, --precision, --chunk-rows, ' +
        '--device, --host, got none',
    );
  }
  return wishes.map(({ aspect, value }) => ({
    aspect,
    value,
    scope,
    ttlMs: numberOf(options, 'ttl') ?? null,
    ttlChunks: numberOf(options, 'ttlChunks') ?? null,
    ifImpossible: textOf(options, 'ifImpossible') === 'fail' ? 'fail' : 'hold',
    allowAbsent: flagOf(options, 'allowAbsent'),
  }));
}

function scopeOf(options: OptionValues): PinScope {
  const operation = textOf(options, 'operation');
  const tiles = textOf(options, 'tiles');
  const count = numberOf(options, 'chunks');
  if ([operation, tiles, count].filter((one) => one !== undefined).length > 1) {
    throw usage(
      'the scope is not clear: expected one of --operation, --tiles, --chunks, got several',
    );
  }
  if (operation !== undefined) return { kind: 'operation', operation };
  if (count !== undefined) return { kind: 'chunks', count };
  if (tiles === undefined) return { kind: 'run' };
  const { firstTile, endTile } = parseTileRange(tiles);
  return { kind: 'tiles', firstTile, lastTile: endTile - 1 };
}

function listPins(
  { io, output }: ActionContext,
  [runId = '']: readonly string[],
): Promise<number | undefined> {
  return withRun(io, runId, async (session) => {
    await identifyRun(session, runId);
    const status = await servicePort(session.client, runId).status(Date.now() + STATUS_MS);
    if (status === null) {
      throw new CliError(
        'CLI_NO_WORKER',
        `the pins of run ${runId} cannot be read: expected a worker to answer, got none; ` +
          'start one (tileloom worker start)',
        { retryable: true, details: { runId } },
      );
    }
    const [uses, affected] = await Promise.all([
      Promise.all(status.openShards.map((shard) => usesOf(session, shard.workflowId))),
      affectedChunks(session, runId),
    ]);
    const pins = reportPins(status.operator, uses.flat(), affected);
    const names = {
      schema: 'tileloom.cli.pin-list/1',
      itemSchema: 'tileloom.cli.pin/1',
      key: 'pins',
    };
    output.list(names, pins, () => pinsTable(pins));
    return undefined;
  });
}

async function usesOf({ client }: Session, workflowId: string): Promise<readonly PinUses[]> {
  try {
    const { shard, pinUses } = await client.connection.withDeadline(Date.now() + STATUS_MS, () =>
      client.workflow.getHandle(workflowId).query<ShardStatus>(SHARD_STATUS_QUERY),
    );
    return [{ shard, pinUses }];
  } catch {
    // A shard that does not answer, or has just ended, leaves its number out.
    return [];
  }
}

async function affectedChunks(
  { client }: Session,
  runId: string,
): Promise<ReadonlyMap<string, readonly string[]>> {
  // Reading histories loads much that setting a pin does not need.
  const { runLines, serviceHistory } = await import('../history/source.ts');
  return chunksByPin(runLines(serviceHistory(client), runId));
}

function pinsTable(pins: readonly PinReport[]): string {
  if (pins.length === 0) {
    return 'no pins';
  }
  return formatTable(
    ['pin', 'aspect', 'value', 'scope', 'by', 'epoch', 'until', 'chunks left', 'touched', 'reason'],
    pins.map((pin) => [
      pin.id,
      pin.aspect,
      String(pin.value),
      scopeText(pin.scope),
      escapeControl(pin.author),
      String(pin.epoch),
      formatTime(pin.expiresAt),
      chunksLeftText(pin),
      touchedText(pin.affected),
      escapeControl(pin.reason),
    ]),
  );
}

function chunksLeftText({ chunksLeftByShard }: PinReport): string {
  const left = Object.entries(chunksLeftByShard);
  return left.length === 0
    ? '-'
    : left.map(([shard, chunks]) => `${String(chunks)} in shard ${shard}`).join(', ');
}

const TOUCHED_MAX = 4;

function touchedText(chunks: readonly string[]): string {
  const more = chunks.length - TOUCHED_MAX;
  const shown = chunks.slice(-TOUCHED_MAX).join(' ');
  return more > 0 ? `${formatCount(more)} chunks, then ${shown}` : shown || '-';
}

function usage(message: string): CliError {
  return new CliError('CLI_USAGE', message);
}
