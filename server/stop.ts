// Owns the end of the embedded server and the answer to "is it there?".
import { ServerError } from './errors.ts';
import { homePaths, type HomePaths } from './home-paths.ts';
import { NAMESPACE, isServing } from './namespace.ts';
import { LOOPBACK } from './ports.ts';
import { isAlive, signalProcess, type ProcessIdentity } from './process-identity.ts';
import { readRecord, removeRecord, serverFiles } from './record.ts';
import type { Report } from './resolve-binary.ts';

export interface StopServerOptions {
  readonly report: Report;
  readonly paths?: HomePaths;
  /** Milliseconds between SIGTERM and SIGKILL. */
  readonly graceMs?: number;
}

export interface ServerStatus {
  readonly state: 'serving' | 'not-serving' | 'stopped';
  readonly address: string;
  readonly uiAddress: string;
  readonly pid: number | null;
  /** Milliseconds since the Unix epoch. */
  readonly startedAt: number | null;
  readonly binary: string | null;
  readonly database: string;
  readonly log: string;
}

const GRACE_MS = 10_000;
const KILL_MS = 5_000;
const POLL_MS = 30;

/**
 * Stops the embedded server.
 *
 * @returns the process that was stopped, or null when none ran
 * @throws {ServerError} `SERVER_STILL_RUNNING` when it survives even SIGKILL
 */
export async function stopServer(options: StopServerOptions): Promise<number | null> {
  const files = serverFiles(options.paths ?? homePaths());
  const record = readRecord(files);
  if (record === null) return null;
  options.report({ step: 'stop', message: `stopping Temporal (process ${record.pid})` });
  signalProcess(record, 'SIGTERM');
  if (!(await hasEnded(record, options.graceMs ?? GRACE_MS))) {
    options.report({ step: 'stop', message: 'it does not end; killing it' });
    signalProcess(record, 'SIGKILL');
    if (!(await hasEnded(record, KILL_MS))) {
      throw new ServerError(
        'SERVER_STILL_RUNNING',
        `Temporal server (process ${record.pid}) cannot be stopped: expected it gone ${KILL_MS / 1000} s after SIGKILL; check who owns the process`,
      );
    }
  }
  removeRecord(files);
  return record.pid;
}

async function hasEnded(process: ProcessIdentity, waitMs: number): Promise<boolean> {
  const deadline = performance.now() + waitMs;
  while (isAlive(process)) {
    if (performance.now() >= deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return true;
}

/** Says whether the embedded server runs, and where. Starts nothing. */
export async function serverStatus(paths: HomePaths = homePaths()): Promise<ServerStatus> {
  const files = serverFiles(paths);
  const record = readRecord(files);
  const address = `${LOOPBACK}:${record?.port ?? paths.port}`;
  const serving = record !== null && (await isServing({ address }, NAMESPACE));
  return {
    state: record === null ? 'stopped' : serving ? 'serving' : 'not-serving',
    address,
    uiAddress: `http://${LOOPBACK}:${record?.uiPort ?? paths.uiPort}`,
    pid: record?.pid ?? null,
    startedAt: record?.startedAt ?? null,
    binary: record?.binary ?? null,
    database: files.database,
    log: files.log,
  };
}
