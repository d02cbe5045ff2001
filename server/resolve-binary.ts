// Owns where the Temporal binary comes from: configured path → `temporal` on PATH → own cache →
// download → `go install`. Each step says what it does; concurrent callers wait for the one that
// obtains it.
import { constants } from 'node:fs';
import { access, chmod, mkdir, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { downloadArchive } from './download.ts';
import { ServerError } from './errors.ts';
import { takeLock } from './file-lock.ts';
import { TEMPORAL_CLI_VERSION, homePaths, type Environment, type HomePaths } from './home-paths.ts';
import { runCommand, type CommandResult } from './run-command.ts';

export type ReportStep =
  'binary' | 'path' | 'cache' | 'download' | 'build' | 'wait' | 'start' | 'serving' | 'stop';

/** A line about what is being done, for people. */
export type Report = (event: { readonly step: ReportStep; readonly message: string }) => void;

/** What the resolver asks of the machine; tests give their own. */
export interface ResolverPorts {
  readonly isExecutable: (path: string) => Promise<boolean>;
  readonly run: (
    command: string,
    args: readonly string[],
    options: { readonly env?: Environment; readonly onLine?: (line: string) => void },
  ) => Promise<CommandResult>;
  /** Fetches the release archive and leaves the `temporal` binary in `folder`. */
  readonly download: (
    version: string,
    folder: string,
    onLine: (line: string) => void,
  ) => Promise<void>;
}

export interface ResolveOptions {
  readonly report: Report;
  readonly paths?: HomePaths;
  readonly environment?: Environment;
  readonly ports?: ResolverPorts;
}

const OBTAIN_WAIT_MS = 15 * 60_000;
const GO_MODULE = 'github.com/temporalio/cli/cmd/temporal';

const PORTS: ResolverPorts = {
  isExecutable: async (path) => {
    try {
      await access(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  },
  run: runCommand,
  download: downloadArchive,
};

/**
 * Finds or obtains a Temporal CLI binary.
 *
 * @returns its absolute path
 * @throws {ServerError} `SERVER_BINARY_UNUSABLE` for a configured path that does not run,
 *   `SERVER_BINARY_UNAVAILABLE` when every step failed
 */
export async function resolveTemporalBinary(options: ResolveOptions): Promise<string> {
  const environment = options.environment ?? process.env;
  const paths = options.paths ?? homePaths(environment);
  const ports = options.ports ?? PORTS;
  const { report } = options;
  if (paths.temporalBinary !== null) return configured(paths.temporalBinary, ports, report);
  const onPath = await findOnPath(environment, ports);
  if (onPath !== null) {
    report({ step: 'path', message: `using ${onPath} from PATH` });
    return onPath;
  }
  const folder = join(paths.temporal, TEMPORAL_CLI_VERSION);
  const cached = join(folder, 'temporal');
  if (await ports.isExecutable(cached)) {
    report({ step: 'cache', message: `using ${cached}` });
    return cached;
  }
  report({ step: 'cache', message: `no Temporal ${TEMPORAL_CLI_VERSION} in ${folder}` });
  const lock = await takeLock(join(paths.temporal, 'obtain.lock'), {
    waitMs: OBTAIN_WAIT_MS,
    onWait: (pid) => report({ step: 'wait', message: `process ${pid} is obtaining it; waiting` }),
  });
  try {
    if (await ports.isExecutable(cached)) return cached;
    return await obtain(cached, ports, report, environment);
  } finally {
    lock.release();
  }
}

async function configured(path: string, ports: ResolverPorts, report: Report): Promise<string> {
  if ((await ports.isExecutable(path)) && (await isTemporal(path, ports))) {
    report({ step: 'binary', message: `using ${path} (TILELOOM_TEMPORAL_BIN)` });
    return path;
  }
  throw new ServerError(
    'SERVER_BINARY_UNUSABLE',
    `TILELOOM_TEMPORAL_BIN names no Temporal CLI: expected an executable that answers --version, got ${path}; correct or unset it`,
  );
}

async function findOnPath(environment: Environment, ports: ResolverPorts): Promise<string | null> {
  for (const folder of (environment['PATH'] ?? '').split(delimiter).filter(Boolean)) {
    const candidate = join(folder, 'temporal');
    if ((await ports.isExecutable(candidate)) && (await isTemporal(candidate, ports))) {
      return candidate;
    }
  }
  return null;
}

async function isTemporal(path: string, ports: ResolverPorts): Promise<boolean> {
  try {
    const { code, stdout } = await ports.run(path, ['--version'], {});
    return code === 0 && stdout.startsWith('temporal version');
  } catch {
    return false;
  }
}

async function obtain(
  cached: string,
  ports: ResolverPorts,
  report: Report,
  environment: Environment,
): Promise<string> {
  const partial = `${cached}.partial-${process.pid}`;
  const reasons: string[] = [];
  const steps = [
    { step: 'download', what: 'download', get: () => download(partial, ports, report) },
    { step: 'build', what: 'go install', get: () => build(partial, ports, report, environment) },
  ] as const;
  for (const { step, what, get } of steps) {
    try {
      await rm(partial, { recursive: true, force: true });
      await mkdir(partial, { recursive: true });
      await get();
      const binary = join(partial, 'temporal');
      await chmod(binary, 0o755);
      if (!(await isTemporal(binary, ports))) throw new Error('what came does not run here');
      await rename(binary, cached);
      report({ step, message: `Temporal ${TEMPORAL_CLI_VERSION} is now in ${cached}` });
      return cached;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      reasons.push(`${what}: ${reason}`);
      report({ step, message: `${what} did not work: ${reason}` });
    } finally {
      await rm(partial, { recursive: true, force: true });
    }
  }
  throw new ServerError(
    'SERVER_BINARY_UNAVAILABLE',
    `no Temporal CLI: expected one on PATH, in the cache, by download or by go install, got ${reasons.join('; ')}; install the Temporal CLI, or Go 1.24 or newer, or set TILELOOM_TEMPORAL_BIN or TEMPORAL_ADDRESS`,
  );
}

async function download(folder: string, ports: ResolverPorts, report: Report): Promise<void> {
  const tell = (message: string): void => report({ step: 'download', message });
  tell(`downloading Temporal CLI ${TEMPORAL_CLI_VERSION}`);
  await ports.download(TEMPORAL_CLI_VERSION, folder, tell);
}

async function build(
  folder: string,
  ports: ResolverPorts,
  report: Report,
  environment: Environment,
): Promise<void> {
  const tell = (message: string): void => report({ step: 'build', message });
  tell(`building Temporal CLI ${TEMPORAL_CLI_VERSION} with go install (a few minutes, once)`);
  const began = performance.now();
  const beat = setInterval(
    () => tell(`still building (${Math.round((performance.now() - began) / 1000)} s)`),
    15_000,
  );
  try {
    const { code, stderr } = await ports.run(
      'go',
      ['install', `${GO_MODULE}@${TEMPORAL_CLI_VERSION}`],
      {
        env: { ...environment, GOBIN: folder },
        onLine: tell,
      },
    );
    if (code !== 0) throw new Error(lastLine(stderr) ?? `go exited with ${code}`);
  } finally {
    clearInterval(beat);
  }
}

function lastLine(text: string): string | undefined {
  return text.trim().split('\n').at(-1) || undefined;
}
