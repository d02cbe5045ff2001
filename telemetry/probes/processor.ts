// Owns what /proc tells about the processor: name, instruction sets, cores this process may use, load.
import type { ProbeEnvironment } from './environment.ts';

/** The instruction sets that variants may ask for; a snapshot lists no others, to stay small. */
const KNOWN_ISA: readonly string[] = Object.freeze([
  'sse4_2',
  'popcnt',
  'avx',
  'f16c',
  'fma',
  'bmi1',
  'bmi2',
  'avx2',
  'avx512f',
  'avx512dq',
  'avx512bw',
  'avx512vl',
  'neon',
  'asimd',
  'sve',
]);

const NAME_LENGTH_MAX = 48;

export interface Processor {
  readonly name: string | null;
  readonly isa: readonly string[];
  /** `cpu-avx2`, or `cpu-scalar`. */
  readonly deviceClass: string;
}

/** Busy and total time of all cores since boot, in ticks. */
export interface ProcessorTime {
  readonly busy: number;
  readonly total: number;
}

/** Reads /proc/cpuinfo; a core with fewer flags than the first does not occur within one host. */
export function readProcessor(environment: ProbeEnvironment): Processor {
  const text = environment.readText('/proc/cpuinfo') ?? '';
  const flags = new Set((field(text, 'flags') ?? field(text, 'Features') ?? '').split(' '));
  const isa = KNOWN_ISA.filter((name) => flags.has(name));
  const vector = isa.includes('avx2') && isa.includes('fma');
  return {
    name: field(text, 'model name')?.slice(0, NAME_LENGTH_MAX) ?? null,
    isa,
    deviceClass: vector ? 'cpu-avx2' : 'cpu-scalar',
  };
}

/** Cores this process may use: its affinity (cpusets included), at most the quota, at least one. */
export function readCores(environment: ProbeEnvironment, quotaCores: number | null): number {
  const status = environment.readText('/proc/self/status') ?? '';
  const allowed = countList(field(status, 'Cpus_allowed_list') ?? '');
  const cores = allowed > 0 ? allowed : environment.parallelism();
  return Math.max(1, Math.min(cores, Math.floor(quotaCores ?? Infinity)));
}

/** One-minute load average, or null. */
export function readLoad(environment: ProbeEnvironment): number | null {
  const value = Number.parseFloat(environment.readText('/proc/loadavg') ?? '');
  return Number.isFinite(value) ? value : null;
}

/** Processor time from /proc/stat, or null. */
export function readProcessorTime(environment: ProbeEnvironment): ProcessorTime | null {
  const line = /^cpu +(.+)$/mu.exec(environment.readText('/proc/stat') ?? '')?.[1];
  // user nice system idle iowait irq softirq steal; guest time is part of user already.
  const ticks = line?.trim().split(/ +/u).slice(0, 8).map(Number) ?? [];
  if (ticks.length < 4 || !ticks.every(Number.isFinite)) {
    return null;
  }
  const total = ticks.reduce((sum, tick) => sum + tick, 0);
  return { busy: total - (ticks[3] ?? 0) - (ticks[4] ?? 0), total };
}

/** Percent of time between two readings in which cores were busy; null without a difference. */
export function utilizationPct(
  before: ProcessorTime | null,
  now: ProcessorTime | null,
): number | null {
  if (before === null || now === null || now.total <= before.total) {
    return null;
  }
  const share = (100 * (now.busy - before.busy)) / (now.total - before.total);
  return Math.min(100, Math.max(0, Math.round(share)));
}

function field(text: string, name: string): string | null {
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && line.slice(0, colon).trim() === name) {
      return line.slice(colon + 1).trim();
    }
  }
  return null;
}

/** Counts a kernel list such as `0-3,8,10-11`; 0 for anything else. */
function countList(list: string): number {
  let cores = 0;
  for (const range of list.split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/u.exec(range.trim());
    if (match === null) {
      return 0;
    }
    cores += Number(match[2] ?? match[1]) - Number(match[1]) + 1;
  }
  return cores;
}
