// Owns the executor child process: one per device. It takes the device lock, loads the kernel library,
// opens the GPU if it is for one, runs chunks and answers with summaries. It ends with its parent
// (PDEATHSIG, closed stdin, closed channel) and never listens for SIGSEGV: a crash must end it.
import { isEngineError } from '../core/index.ts';
import {
  openDeviceLibrary,
  openKernels,
  type DeviceLibrary,
  type KernelLibrary,
  type OpenDevice,
} from '../native/index.ts';
import { DEVICE_SOURCES_DIGEST } from '../registry/index.ts';
import { openGpu } from './device.ts';
import { ExecutorError } from './errors.ts';
import { loadExternalRegistry } from './external.ts';
import { Executor } from './executor.ts';
import type { ExecutorOptions, FromExecutor, ToExecutor } from './protocol.ts';

const LOCK_WAIT_MS = 15_000;
const PROGRESS_MS = 250;

async function main(): Promise<void> {
  const options = JSON.parse(process.argv[2] ?? '{}') as ExecutorOptions;
  process.on('disconnect', () => process.exit(0));
  process.stdin.on('end', () => process.exit(0)).resume();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
  const opened = await open(options);
  if (opened === null) return;
  const { kernels, device } = opened;
  const registry = await loadExternalRegistry(options.externalRegistry);
  const executor = new Executor({ options, kernels, device, registry, send });
  setInterval(() => executor.report(), PROGRESS_MS);
  process.on('message', (message: ToExecutor) => {
    if (message.kind === 'run') void executor.run(message.job);
    else if (message.kind === 'cancel') executor.cancel(message.jobId);
    else end(device);
  });
  send({ kind: 'ready', isa: kernels.isa, image: executor.image });
}

interface Opened {
  readonly kernels: KernelLibrary;
  readonly device: OpenDevice | null;
}

/** Opens library and device; null when the GPU cannot serve, which has then been told. */
async function open(options: ExecutorOptions): Promise<Opened | null> {
  const { gpu, threads } = options;
  if (gpu === null) {
    const kernels = openKernels();
    await takeDevice(kernels, options);
    return { kernels, device: null };
  }
  try {
    const kernels: DeviceLibrary = openDeviceLibrary();
    await takeDevice(kernels, options);
    return { kernels, device: openGpu(kernels, gpu, threads, DEVICE_SOURCES_DIGEST) };
  } catch (error) {
    if (!isEngineError(error)) throw error;
    const { code, message } = error;
    const unusable: FromExecutor = { kind: 'unusable', code, message };
    process.send?.(unusable, () => process.exit(0));
    return null;
  }
}

/** Ends with the parent, and waits for whoever holds the device. */
async function takeDevice(
  kernels: KernelLibrary,
  { lockPath, deviceId, lockWaitMs = LOCK_WAIT_MS }: ExecutorOptions,
): Promise<void> {
  kernels.dieWithParent();
  try {
    await kernels.lockFile(lockPath, lockWaitMs);
  } catch (cause) {
    if (!isEngineError(cause) || cause.code !== 'LOCK_TIMEOUT') throw cause;
    throw new ExecutorError(
      'RESIDENCY_LOST',
      'EXECUTOR_START_FAILED',
      `device ${deviceId} is held by another executor: expected its lock within ${lockWaitMs} ms; stop the other worker, or give this one other devices`,
      { cause, retryable: true },
    );
  }
}

/** Leaves the device in order; what a chunk still holds ends with the process. */
function end(device: OpenDevice | null): never {
  try {
    device?.close();
  } catch {
    // A chunk is in flight: the driver frees what is left.
  }
  process.exit(0);
}

function send(message: FromExecutor): void {
  if (process.connected) process.send?.(message);
}

main().catch((error: unknown) => {
  process.stderr.write(`executor: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
