// Owns this host's identity: a stable id (queues are named after it) held under a lock, so that two
// worker processes never poll the same host queue, and a boot id that is new with each process.
import { hostname } from 'node:os';
import { join } from 'node:path';
import { isEngineError } from '../core/index.ts';
import { takeLock } from '../server/index.ts';
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
export async function takeHostIdentity(
  hostsDirectory: string,
  wished?: string,
): Promise<HostIdentity> {
  if (wished !== undefined) {
    if (!HOST_ID.test(wished)) {
      throw new WorkerError(
        'HOST_ID_INVALID',
        `host id "${wished}" is not usable: expected 1 to 63 of a-z, 0-9 and "-", starting with a letter or digit; choose another --host-id`,
      );
    }
    const identity = await tryTake(hostsDirectory, wished);
    if (identity !== null) return identity;
    throw new WorkerError(
      'HOST_ID_IN_USE',
      `host id "${wished}" is held by another worker process on this machine; stop it or choose another --host-id`,
    );
  }
  const base = machineName();
  for (let guess = 1; guess <= GUESSES_MAX; guess += 1) {
    const identity = await tryTake(hostsDirectory, guess === 1 ? base : `${base}-${guess}`);
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

async function tryTake(hostsDirectory: string, hostId: string): Promise<HostIdentity | null> {
  const directory = join(hostsDirectory, hostId);
  try {
    const lock = await takeLock(join(directory, 'lock'), { waitMs: 0 });
    return { hostId, bootId: crypto.randomUUID(), directory, release: () => lock.release() };
  } catch (error) {
    if (isEngineError(error) && error.code === 'SERVER_LOCKED') return null;
    throw error;
  }
}
