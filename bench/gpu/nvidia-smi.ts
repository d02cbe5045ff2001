// Owns what nvidia-smi is asked. It is NVML's own command and installed with the driver.
// I1 a question never fails: where nvidia-smi is missing or refuses, the answer is the reason.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Why nothing was read. */
export interface Unread {
  readonly unread: string;
}

/** Readings of one GPU; null where nvidia-smi does not tell. */
export interface ClockReading {
  readonly smMhz: number | null;
  readonly memoryMhz: number | null;
  readonly smMhzMax: number | null;
  readonly memoryMhzMax: number | null;
  readonly powerWatts: number | null;
  readonly temperatureC: number | null;
}

export type Clocks = ClockReading | Unread;

/** Release of the driver, such as 580.65.06; the CUDA version it serves is told by the driver itself. */
export type DriverRelease =
  { readonly release: string } | { readonly release: null; readonly unread: string };

const CLOCKS = [
  'clocks.sm',
  'clocks.mem',
  'clocks.max.sm',
  'clocks.max.mem',
  'power.draw',
  'temperature.gpu',
];
const ANSWER_MS_MAX = 10_000;

/** Clocks at this moment of the device with this UUID. */
export async function readClocks(uuid: string): Promise<Clocks> {
  const answer = await ask(CLOCKS, uuid);
  if ('unread' in answer) return answer;
  const at = (index: number): number | null => {
    const value = Number(answer.values[index] || Number.NaN);
    return Number.isFinite(value) ? value : null;
  };
  return {
    ...{ smMhz: at(0), memoryMhz: at(1), smMhzMax: at(2), memoryMhzMax: at(3) },
    ...{ powerWatts: at(4), temperatureC: at(5) },
  };
}

/**
 * Reads again and again while some work goes on; the work must not block this thread.
 *
 * @returns the last reading that was complete before the work was: a later one may be of an idle device
 */
export async function clocksDuring(
  work: Promise<unknown>,
  read: () => Promise<Clocks>,
): Promise<Clocks> {
  let isWorking = true;
  let last: Clocks = { unread: 'the work was done before a reading was' };
  const reading = async (): Promise<void> => {
    while (isWorking) {
      const clocks = await read();
      if (!isWorking) return;
      last = clocks;
      // What failed at once would fail again at once, without end.
      if ('unread' in clocks) return;
    }
  };
  const readings = reading();
  try {
    await work;
  } finally {
    isWorking = false;
    await readings;
  }
  return last;
}

export async function readDriverRelease(uuid: string): Promise<DriverRelease> {
  const answer = await ask(['driver_version'], uuid);
  if ('unread' in answer) return { release: null, ...answer };
  const [release = ''] = answer.values;
  return /^\d+(?:\.\d+)+$/u.test(release)
    ? { release }
    : { release: null, unread: `nvidia-smi told "${release}"` };
}

interface Answer {
  readonly values: readonly string[];
}

async function ask(fields: readonly string[], uuid: string): Promise<Answer | Unread> {
  const words = [`--query-gpu=${fields.join(',')}`, '--format=csv,noheader,nounits', '-i', uuid];
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', words, { timeout: ANSWER_MS_MAX });
    return { values: stdout.trim().split(/,\s*/u) };
  } catch (error) {
    return { unread: `nvidia-smi: ${reasonOf(error as Failure)}` };
  }
}

interface Failure extends Error {
  readonly code?: unknown;
  readonly killed?: boolean;
  readonly stdout?: string;
  readonly stderr?: string;
}

function reasonOf({ code, killed, stdout = '', stderr = '', message }: Failure): string {
  if (code === 'ENOENT') return 'is not on PATH';
  if (killed === true) return `took more than ${ANSWER_MS_MAX / 1000} s`;
  // It complains on either.
  const told = `${stdout}${stderr}`.trim() || message;
  return told.split('\n')[0] ?? '';
}
