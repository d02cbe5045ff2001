// Owns a lock between processes: an exclusively created file that names its holder. The lock of a
// process that was killed is taken over.
//
// I1 at most one living process holds a lock
// I2 a take-over moves the stale file aside first and looks at what it moved, so that of two
//    processes which found the same stale lock one cannot remove the other's fresh one
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { ServerError } from './errors.ts';
import { identityOf, isAlive, type ProcessIdentity } from './process-identity.ts';

const POLL_MS = 50;

export interface FileLock {
  release(): void;
}

export interface LockOptions {
  readonly waitMs: number;
  /** Called once when the lock is held by another process. */
  readonly onWait?: (holder: number) => void;
}

/**
 * Takes a lock, waiting for its holder.
 *
 * @throws {ServerError} `SERVER_LOCKED` when it is still held after `waitMs`
 */
export async function takeLock(path: string, options: LockOptions): Promise<FileLock> {
  mkdirSync(dirname(path), { recursive: true });
  const deadline = performance.now() + options.waitMs;
  let told = false;
  for (;;) {
    const holder = tryTake(path);
    if (holder === null) return { release: () => release(path) };
    if (performance.now() >= deadline) {
      throw new ServerError(
        'SERVER_LOCKED',
        `lock ${path} is held: expected it free within ${options.waitMs / 1000} s, got process ${holder.pid} still working; wait for it, or end it`,
      );
    }
    if (!told) options.onWait?.(holder.pid);
    told = true;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Null when taken, else the living holder. */
function tryTake(path: string): ProcessIdentity | null {
  const mine = JSON.stringify(identityOf(process.pid));
  for (;;) {
    try {
      writeFileSync(path, mine, { flag: 'wx' });
      return null;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const text = readText(path);
    if (text === null) continue;
    const holder = parseHolder(text);
    if (holder !== null && isAlive(holder)) return holder;
    moveAside(path, text);
  }
}

function moveAside(path: string, stale: string): void {
  const aside = `${path}.stale-${process.pid}`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  if (readText(aside) !== stale) {
    // Somebody took over before us: this is a living lock, it goes back.
    try {
      linkSync(aside, path);
    } catch {
      // A third process holds it by now; the one we moved finds out by I1's next check.
    }
  }
  rmSync(aside, { force: true });
}

function release(path: string): void {
  if (readText(path) === JSON.stringify(identityOf(process.pid))) rmSync(path, { force: true });
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function parseHolder(text: string): ProcessIdentity | null {
  try {
    const { pid, startTime } = JSON.parse(text) as Partial<ProcessIdentity>;
    return typeof pid === 'number' ? { pid, startTime: startTime ?? null } : null;
  } catch {
    return null;
  }
}
