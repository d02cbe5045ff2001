// Owns the executor child process: one per device. It takes the device lock, loads the kernel library,
// runs chunks and answers with summaries. It ends with its parent (PDEATHSIG, closed stdin, closed
// channel) and never listens for SIGSEGV: a crash must end it.
import { loadExternalRegistry } from './external.ts';
import { Executor } from './executor.ts';
import { openKernels } from '../native/index.ts';
import type { ExecutorOptions, FromExecutor, ToExecutor } from './protocol.ts';

const LOCK_WAIT_MS = 15_000;
const PROGRESS_MS = 250;

async function main(): Promise<void> {
  const options = JSON.parse(process.argv[2] ?? '{}') as ExecutorOptions;
  process.on('disconnect', () => process.exit(0));
  process.stdin.on('end', () => process.exit(0)).resume();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
  const kernels = openKernels();
  kernels.dieWithParent();
  await kernels.lockFile(options.lockPath, LOCK_WAIT_MS);
  const registry = await loadExternalRegistry(options.externalRegistry);
  const executor = new Executor({ options, kernels, registry, send });
  setInterval(() => executor.report(), PROGRESS_MS);
  process.on('message', (message: ToExecutor) => {
    if (message.kind === 'run') void executor.run(message.job);
    else if (message.kind === 'cancel') executor.cancel(message.jobId);
    else process.exit(0);
  });
  send({ kind: 'ready', isa: kernels.isa, image: kernels.image });
}

function send(message: FromExecutor): void {
  if (process.connected) process.send?.(message);
}

main().catch((error: unknown) => {
  process.stderr.write(`executor: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
