// Owns the start of the embedded Temporal dev server: one process a database file, detached,
// loopback only, on fixed ports, with the flags that reference measurements ask for.
//
// I1 two servers on one file corrupt each other without complaint: a start holds our own lock, and
//    the record names the one process that may serve the file
// I2 a start that fails leaves no process behind
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs';
import { ServerError } from './errors.ts';
import { takeLock } from './file-lock.ts';
import { homePaths, type HomePaths } from './home-paths.ts';
import {
  NAMESPACE,
  RETENTION_DAYS,
  isServing,
  registerSearchAttributes,
  setRetention,
} from './namespace.ts';
import { LOOPBACK, isPortFree, portOwner } from './ports.ts';
import { identityOf, isAlive, signalProcess } from './process-identity.ts';
import { readRecord, removeRecord, serverFiles, writeRecord } from './record.ts';
import type { ServerFiles, ServerRecord } from './record.ts';
import { resolveTemporalBinary, type Report } from './resolve-binary.ts';
import { tieToThisProcess } from './watchdog.ts';

export interface StartServerOptions {
  readonly report: Report;
  readonly paths?: HomePaths;
  /**
   * Stops the server when this process ends; for servers that a test or a demo starts for itself.
   */
  readonly tieToParent?: boolean;
}

export interface RunningServer {
  readonly address: string;
  readonly namespace: string;
  readonly pid: number;
  readonly port: number;
  readonly uiPort: number;
  readonly database: string;
  readonly log: string;
  /** True when it was running before. */
  readonly alreadyRunning: boolean;
}

const LOCK_WAIT_MS = 120_000;
const SERVING_MS_MAX = 60_000;
const POLL_MS = 50;
const LOG_TAIL_BYTES = 4_000;

/**
 * Starts the embedded server, or finds it running.
 *
 * @throws {ServerError} `SERVER_PORT_TAKEN`, `SERVER_START_FAILED`, `SERVER_NOT_SERVING`, and what
 *   resolveTemporalBinary throws
 */
export async function startServer(options: StartServerOptions): Promise<RunningServer> {
  const paths = options.paths ?? homePaths();
  const files = serverFiles(paths);
  const { report } = options;
  mkdirSync(paths.server, { recursive: true, mode: 0o700 });
  const lock = await takeLock(files.lock, {
    waitMs: LOCK_WAIT_MS,
    onWait: (pid) => report({ step: 'wait', message: `process ${pid} is starting the server` }),
  });
  try {
    const running = readRecord(files);
    const there = running === null ? null : await found(running, files, report);
    if (there !== null) return there;
    const binary = await resolveTemporalBinary({ report, paths });
    await requireFreePorts(paths);
    const record = launch(binary, paths, files);
    try {
      if (options.tieToParent === true) tieToThisProcess(record.identity);
      report({ step: 'start', message: `starting Temporal on ${LOOPBACK}:${paths.port}` });
      await becomeReady(record, paths, files, report);
    } catch (error) {
      await killLaunched(record, files);
      throw error;
    }
    return describe(record.identity.pid, paths.port, paths.uiPort, files, false);
  } finally {
    lock.release();
  }
}

function describe(
  pid: number,
  port: number,
  uiPort: number,
  files: ServerFiles,
  alreadyRunning: boolean,
): RunningServer {
  const address = `${LOOPBACK}:${port}`;
  const { database, log } = files;
  return { address, namespace: NAMESPACE, pid, port, uiPort, database, log, alreadyRunning };
}

/** Waits for a recorded server that is on its way up; null when it was on its way down. */
async function found(
  record: ServerRecord,
  files: ServerFiles,
  report: Report,
): Promise<RunningServer | null> {
  const address = `${LOOPBACK}:${record.port}`;
  const deadline = performance.now() + SERVING_MS_MAX;
  while (!(await isServing({ address }, NAMESPACE))) {
    if (!isAlive(record)) return null;
    if (performance.now() > deadline) {
      throw new ServerError(
        'SERVER_NOT_SERVING',
        `Temporal server (process ${record.pid}) does not serve on ${address}: expected SERVING within ${SERVING_MS_MAX / 1000} s; run "tileloom server stop" and look at ${files.log}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  report({ step: 'serving', message: `Temporal is running on ${address}` });
  return describe(record.pid, record.port, record.uiPort, files, true);
}

async function requireFreePorts(paths: HomePaths): Promise<void> {
  for (const port of [paths.port, paths.uiPort]) {
    if (!(await isPortFree(port))) throw portTaken(port);
  }
}

function portTaken(port: number): ServerError {
  const owner = portOwner(port);
  const who = owner === null ? 'another process' : `process ${owner}`;
  return new ServerError(
    'SERVER_PORT_TAKEN',
    `port ${port} is taken: expected it free for the Temporal server, got ${who} listening; end it, or set TILELOOM_PORT or TILELOOM_UI_PORT`,
    { details: { port, ownerPid: owner } },
  );
}

interface Launched {
  readonly child: ChildProcess;
  readonly identity: { readonly pid: number; readonly startTime: string | null };
  readonly logOffset: number;
}

function launch(binary: string, paths: HomePaths, files: ServerFiles): Launched {
  const log = openSync(files.log, 'a', 0o600);
  const logOffset = statSync(files.log).size;
  try {
    const child = spawn(binary, serverArguments(paths, files), {
      detached: true,
      cwd: paths.server,
      stdio: ['ignore', log, log],
    });
    child.on('error', () => undefined);
    child.unref();
    if (child.pid === undefined) throw startFailed(`${binary} cannot be run`, files, logOffset);
    const identity = identityOf(child.pid);
    writeRecord(files, {
      schema: 'tileloom.server/1',
      ...identity,
      port: paths.port,
      uiPort: paths.uiPort,
      binary,
      startedAt: Date.now(),
    });
    return { child, identity, logOffset };
  } finally {
    closeSync(log);
  }
}

/**
 * Flags of the dev server. The queue readers' limiter (20/s for its one shard) would cost 50 ms a
 * task, the timers' granularity 1 s; WAL with synchronous=FULL survives power loss.
 */
function serverArguments(paths: HomePaths, files: ServerFiles): readonly string[] {
  const dynamic = [
    'history.transferProcessorMaxPollRPS=2000',
    'history.timerProcessorMaxPollRPS=2000',
    'history.transferProcessorMaxPollHostRPS=5000',
    'history.timerProcessorMaxTimeShift="20ms"',
  ];
  const pragmas = ['journal_mode=WAL', 'synchronous=FULL'];
  const flags = {
    '--ip': LOOPBACK,
    '--port': String(paths.port),
    '--ui-port': String(paths.uiPort),
    '--namespace': NAMESPACE,
    '--db-filename': files.database,
    '--log-level': 'warn',
  };
  return [
    'server',
    'start-dev',
    ...Object.entries(flags).flat(),
    ...pragmas.flatMap((pragma) => ['--sqlite-pragma', pragma]),
    ...dynamic.flatMap((value) => ['--dynamic-config-value', value]),
  ];
}

async function becomeReady(
  launched: Launched,
  paths: HomePaths,
  files: ServerFiles,
  report: Report,
): Promise<void> {
  const options = { address: `${LOOPBACK}:${paths.port}` };
  const deadline = performance.now() + SERVING_MS_MAX;
  while (!(await isServing(options, NAMESPACE))) {
    if (!isAlive(launched.identity)) {
      const tail = logTail(files, launched.logOffset);
      const taken = /port (\d+): .*address already in use/u.exec(tail);
      if (taken !== null) throw portTaken(Number(taken[1]));
      throw startFailed('Temporal server ended at once', files, launched.logOffset);
    }
    if (performance.now() > deadline) {
      throw startFailed('Temporal server does not serve', files, launched.logOffset);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  await setRetention(options, NAMESPACE, RETENTION_DAYS);
  await registerSearchAttributes(options, NAMESPACE, report);
  report({
    step: 'serving',
    message: `Temporal is serving on ${options.address}, its UI on http://${LOOPBACK}:${paths.uiPort}`,
  });
}

async function killLaunched({ child, identity }: Launched, files: ServerFiles): Promise<void> {
  signalProcess(identity, 'SIGKILL');
  while (isAlive(identity) && child.exitCode === null) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  removeRecord(files);
}

function startFailed(what: string, files: ServerFiles, offset: number): ServerError {
  const last = logTail(files, offset).trim().split('\n').slice(-3).join(' | ');
  const got = last === '' ? 'nothing in its log (is the disk full?)' : `"${last}"`;
  return new ServerError(
    'SERVER_START_FAILED',
    `${what}: expected SERVING within ${SERVING_MS_MAX / 1000} s, got ${got}; see ${files.log}`,
  );
}

function logTail(files: ServerFiles, offset: number): string {
  try {
    return readFileSync(files.log).subarray(offset).subarray(-LOG_TAIL_BYTES).toString();
  } catch {
    return '';
  }
}
