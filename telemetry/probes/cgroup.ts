// Owns the limits that control groups (v2, v1 or both mounted) put on this process.
//
// A limit of any ancestor binds too, and inside a container the path in /proc/self/cgroup may not exist
// below the mount: so every prefix of the path down to the mount itself is read, and the least counts.
import type { ProbeEnvironment } from './environment.ts';

export interface CgroupLimits {
  /** Whole cores' worth of CPU time, may be fractional; null: unlimited. */
  readonly cpuQuotaCores: number | null;
  readonly memoryLimitBytes: number | null;
  /** Bytes in use of that limit that cannot be reclaimed at once; null when unknown. */
  readonly memoryUsedBytes: number | null;
}

const ROOT = '/sys/fs/cgroup';
/** cgroup v1 writes about 2^63 for "no limit". */
const UNLIMITED_FROM = 2 ** 60;

/** Reads the limits in force for this process. */
export function readCgroupLimits(environment: ProbeEnvironment): CgroupLimits {
  const groups = parseMembership(environment.readText('/proc/self/cgroup') ?? '');
  let cpuQuotaCores: number | null = null;
  let memory: { limit: number; used: number | null } | null = null;
  for (const folder of foldersOf(groups)) {
    cpuQuotaCores = least(cpuQuotaCores, cpuQuota(environment, folder));
    const found = memoryLimit(environment, folder);
    if (found !== null && (memory === null || found.limit < memory.limit)) {
      memory = found;
    }
  }
  return {
    cpuQuotaCores,
    memoryLimitBytes: memory?.limit ?? null,
    memoryUsedBytes: memory?.used ?? null,
  };
}

interface Membership {
  /** Controllers of a v1 hierarchy; empty for v2. */
  readonly controllers: readonly string[];
  readonly path: string;
}

/** Parses lines `<id>:<controllers>:<path>`; the path may hold colons. */
function parseMembership(text: string): readonly Membership[] {
  return text
    .split('\n')
    .map((line) => /^\d+:([^:]*):(\/.*)$/u.exec(line))
    .filter((match) => match !== null)
    .map((match) => ({
      controllers: (match[1] ?? '').split(',').filter((name) => name !== ''),
      path: match[2] ?? '/',
    }));
}

function foldersOf(groups: readonly Membership[]): readonly string[] {
  const folders = new Set<string>([ROOT, `${ROOT}/memory`, `${ROOT}/cpu`, `${ROOT}/cpu,cpuacct`]);
  for (const { controllers, path } of groups) {
    const mounts =
      controllers.length === 0
        ? [ROOT, `${ROOT}/unified`]
        : controllers.some((name) => name === 'cpu' || name === 'memory')
          ? [`${ROOT}/${controllers.join(',')}`, ...controllers.map((name) => `${ROOT}/${name}`)]
          : [];
    const parts = path.split('/').filter((part) => part !== '' && part !== '..');
    for (const mount of mounts) {
      for (let depth = 0; depth <= parts.length; depth += 1) {
        folders.add([mount, ...parts.slice(0, depth)].join('/'));
      }
    }
  }
  return [...folders];
}

function cpuQuota(environment: ProbeEnvironment, folder: string): number | null {
  const [quota, period] = (environment.readText(`${folder}/cpu.max`) ?? '').trim().split(' ');
  if (quota !== undefined && quota !== '') {
    return ratio(Number(quota), Number(period));
  }
  const quotaUs = readNumber(environment, `${folder}/cpu.cfs_quota_us`);
  const periodUs = readNumber(environment, `${folder}/cpu.cfs_period_us`);
  return quotaUs === null || periodUs === null ? null : ratio(quotaUs, periodUs);
}

/** Number('max') is NaN and v1 writes −1: both mean no limit. */
function ratio(quota: number, period: number): number | null {
  return quota > 0 && period > 0 ? quota / period : null;
}

function memoryLimit(
  environment: ProbeEnvironment,
  folder: string,
): { limit: number; used: number | null } | null {
  const v2 = readNumber(environment, `${folder}/memory.max`);
  const limit = v2 ?? readNumber(environment, `${folder}/memory.limit_in_bytes`);
  if (limit === null || limit >= UNLIMITED_FROM) {
    return null;
  }
  const usage =
    readNumber(environment, `${folder}/memory.current`) ??
    readNumber(environment, `${folder}/memory.usage_in_bytes`);
  if (usage === null) {
    return { limit, used: null };
  }
  // Clean page cache counts as usage but is given back at once.
  const stat = environment.readText(`${folder}/memory.stat`) ?? '';
  const match = /^(?:total_)?inactive_file (\d+)$/mu.exec(stat);
  return { limit, used: Math.max(0, usage - Number(match?.[1] ?? 0)) };
}

function readNumber(environment: ProbeEnvironment, path: string): number | null {
  const text = environment.readText(path)?.trim();
  return text === undefined || !/^-?\d+$/u.test(text) ? null : Number(text);
}

function least(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : Math.min(a, b);
}
