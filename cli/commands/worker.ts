// Owns `tileloom worker start`: one worker process in the foreground.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { addGroup, addLeaf, type ActionContext, type ProgramContext } from '../command.ts';
import { countOption, listOf, listOption, numberOf, textOf } from '../options.ts';
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
      ['--registry <file>', 'JSON file with variants of external kernel libraries'],
      ['--log-level <level>', 'debug, info, warn or error (default: info)'],
    ],
    examples: [
      'tileloom worker start',
      'tileloom worker start --roots /data --roots /results --threads 8',
    ],
    run: (action, _args, options) => runWorker(action, options),
  });
}

async function runWorker(
  { io, output }: ActionContext,
  options: Readonly<Record<string, unknown>>,
): Promise<undefined> {
  const settings = await settingsOf(io, { start: true, note: output.note });
  const roots = listOf(options, 'roots');
  // The worker brings Temporal's native runtime: loaded only here.
  const { startWorker } = await import('../../worker/index.ts');
  const worker = await startWorker({
    settings,
    hostId: textOf(options, 'hostId'),
    roots: (roots.length === 0 ? ['.'] : roots).map((root) => resolve(io.cwd, root)),
    threads: numberOf(options, 'threads'),
    lanes: numberOf(options, 'lanes'),
    externalRegistry: textOf(options, 'registry'),
    logLevel: textOf(options, 'logLevel'),
  });
  output.document(
    'tileloom.cli.worker-start/1',
    { hostId: worker.hostId, address: settings.address, namespace: settings.namespace },
    () => `worker ${worker.hostId} is polling ${settings.address}; Ctrl-C stops it in order`,
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
  process.once('disconnect', () => {
    stop('stopping: the process that started this worker is gone');
  });
  try {
    await worker.run();
    await Promise.all(stopping);
  } finally {
    unregister();
    if (process.connected) {
      process.disconnect();
    }
  }
  return undefined;
}
