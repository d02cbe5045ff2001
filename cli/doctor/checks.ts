// Owns what `doctor` looks at. Each check is small, never throws, and says how to put right what it
// found.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, open, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { escapeControl } from '../../operator/index.ts';
import {
  homePaths,
  isPortFree,
  serverStatus,
  type HomePaths,
  type ServerStatus,
} from '../../server/index.ts';
import { createHostProbe } from '../../telemetry/probes/index.ts';
import { formatBytes } from '../format.ts';
import type { CommandIo } from '../io.ts';
import { packageRoot, productVersion } from '../version.ts';
import { readDisks } from './disks.ts';
import type { Finding } from './finding.ts';
import { checkGpus } from './gpu-checks.ts';
import { answersWithout } from './namespace.ts';

type Check = (io: CommandIo) => Promise<Omit<Finding, 'check'>> | Omit<Finding, 'check'>;

const run = promisify(execFile);
const COMMAND_MS_MAX = 10_000;
const NODE_MIN = [20, 19] as const;
const DISK_BYTES_MIN = 2 * 2 ** 30;
const MEMORY_BYTES_MIN = 2 ** 30;
const FSYNC_MS_SLOW = 20;

const ok = (found: string): Omit<Finding, 'check'> => ({ status: 'ok', found, fix: null });
const warning = (found: string, fix: string): Omit<Finding, 'check'> => ({
  status: 'warning',
  found,
  fix,
});
const failed = (found: string, fix: string): Omit<Finding, 'check'> => ({
  status: 'failed',
  found,
  fix,
});

/** Every check by name, in the order in which it is shown. */
const CHECKS: readonly (readonly [string, Check])[] = [
  ['tileloom', () => ok(productVersion())],
  ['node', checkNode],
  ['npm', checkNpm],
  ['compiler', checkCompiler],
  ['native library', checkNative],
  ['instruction sets', checkIsa],
  ['temporal binary', checkTemporalBinary],
  ['server', checkServer],
  ['ports', checkPorts],
  ['disk', checkDisk],
  ['fsync', checkFsync],
  ['memory', checkMemory],
];

/** Runs every check, one after the other. */
export async function runChecks(io: CommandIo): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [check, examine] of CHECKS) {
    findings.push(...(await guarded(check, async () => [{ check, ...(await examine(io)) }])));
  }
  findings.push(...(await guarded('GPU driver', () => checkGpus(io))));
  return findings.map(inOneLine);
}

/** Findings quote drivers, programs and variables, which may hold what acts on a terminal. */
function inOneLine(finding: Finding): Finding {
  const { found, fix } = finding;
  return {
    ...finding,
    found: escapeControl(found),
    fix: fix === null ? null : escapeControl(fix),
  };
}

/** What a check throws is what it found. */
async function guarded(
  check: string,
  examine: () => Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  try {
    return await examine();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [{ check, ...failed(reason, 'see the message; run again with --verbose') }];
  }
}

async function firstLine(command: string, words: readonly string[]): Promise<string | null> {
  try {
    const { stdout } = await run(command, [...words], { timeout: COMMAND_MS_MAX });
    return stdout.split('\n')[0]?.trim() ?? '';
  } catch {
    return null;
  }
}

function checkNode(): Omit<Finding, 'check'> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const enough = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
  return enough
    ? ok(process.versions.node)
    : failed(process.versions.node, `install Node ${NODE_MIN.join('.')} or newer`);
}

async function checkNpm(): Promise<Omit<Finding, 'check'>> {
  const version = await firstLine('npm', ['--version']);
  return version === null
    ? warning('not found', 'install npm; it is needed to install and build, not to run')
    : ok(version);
}

async function checkCompiler(io: CommandIo): Promise<Omit<Finding, 'check'>> {
  const name = io.env['CXX'] ?? 'g++';
  const version = await firstLine(name, ['--version']);
  const make = await firstLine('make', ['--version']);
  if (version === null || make === null) {
    const lacking = version === null ? name : 'make';
    return warning(
      `${lacking} not found`,
      'install g++ 12 or newer and make (Debian: apt install g++ make); needed to build, not to run',
    );
  }
  return ok(`${version}; ${make}`);
}

async function checkNative(): Promise<Omit<Finding, 'check'>> {
  const { defaultLibraryPath, openKernels } = await import('../../native/index.ts');
  const path = defaultLibraryPath();
  if (!existsSync(path)) {
    return failed(`${path} is missing`, `run node scripts/build-native.mjs in ${packageRoot()}`);
  }
  try {
    const { isa } = openKernels({ path });
    return ok(`${path}, uses ${isa.length === 0 ? 'no extensions' : isa.join(' ')}`);
  } catch (error) {
    return failed(
      error instanceof Error ? error.message : String(error),
      `run node scripts/build-native.mjs in ${packageRoot()} again`,
    );
  }
}

function checkIsa(): Omit<Finding, 'check'> {
  const { isa } = createHostProbe({ host: hostname() }).readHost();
  const fast = isa.includes('avx2') && isa.includes('fma');
  const found = isa.length === 0 ? 'unknown' : isa.join(' ');
  return fast
    ? ok(found)
    : warning(
        found,
        'AVX2 variants cannot run here, scalar ones do the work; nothing to put right',
      );
}

async function checkTemporalBinary(io: CommandIo): Promise<Omit<Finding, 'check'>> {
  const paths = homePaths(io.env);
  const onPath = await firstLine('temporal', ['--version']);
  if (paths.temporalBinary !== null) {
    const version = await firstLine(paths.temporalBinary, ['--version']);
    return version === null
      ? failed(`${paths.temporalBinary} does not run`, 'correct or unset TILELOOM_TEMPORAL_BIN')
      : ok(version);
  }
  if (onPath !== null) {
    return ok(onPath);
  }
  const status = await serverStatus(paths);
  return status.binary !== null || existsSync(paths.temporal)
    ? ok(`in ${paths.temporal}`)
    : warning('not there yet', 'the first `tileloom server start` obtains it');
}

async function checkServer(io: CommandIo): Promise<Omit<Finding, 'check'>> {
  const { connectionSettings, isServing } = await import('../../server/index.ts');
  try {
    const settings = await connectionSettings({
      startEmbedded: false,
      report: () => undefined,
      environment: io.env,
    });
    const place = `${settings.kind} at ${settings.address}, namespace ${settings.namespace}`;
    if (await isServing(settings.connectionOptions, settings.namespace)) return ok(place);
    return (await answersWithout(settings.connectionOptions, settings.namespace))
      ? warning(
          `${place}: it answers, but has no such namespace`,
          'set TEMPORAL_NAMESPACE to one that is there, or make it: ' +
            `temporal operator namespace create --namespace ${settings.namespace}`,
        )
      : warning(`${place} does not answer`, 'look at it: tileloom server status');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return warning(reason.split(';')[0] ?? reason, 'start it: tileloom server start');
  }
}

async function checkPorts(io: CommandIo): Promise<Omit<Finding, 'check'>> {
  const paths: HomePaths = homePaths(io.env);
  const status: ServerStatus = await serverStatus(paths);
  if (status.state === 'serving') {
    return ok(`${String(paths.port)} and ${String(paths.uiPort)}, in use by the embedded server`);
  }
  const taken: number[] = [];
  for (const port of [paths.port, paths.uiPort]) {
    if (!(await isPortFree(port))) {
      taken.push(port);
    }
  }
  return taken.length === 0
    ? ok(`${String(paths.port)} and ${String(paths.uiPort)} are free`)
    : warning(`${taken.join(' and ')} taken`, 'end what listens there, or set TILELOOM_PORT');
}

async function checkDisk(io: CommandIo): Promise<Omit<Finding, 'check'>> {
  const { state, cache } = homePaths(io.env);
  const disks = await readDisks([state, cache, io.cwd]);
  const found = disks
    .map(({ freeBytes, folders }) => `${formatBytes(freeBytes)} free for ${folders.join(', ')}`)
    .join('; ');
  return disks.every(({ freeBytes }) => freeBytes >= DISK_BYTES_MIN)
    ? ok(found)
    : warning(found, 'free some space, set TILELOOM_HOME to another disk, or work elsewhere');
}

async function checkFsync(io: CommandIo): Promise<Omit<Finding, 'check'>> {
  const { state } = homePaths(io.env);
  await mkdir(state, { recursive: true });
  const file = join(state, `fsync-${String(process.pid)}.tmp`);
  const handle = await open(file, 'w');
  try {
    const times: number[] = [];
    for (let index = 0; index < 5; index += 1) {
      await handle.write(Buffer.alloc(4096, index));
      const before = performance.now();
      await handle.sync();
      times.push(performance.now() - before);
    }
    const median = times.toSorted((left, right) => left - right)[2] ?? 0;
    const found = `${median.toFixed(2)} ms`;
    return median < FSYNC_MS_SLOW
      ? ok(found)
      : warning(found, 'each step is made durable; a faster disk makes short chunks cheaper');
  } finally {
    await handle.close();
    await rm(file, { force: true });
  }
}

function checkMemory(): Omit<Finding, 'check'> {
  const { memAvailableBytes, memLimitBytes } = createHostProbe({ host: hostname() }).readHost();
  if (memAvailableBytes === null) {
    return warning('unknown', 'set limits.memory by hand');
  }
  const limit = memLimitBytes === null ? '' : ` of ${formatBytes(memLimitBytes)}`;
  const found = `${formatBytes(memAvailableBytes)} available${limit}`;
  return memAvailableBytes >= MEMORY_BYTES_MIN
    ? ok(found)
    : warning(found, 'lower limits.memory in the spec, or end other programs');
}
