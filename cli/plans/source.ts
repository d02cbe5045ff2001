// Owns where plan commands read from: a run of the server, a run's sink, or an export file. All give
// the same lines in the same order.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { readClaim } from '../../datasets/index.ts';
import {
  readExport,
  runLines,
  serviceHistory,
  storedRecipes,
  type HistoryLine,
  type StoredRecipes,
} from '../../history/index.ts';
import { POLICIES } from '../../planner/index.ts';
import { REGISTRY } from '../../registry/index.ts';
import type { OptionValues } from '../command.ts';
import { CliError } from '../errors.ts';
import type { CommandIo } from '../io.ts';
import { identify, readExecution, unknownRun } from '../operator/identify.ts';
import { textOf } from '../options.ts';
import type { Output } from '../output.ts';
import { recallRun, type LocalRun } from '../runs/local-runs.ts';
import { requireRunId } from '../runs/with-run.ts';
import { foldersOf, withSession, type Session } from '../session.ts';

export interface PlanSource {
  readonly runId: string;
  /** Where it is from, for people. */
  readonly title: string;
  /** The lines from the first on; may be called again. */
  readonly lines: () => AsyncIterable<HistoryLine>;
  /** Policies and registries by which the plans were made, and those that ship with this version. */
  readonly recipes: () => Promise<StoredRecipes>;
  /** The server, when it was asked. */
  readonly session: Session | null;
  /** Where the run writes, as far as known. */
  readonly sink: string | null;
}

export interface SourceContext {
  readonly io: CommandIo;
  readonly output: Output;
}

export const RUN_ARGUMENT: readonly [string, string] = ['[run]', 'run id; not needed with --from'];

export const FROM_OPTION: readonly [string, string] = [
  '--from <path>',
  'read an export, or the sealed records of a sink, instead of the server',
];

/**
 * Opens what a command line names and runs a function with it.
 *
 * @throws {CliError} `CLI_USAGE`, `CLI_FILE_UNREADABLE`, `CLI_RUN_UNKNOWN`, `CLI_SERVER_UNREACHABLE`
 */
export async function withPlans<T>(
  context: SourceContext,
  runId: string | undefined,
  options: OptionValues,
  run: (source: PlanSource) => Promise<T>,
): Promise<T> {
  const from = textOf(options, 'from');
  if (from !== undefined) {
    return run(await openPath(context, from, runId));
  }
  if (runId === undefined || runId === '') {
    throw new CliError(
      'CLI_USAGE',
      'no run is named: expected a run id or --from with an export file or a sink, got neither; ' +
        'see tileloom run list',
    );
  }
  requireRunId(runId);
  return withLiveRun(context, runId, run);
}

/** A run id, or the path of an export or a sink where `plan diff` takes either. */
export async function withPlansNamed<T>(
  context: SourceContext,
  name: string,
  run: (source: PlanSource) => Promise<T>,
): Promise<T> {
  const isPath = name.includes('/') || (await kindOf(resolve(context.io.cwd, name))) !== 'none';
  return withPlans(context, isPath ? undefined : name, isPath ? { from: name } : {}, run);
}

async function openPath(
  context: SourceContext,
  from: string,
  runId: string | undefined,
): Promise<PlanSource> {
  const path = resolve(context.io.cwd, from);
  const kind = await kindOf(path);
  if (kind === 'none') {
    throw new CliError(
      'CLI_FILE_UNREADABLE',
      `${from} cannot be read: expected an export file or a sink, got nothing there; check the path`,
      { details: { file: from } },
    );
  }
  const source = kind === 'folder' ? await sinkSource(path, from) : await exportSource(path, from);
  if (runId !== undefined && runId !== '' && runId !== source.runId) {
    throw new CliError(
      'CLI_USAGE',
      `${from} is of another run: expected ${runId}, got ${source.runId}; leave the run id out`,
      { details: { file: from, expected: runId, got: source.runId } },
    );
  }
  return source;
}

async function kindOf(path: string): Promise<'file' | 'folder' | 'none'> {
  const found = await stat(path).catch(() => null);
  return found === null ? 'none' : found.isDirectory() ? 'folder' : 'file';
}

async function exportSource(path: string, name: string): Promise<PlanSource> {
  const open = () => readExport(createReadStream(path), name);
  const { header } = await open();
  return {
    runId: header.runId,
    title: `export ${name}`,
    lines: async function* () {
      yield* (await open()).lines;
    },
    recipes: () => Promise.resolve(withShipped(header)),
    session: null,
    sink: null,
  };
}

async function sinkSource(path: string, name: string): Promise<PlanSource> {
  const runId = await readClaim(path);
  if (runId === null) {
    throw new CliError(
      'CLI_FILE_UNREADABLE',
      `${name} is no sink of a run: expected the folder that a run writes to, got another one; ` +
        'check the path',
      { details: { file: name } },
    );
  }
  return {
    runId,
    title: `sealed records in ${name}`,
    lines: () => runLines(runId, { service: null, sink: path }),
    recipes: async () => withShipped(await storedRecipes(path)),
    session: null,
    sink: path,
  };
}

/** A run of the server; what the server has forgotten comes from the run's sink. */
async function withLiveRun<T>(
  context: SourceContext,
  runId: string,
  run: (source: PlanSource) => Promise<T>,
): Promise<T> {
  const { io, output } = context;
  const local = await recallRun(foldersOf(io.env).runsFolder, runId);
  let entered = false;
  try {
    return await withSession(io, {}, async (session) => {
      const execution = await readExecution(session.client, runId);
      if (execution === null) {
        if (local === null) throw unknownRun(runId);
        const sealed = await localSource(local);
        output.note(forgotten(runId, local));
        entered = true;
        return run({ ...sealed, session });
      }
      const { input } = identify(runId, execution, local);
      entered = true;
      return run(liveSource(context, session, runId, input.spec.sink.path));
    });
  } catch (error) {
    const isSilent = error instanceof CliError && error.code === 'CLI_SERVER_UNREACHABLE';
    if (entered || !isSilent || local === null) throw error;
    output.note(`the server cannot be reached; reading the sealed records in ${local.sink}`);
    return run(await localSource(local));
  }
}

function liveSource(
  { output }: SourceContext,
  session: Session,
  runId: string,
  sink: string,
): PlanSource {
  const noted = new Set<number | null>();
  const onForgotten = (shard: number | null): void => {
    if (noted.has(shard)) return;
    noted.add(shard);
    const what = shard === null ? `run ${runId}` : `the beginning of shard ${String(shard)}`;
    output.note(`the server has forgotten ${what}; its sealed records in ${sink} stand in`);
  };
  const service = serviceHistory(session.client);
  return {
    runId,
    title: `run ${runId}`,
    lines: () => runLines(runId, { service, sink, onForgotten }),
    recipes: async () => withShipped(await storedRecipes(sink)),
    session,
    sink,
  };
}

async function localSource(local: LocalRun): Promise<PlanSource> {
  try {
    return await sinkSource(local.sink, local.sink);
  } catch (cause) {
    throw new CliError(
      'CLI_RUN_FORGOTTEN',
      `run ${local.runId} is forgotten: expected it on this server or in its sink, got neither in ` +
        `${local.sink}; read an export with --from`,
      { details: { runId: local.runId, sink: local.sink }, cause },
    );
  }
}

function forgotten(runId: string, { sink }: LocalRun): string {
  return `the server has forgotten run ${runId}; its sealed records in ${sink} stand in`;
}

/** What ships with this version is known by its digest, too, so a lost copy costs nothing. */
function withShipped({ policies, registries }: StoredRecipes): StoredRecipes {
  const missing = <T extends { digest: string }>(
    shipped: readonly T[],
    stored: readonly unknown[],
  ) =>
    shipped.filter(
      ({ digest }) =>
        !stored.some((one) => (one as { digest?: unknown } | null)?.digest === digest),
    );
  return {
    policies: [...policies, ...missing(POLICIES, policies)],
    registries: [...registries, ...missing([REGISTRY], registries)],
  };
}
