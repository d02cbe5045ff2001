// Owns `tileloom worker start`: one worker process in the foreground.
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { addGroup, addLeaf, type ActionContext, type ProgramContext } from '../command.ts';
import { CliError } from '../errors.ts';
import type { CommandIo } from '../io.ts';
import { countOption, listOf, listOption, numberOf, sizeOption, textOf } from '../options.ts';
import { explainServiceError } from '../service-errors.ts';
import { settingsOf } from '../session.ts';

/** Adds the group. */
export function addWorkerCommands(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'worker', 'Give this machine to runs.');
  addLeaf(group, context, {
    name: 'start',
    summary: 'Plan and execute chunks on this machine until Ctrl-C (finishes what it has begun).',
    options: [
      ['--host-id <id>', "stable name of this host (default: the machine's name)"],
      listOption(
        '--roots <folder>',
        'folder it may read and write under; may be repeated (default: the current one)',
      ),
      countOption('--threads <n>', 'native calls at once (default: the cores it may use)'),
      countOption('--lanes <n>', 'chunks planned or executed at once (default: two a device)'),
      ['--no-gpu', 'leave the GPUs of this machine alone'],
      sizeOption(
        '--gpu-memory <size>',
        'device memory that each GPU may be given, such as 8GiB (default: 7/8 of what is free)',
      ),
      ['--registry <file>', 'JSON file with variants of external kernel libraries'],
      new Option('--log-level <level>', 'how much it logs (default: info)').choices([
        ...['debug', 'info', 'warn', 'error'],
      ]),
    ],
    examples: [
      'tileloom worker start',
      'tileloom worker start --roots /data --roots /results --threads 8',
      'tileloom worker start --gpu-memory 16GiB',
    ],
    run: (action, _args, options) => runWorker(action, options),
  });
}

async function runWorker(
  { io, output }: ActionContext,
  options: Readonly<Record<string, unknown>>,
): Promise<undefined> {
  const roots = await rootsOf(io, listOf(options, 'roots'));
  const settings = await settingsOf(io, { start: true, note: output.note });
  // The worker brings Temporal's native runtime: loaded only here.
  const { startWorker } = await import('../../worker/index.ts');
  const explain = (error: unknown): never => {
    throw explainServiceError(settings, error);
  };
  const worker = await startWorker({
    settings,
    hostId: textOf(options, 'hostId'),
    roots,
    threads: numberOf(options, 'threads'),
    lanes: numberOf(options, 'lanes'),
    externalRegistry: textOf(options, 'registry'),
    useGpus: options['gpu'] !== false,
    gpuMemoryBytesMax: numberOf(options, 'gpuMemory'),
    logLevel: textOf(options, 'logLevel'),
  }).catch(explain);
  output.document(
    'tileloom.cli.worker-start/1',
    {
      ...{ hostId: worker.hostId, devices: worker.deviceIds },
      ...{ address: settings.address, namespace: settings.namespace },
    },
    () =>
      `worker ${worker.hostId} is polling ${settings.address} with ${worker.deviceIds.join(', ')}; ` +
      'Ctrl-C stops it in order',
  );
  const stopping: Promise<void>[] = [];
  const stop = (why: string): void => {
    output.note(why);
    if (stopping.length === 0) {
      stopping.push(worker.shutdown());
    }
  };
  const unregister = io.onInterrupt(() => {
    stop('stopping: no new chunks, those begun are finished; Ctrl-C again ends at once');
  });
  // A parent that started this worker for itself and died without a word.
  const orphaned = (): void => {
    stop('stopping: the process that started this worker is gone');
  };
  process.once('disconnect', orphaned);
  try {
    await worker.run().catch(explain);
    await Promise.all(stopping);
  } finally {
    unregister();
    process.off('disconnect', orphaned);
    if (process.connected) {
      process.disconnect();
    }
  }
  return undefined;
}

/** Absolute roots; a mistyped one would show only when the first run is refused. */
async function rootsOf(io: CommandIo, given: readonly string[]): Promise<string[]> {
  const roots = (given.length === 0 ? ['.'] : given).map((root) => resolve(io.cwd, root));
  for (const root of roots) {
    const found = await stat(root).catch((error: NodeJS.ErrnoException) => error.code ?? 'unknown');
    if (typeof found === 'string' || !found.isDirectory()) {
      const got = typeof found === 'string' ? found : 'a file';
      throw new CliError(
        'CLI_PATH_MISSING',
        `root ${root} cannot be used: expected a folder, got ${got}; check --roots`,
        { details: { path: root } },
      );
    }
  }
  return roots;
}
