// Owns workers that believe in GPUs: a fake driver and a fake NVML for a worker process and its
// children, and what their processes still held when they let a device go.
//
// I1 no two workers of a test process see the same UUID: a device has one executor on a machine
import { expect } from 'vitest';
import { homePaths, readDeviceStates } from '../../../server/index.ts';
import {
  fakeGpus,
  type FakeGpu,
  type FakeGpuOptions,
  type FakeGpus,
} from '../../native/helpers/fake-gpu.ts';
import { isAlive, type WorkerOptions, type WorkerProcess } from './processes.ts';
import type { Stage } from './stage.ts';

export const GPU_VARIANT = 'assign/cuda-grid-fp64@1';

const GIB = 1024 ** 3;
/** A busy machine makes NVML's process late; a plan waits for it no longer than 4 s. */
const NVML_READ_MS = 3_000;

export interface GpuWorker {
  readonly worker: WorkerProcess;
  readonly gpus: FakeGpus;
  readonly uuids: readonly string[];
}

export interface GpuWorkerOptions extends Omit<WorkerOptions, 'roots'> {
  readonly gpus?: Omit<FakeGpuOptions, 'devices'>;
  /** Two by default. */
  readonly devices?: number | readonly Partial<FakeGpu>[];
  /** Further variables of the worker. */
  readonly variables?: NodeJS.ProcessEnv;
}

let devicesMade = 0;

/** Fake GPUs with memory enough for the planner, and an NVML that tells everything about them. */
export function makeGpus({ devices = 2, gpus = {} }: Partial<GpuWorkerOptions> = {}): FakeGpus {
  const wanted =
    typeof devices === 'number' ? Array.from({ length: devices }, () => ({})) : devices;
  const made = fakeGpus({
    ...gpus,
    devices: wanted.map((one) => {
      devicesMade += 1;
      const number = devicesMade.toString(16).padStart(4, '0');
      const uuid = `GPU-e2e00000-0000-4000-8000-00000000${number}`;
      return { memoryBytes: 2 * GIB, uuid, ...one };
    }),
  });
  made.controlNvml([...nvmlReadings(made), ...(gpus.nvmlLines ?? [])]);
  return made;
}

/** Lines by which NVML tells that every device is idle, cool and empty. */
export function nvmlReadings({ devices }: Pick<FakeGpus, 'devices'>): readonly string[] {
  return devices.flatMap(({ uuid, capability }) => [
    `reading ${uuid} utilization 3 1`,
    // What others take is not the fake driver's business: NVML promises all of it.
    `reading ${uuid} memory ${2 * GIB} 0 ${2 * GIB} 0`,
    `reading ${uuid} temperature 41`,
    `reading ${uuid} power 70000`,
    `reading ${uuid} clocks 0x0`,
    `reading ${uuid} ecc 0`,
    `reading ${uuid} pcie 5`,
    `reading ${uuid} capability ${Math.floor(capability / 10)} ${capability % 10}`,
    `reading ${uuid} mig 0`,
  ]);
}

/** Starts a worker that sees these fake GPUs; the fakes outlive it, for what it left behind. */
export async function startGpuWorker(stage: Stage, options: GpuWorkerOptions): Promise<GpuWorker> {
  const { gpus: _, devices: __, variables, ...rest } = options;
  const gpus = makeGpus(options);
  const worker = await stage.startWorker(
    { nvmlReadMs: NVML_READ_MS, ...rest },
    { ...gpus.environment, ...variables },
  );
  return { worker, gpus, uuids: gpus.devices.map(({ uuid }) => uuid) };
}

/**
 * Kills the executor of a device and waits until the worker has taken notice, so that the next chunk
 * there starts a new one.
 */
export async function killExecutor(worker: WorkerProcess, deviceId: string): Promise<number> {
  const pid = worker.executorOf(deviceId);
  if (pid === null) throw new Error(`device ${deviceId} has no executor`);
  process.kill(pid, 'SIGKILL');
  await expect.poll(() => worker.executors().includes(pid), { timeout: 10_000 }).toBe(false);
  return pid;
}

/** What the worker says of a device to whoever asks on this machine: why it is out of service. */
export function quarantineOf(stage: Stage, uuid: string): string | null {
  const reported = readDeviceStates(homePaths(stage.environment).hosts);
  const device = reported.find(({ deviceId }) => deviceId === uuid);
  if (device === undefined) throw new Error(`no worker reports ${uuid}`);
  return device.quarantine;
}

/**
 * Stops the worker and holds it to having left nothing behind: no process, nothing on a device.
 *
 * @param lost whether devices were lost to processes while they opened them, or could not be let go: nothing
 *   may call a driver after a loss, so such a process leaves the context to its own end, but no arena and
 *   no slot
 */
export async function expectCleanStop(
  { worker, gpus }: GpuWorker,
  { lost = false }: { readonly lost?: boolean } = {},
): Promise<void> {
  const children = worker.executors();
  expect(await worker.stop()).toBe(0);
  expect(children.filter(isAlive)).toEqual([]);
  if (!lost) return expectNothingHeld(gpus);
  const none = { streams: 0, events: 0, deviceBytes: 0, hostBytes: 0 };
  const told = gpus.leaks();
  expect(told.length).toBeGreaterThan(0);
  for (const one of told) {
    expect(one).toMatchObject(none);
    expect(isAlive(one.pid)).toBe(false);
  }
}

/** No process that told what it holds still held anything, but for those that were killed. */
export function expectNothingHeld(gpus: FakeGpus, killed: readonly number[] = []): void {
  const none = { contexts: 0, streams: 0, events: 0, modules: 0, deviceBytes: 0, hostBytes: 0 };
  const told = gpus.leaks().filter(({ pid }) => !killed.includes(pid));
  expect(told.length).toBeGreaterThan(0);
  for (const one of told) expect(one).toMatchObject(none);
}
