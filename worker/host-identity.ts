// Owns this host's identity: a stable id (queues are named after it) held under a lock, so that two
// worker processes never poll the same host queue, and a boot id that is new with each process.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { WorkerError } from './errors.ts';

export interface HostIdentity {
  readonly hostId: string;
  readonly bootId: string;
  /** Folder of this host's state: lock, in-flight activities, device locks. */
  readonly directory: string;
  release(): void;
}

const HOST_ID = /^[a-z0-9][a-z0-9-]{0,62}$/u;
const GUESSES_MAX = 64;

/**
 * Takes a host id. Without a wish it is the machine's name, with `-2`, `-3` … for further workers.
 *
 * @throws {WorkerError} `HOST_ID_INVALID`, or `HOST_ID_IN_USE` when the wished id is held
 */
export function takeHostIdentity(hostsDirectory: string, wished?: string): HostIdentity {
  if (wished !== undefined) {
    if (!HOST_ID.test(wished)) {
      throw new WorkerError(
        'HOST_ID_INVALID',
        `host id "${wished}" is not usable: expected 1 to 63 of a-z, 0-9 and "-", starting with a letter or digit; choose another --host-id`,
      );
    }
    const identity = tryTake(hostsDirectory, wished);
    if (identity !== null) return identity;
    throw new WorkerError(
      'HOST_ID_IN_USE',
      `host id "${wished}" is held by another worker process on this machine; stop it or choose another --host-id`,
    );
  }
  const base = machineName();
  for (let guess = 1; guess <= GUESSES_MAX; guess += 1) {
    const identity = tryTake(hostsDirectory, guess === 1 ? base : `${base}-${guess}`);
    if (identity !== null) return identity;
  }
  throw new WorkerError(
    'HOST_ID_IN_USE',
    `no free host id: ${GUESSES_MAX} workers named "${base}" run on this machine; stop some of them`,
  );
}

function machineName(): string {
  const name = hostname()
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/gu, '-')
    .replaceAll(/^-+|-+$/gu, '')
    .slice(0, 48);
  return name === '' ? 'host' : name;
}

function tryTake(hostsDirectory: string, hostId: string): HostIdentity | null {
  const directory = join(hostsDirectory, hostId);
  const lock = join(directory, 'lock');
  mkdirSync(directory, { recursive: true });
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      writeFileSync(lock, lockText(process.pid), { flag: 'wx' });
      return {
        hostId,
        bootId: crypto.randomUUID(),
        directory,
        release: () => rmSync(lock, { force: true }),
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (holderLives(lock)) return null;
      rmSync(lock, { force: true });
    }
  }
  return null;
}

/** The holder is a process id with its start time, since process ids are used again. */
function lockText(pid: number): string {
  return `${pid} ${startTimeOf(pid) ?? ''}`;
}

function holderLives(lock: string): boolean {
  try {
    const [pid, startTime] = readFileSync(lock, 'utf8').trim().split(' ');
    const now = startTimeOf(Number(pid));
    return now !== null && now === startTime;
  } catch {
    return false;
  }
}

/** Field 22 of /proc/<pid>/stat: clock ticks since boot at which the process began. */
function startTimeOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}
