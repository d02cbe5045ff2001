// Owns the question which GPUs this host has. The driver is asked in a process of its own: whatever
// happens there is an answer here, never a failure.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { DeviceInfo, GpuEntry, GpuListing } from '../native/index.ts';

export interface DiscoveryRequest {
  /** Device to open once, to see whether it can serve; null: devices are only listed. */
  readonly open: { readonly ordinal: number; readonly imagesDir: string | null } | null;
}

export type DiscoveryAnswer =
  | { readonly kind: 'listing'; readonly listing: GpuListing }
  | { readonly kind: 'opened'; readonly info: DeviceInfo }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string };

export interface DiscoveredGpus {
  readonly gpus: readonly GpuEntry[];
  /** Newest CUDA version that the driver serves; null when it could not be asked. */
  readonly driverVersion: string | null;
  /** Why there is no GPU: begins with a code; null when there is one. */
  readonly problem: string | null;
  /** False: the host has no driver, so nobody expects a GPU there and nothing is wrong. */
  readonly hasDriver: boolean;
}

/** How native/cuda/driver.cpp says it: the code DEVICE_MISSING stands for troubles of a driver as well. */
const NO_DRIVER = 'has no driver';

const ENTRY = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? '../dist/executor/discover-main.js' : './discover-main.js',
    import.meta.url,
  ),
);
const TIMEOUT_MS = 20_000;
/** A process that was killed, and that its driver keeps in the kernel, is waited for no longer. */
const KILL_GRACE_MS = 1_000;
/** A driver may say much; what is quoted of it travels in snapshots. */
const WORDS_LENGTH_MAX = 160;

/** Lists the GPUs that the driver knows; never throws. */
export async function discoverGpus(
  options: { readonly timeoutMs?: number } = {},
): Promise<DiscoveredGpus> {
  const answer = await ask({ open: null }, options.timeoutMs ?? TIMEOUT_MS);
  if (typeof answer === 'object' && answer.kind === 'listing') {
    const { driverVersion } = answer.listing;
    const gpus = withoutTwins(answer.listing.gpus);
    const problem = gpus.length === 0 ? 'DEVICE_MISSING: the driver knows no device' : null;
    return { gpus, driverVersion, problem, hasDriver: true };
  }
  const problem = problemOf(answer);
  return { gpus: [], driverVersion: null, problem, hasDriver: !problem.includes(NO_DRIVER) };
}

/** Opens one GPU once, as an executor would; never throws. A sentence that begins with a code: why not. */
export async function inspectGpu(
  open: NonNullable<DiscoveryRequest['open']>,
  options: { readonly timeoutMs?: number } = {},
): Promise<DeviceInfo | string> {
  const answer = await ask({ open }, options.timeoutMs ?? TIMEOUT_MS);
  return typeof answer === 'object' && answer.kind === 'opened' ? answer.info : problemOf(answer);
}

/** A device that CUDA_VISIBLE_DEVICES names twice may be listed twice; it is one all the same. */
function withoutTwins(gpus: readonly GpuEntry[]): readonly GpuEntry[] {
  return gpus.filter(({ uuid }, index) => gpus.findIndex((gpu) => gpu.uuid === uuid) === index);
}

function problemOf(answer: DiscoveryAnswer | string): string {
  if (typeof answer === 'string') return answer;
  return answer.kind === 'refused'
    ? `${answer.code}: ${answer.message}`
    : `DISCOVERY_FAILED: the answer is of another kind: got ${answer.kind}`;
}

/** The child's answer, or why there is none. */
function ask(request: DiscoveryRequest, timeoutMs: number): Promise<DiscoveryAnswer | string> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [ENTRY, JSON.stringify(request)],
      { timeout: timeoutMs, killSignal: 'SIGKILL', encoding: 'utf8' },
      (error, stdout, stderr) => {
        clearTimeout(timer);
        if (error !== null) resolve(`DISCOVERY_FAILED: ${whyFailed(error, stderr, timeoutMs)}`);
        else resolve(parsed(stdout));
      },
    );
    const timer = setTimeout(() => {
      child.unref();
      resolve(`DISCOVERY_FAILED: ${late(timeoutMs)}, and its process cannot be ended`);
    }, timeoutMs + KILL_GRACE_MS);
  });
}

function whyFailed(
  error: Error & { readonly killed?: boolean; readonly signal?: string | null },
  stderr: string,
  timeoutMs: number,
): string {
  if (error.killed === true) return late(timeoutMs);
  const said = (stderr.trim().split('\n').at(-1) ?? '').slice(0, WORDS_LENGTH_MAX);
  const signal = error.signal ?? null;
  const ended = signal === null ? 'ended with an error' : `ended with ${signal}`;
  return `the process that asks the driver ${ended}${said === '' ? '' : `: ${said}`}`;
}

function late(timeoutMs: number): string {
  return `the driver did not answer within ${timeoutMs} ms`;
}

function parsed(stdout: string): DiscoveryAnswer | string {
  try {
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as DiscoveryAnswer;
  } catch {
    return 'DISCOVERY_FAILED: the process that asks the driver answered nothing that can be read';
  }
}
