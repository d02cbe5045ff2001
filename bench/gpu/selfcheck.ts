// Owns the self-check of a device: every CUDA variant against the exact oracle on the corpus, tiles of
// real layers against the CPU's digests, leaks, and NVIDIA's sanitizer where it is present.
// I1 it never counts what it did not compare: a check with nothing compared is a failure.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  verifyVariant,
  type DeviceInfo,
  type OpenDevice,
  type OpenDeviceOptions,
} from '../../native/index.ts';
import type { VariantSpec } from '../../registry/index.ts';
import { cudaVariants, guarded, isGood, waitingVariants, type Check } from './check.ts';
import { fakeReason, findDevice, openDevice, openLibraries, type Libraries } from './device.ts';
import { CORPUS_FILES, makeDataFolder, makeOut, requireCorpus } from './folders.ts';
import { checkLayer, prepareChecks } from './layer-check.ts';
import type { Place } from './place.ts';
import { runSanitizer, type SanitizerRun } from './sanitizer.ts';

export interface SelfCheckOptions {
  readonly ordinal: number;
  /** Every twentieth case of the corpus, and smaller tiles. */
  readonly reduced: boolean;
  readonly sanitizer: boolean;
  readonly corpus: string | null;
  /** Folder for the report; null: none is written. */
  readonly out: string | null;
}

export interface SelfCheckReport {
  readonly schema: 'tileloom.gpu-selfcheck/1';
  readonly date: string;
  readonly commit: string;
  readonly device: DeviceInfo;
  /** Why this proves nothing about a device; null on a real one. */
  readonly fake: string | null;
  readonly reduced: boolean;
  readonly checks: readonly Check[];
  readonly sanitizer: readonly SanitizerRun[];
  readonly passed: boolean;
}

const KEEP_EVERY = 20;
/** Small arenas: the sanitizer and tests pay for every page. */
const REDUCED_SLOT_BYTES = 16 * 1024 ** 2;

export async function selfCheck(place: Place, options: SelfCheckOptions): Promise<SelfCheckReport> {
  requireCorpus(options.corpus ?? place.corpus);
  const libraries = openLibraries(place);
  const entry = findDevice(libraries, options.ordinal);
  if (options.out !== null) makeOut(options.out);
  const folder = makeDataFolder(null, 'tileloom-selfcheck-');
  try {
    const checks: Check[] = [];
    const add = (check: Check): void => {
      checks.push(check);
      process.stdout.write(`${lineOf(check)}\n`);
    };
    const info = await checkDevice(libraries, place, options, folder, add);
    const sanitizer = options.sanitizer ? await runSanitizer(options.ordinal) : [];
    for (const one of sanitizer) process.stdout.write(`${sanitizerLine(one)}\n`);
    const report: SelfCheckReport = {
      schema: 'tileloom.gpu-selfcheck/1',
      date: new Date().toISOString(),
      commit: place.commit,
      device: info,
      fake: fakeReason(entry),
      reduced: options.reduced,
      checks,
      sanitizer,
      passed: checks.every(isGood) && sanitizer.every((one) => one.outcome !== 'failed'),
    };
    writeReport(report, options.out);
    return report;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The corpus, then two equal passes over layers with the device closed before, between and after. */
async function checkDevice(
  libraries: Libraries,
  place: Place,
  { ordinal, reduced, corpus: given }: SelfCheckOptions,
  folder: string,
  add: (check: Check) => void,
): Promise<DeviceInfo> {
  const corpus = reduced ? join(folder, 'corpus') : (given ?? place.corpus);
  if (reduced) reduceCorpus(given ?? place.corpus, corpus);
  const wanted = { ordinal, ...(reduced ? { slotBytes: REDUCED_SLOT_BYTES } : {}) };
  const { info } = await withDevice(libraries, wanted, () => checkCorpus(libraries, corpus, add));
  const prepared = await prepareChecks(libraries, place, folder, reduced);
  const budgets: number[] = [];
  const held: number[][] = [];
  for (const pass of [1, 2]) {
    const opened = await withDevice(libraries, wanted, async (device) => {
      const rounds: number[] = [];
      for (const round of [1, 2]) {
        for (const one of prepared) {
          const check = await checkLayer(libraries, one);
          if (pass + round === 2 || !isGood(check)) add(check);
        }
        rounds.push(device.statistics().heldBytes);
      }
      held.push(rounds);
    });
    budgets.push(opened.info.memoryBytesMax);
  }
  const last = await withDevice(libraries, wanted, async () => undefined);
  budgets.push(last.info.memoryBytesMax);
  add(judgeLeaks(held, budgets));
  return info;
}

async function withDevice(
  libraries: Libraries,
  wanted: OpenDeviceOptions,
  work: (device: OpenDevice) => Promise<void>,
): Promise<OpenDevice> {
  const device = openDevice(libraries, wanted);
  try {
    await work(device);
  } finally {
    device.close();
  }
  return device;
}

/** Free memory of a device that others use as well moves; a leaked arena is larger than this. */
const FREE_SLACK_BYTES = 32 * 1024 ** 2;

function judgeLeaks(held: readonly (readonly number[])[], budgets: readonly number[]): Check {
  const notes: string[] = [];
  held.forEach(([first = 0, second = 0], pass) => {
    if (second > first) {
      const grew = `held ${first} bytes, after the same work again ${second}`;
      notes.push(`pass ${pass + 1}: ${grew}`);
    }
  });
  const [firstHeld, secondHeld] = held.map((pass) => pass.at(-1) ?? 0);
  if (firstHeld !== secondHeld) {
    notes.push(`passes held ${firstHeld} and ${secondHeld} bytes at their ends`);
  }
  // The budget is 7/8 of the free memory at opening.
  const [before = 0, , last = 0] = budgets;
  if (last + FREE_SLACK_BYTES < before) {
    notes.push(`closing left ${before - last} bytes less to open with`);
  }
  const compared = held.length * 2 + 1;
  return {
    ...{ check: 'leak', subject: 'device memory after equal work, and after closing' },
    ...{ compared, failed: notes.length, seconds: 0, notes },
  };
}

async function checkCorpus(
  libraries: Libraries,
  corpus: string,
  add: (check: Check) => void,
): Promise<void> {
  for (const variant of cudaVariants()) {
    add(await checkVariant(libraries, variant, corpus, 'corpus'));
  }
  for (const variant of waitingVariants()) {
    add(await checkVariant(libraries, variant, corpus, 'waiting'));
  }
}

/** A variant that waits need not be in the library; where it is, it must be exact. */
async function checkVariant(
  libraries: Libraries,
  variant: VariantSpec,
  corpus: string,
  check: 'corpus' | 'waiting',
): Promise<Check> {
  return await guarded(check, variant.id, async () => {
    try {
      const { checked, failed, failures } = await verifyVariant(libraries.device, variant, corpus);
      const { orientation, points, sums } = checked;
      const compared = Math.min(orientation, points, sums) === 0 ? 0 : orientation + points + sums;
      return { compared, failed, notes: failures.map((one) => `${one.id}: ${one.message}`) };
    } catch (error) {
      const absent = (error as { code?: unknown }).code === 'NO_SUCH_SYMBOL';
      if (!absent || check !== 'waiting') throw error;
      return { compared: 0, failed: 0, notes: [`this library has no ${variant.symbol}`] };
    }
  });
}

function reduceCorpus(from: string, to: string): void {
  mkdirSync(to);
  for (const name of CORPUS_FILES) {
    const lines = readFileSync(join(from, name), 'utf8').split('\n');
    const kept = lines.filter((line, index) => line !== '' && index % KEEP_EVERY === 0);
    writeFileSync(join(to, name), `${kept.join('\n')}\n`);
  }
}

function lineOf({ check, subject, compared, failed, seconds, notes }: Check): string {
  const good = isGood({ check, subject, compared, failed, seconds, notes });
  const verdict = good ? (compared === 0 ? 'absent' : 'equal') : 'DIFFERS';
  const time = seconds === 0 ? '' : `${seconds.toFixed(1)} s`;
  const line = [
    verdict.padEnd(8),
    check.padEnd(10),
    subject.padEnd(64),
    String(compared).padStart(9),
  ];
  return [`${line.join(' ')}  ${time}`, ...notes.map((note) => `         ${note}`)].join('\n');
}

function sanitizerLine({ tool, outcome, seconds, note }: SanitizerRun): string {
  const verdict = { clean: 'clean', failed: 'FAILED', absent: 'absent' }[outcome];
  const time = outcome === 'absent' ? '' : ` ${seconds.toFixed(1)} s`;
  return `${verdict.padEnd(8)} sanitizer  ${tool} ${note}${time}`;
}

function writeReport(report: SelfCheckReport, out: string | null): void {
  if (out === null) return;
  const file = join(out, 'gpu-selfcheck.json');
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  process.stdout.write(`${file}\n`);
}
