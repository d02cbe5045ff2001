// Each of some CUresults at each driver call of a whole session on the fake driver: list, open, a
// chunk in two batches, points, close. device_failures.cpp runs the cases, each in a process of its
// own; this file says what must come of them.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { codeOfStatus } from '../../native/errors.ts';
import { fakeGpus, type FakeGpus } from './helpers/fake-gpu.ts';
import { writeGeometry, type Area } from './helpers/geometry.ts';
import { buildProgram } from './helpers/native-program.ts';

interface Case {
  readonly function: string;
  readonly result: number;
  /** The call that fails, counted from 0; null: all of them, and errors have no names. */
  readonly after: number | null;
  /** Whether each tile was a batch of its own, all at once, on two slots. */
  readonly threads: boolean;
  /** Signal or exit status of a process that did not end well. */
  readonly crash?: number;
  /** What failed first; empty when the work went through. */
  readonly step: string;
  readonly status: number;
  readonly deviceError: number;
  readonly text: string;
  /** 1: an answer differs from that of the CPU. */
  readonly wrong: number;
  /** The same work once more in the same process, without failures. */
  readonly stepAgain: string;
  readonly statusAgain: number;
  readonly callsAgain: number;
  /** Calls of the driver between an error that sticks and the end of the first work. */
  readonly lateCalls: number;
  readonly leaks: string;
}

const CODE_OF_RESULT: Readonly<Record<number, string>> = {
  1: 'DEVICE_FAILED', // invalid value
  2: 'OUT_OF_MEMORY',
  46: 'DEVICE_MISSING', // another process holds it alone
  100: 'DEVICE_MISSING', // no device
  201: 'DEVICE_FAILED', // invalid context
  209: 'IMAGE_UNUSABLE', // no binary for this device
  222: 'IMAGE_UNUSABLE', // PTX too new
  700: 'DEVICE_LOST', // illegal address
  702: 'DEVICE_LOST', // launch timed out
  709: 'DEVICE_LOST', // context destroyed
  719: 'DEVICE_LOST', // launch failed
  999: 'DEVICE_FAILED', // unknown
};
/** A refusal to free changes no answer; what was refused stays with the driver. */
const FREEING: Readonly<Record<string, readonly string[]>> = {
  cuDevicePrimaryCtxRelease_v2: ['contexts'],
  cuModuleUnload: ['modules'],
  cuMemFree_v2: ['deviceBytes'],
  cuMemFreeHost: ['hostBytes'],
  cuStreamDestroy_v2: ['streams'],
  cuEventDestroy_v2: ['events'],
  cuStreamSynchronize: [], // before a stream is destroyed
  cuCtxSetCurrent: [], // before the device is closed
};
/** Old drivers cannot tell these either. */
const OPTIONAL = new Set(['cuDeviceGetUuid_v2', 'cuDeviceTotalMem_v2', 'cuDeviceGetAttribute']);
const KEPT = ['contexts', 'streams', 'events', 'modules', 'deviceBytes', 'hostBytes'];
const AREAS: readonly Area[] = [
  [0, 0, 4],
  [4, 0, 4],
  [2, 2, 4],
  [0, 4, 1],
].map(([x = 0, y = 0, size = 0]) => ({
  type: 'Polygon',
  coordinates: [
    [
      [x, y],
      [x + size, y],
      [x + size, y + size],
      [x, y + size],
      [x, y],
    ],
  ],
}));

let gpus: FakeGpus;
let cases: readonly Case[];

beforeAll(async () => {
  gpus = fakeGpus();
  const source = join(import.meta.dirname, 'device_failures.cpp');
  const program = buildProgram(source, join(gpus.folder, 'device_failures'));
  cases = await runCases(program);
}, 300_000);

afterAll(() => gpus.remove());

async function runCases(program: string): Promise<Case[]> {
  const geometry = join(gpus.folder, 'layer.tlgeom');
  writeGeometry(geometry, AREAS);
  const sha256 = createHash('sha256').update(readFileSync(geometry)).digest('hex');
  const library = join(import.meta.dirname, '../../native/build/libtileloom_cuda.so');
  const [deviceLine = ''] = readFileSync(gpus.controlPath, 'utf8').split('\n');
  const child = spawn(
    program,
    [library, gpus.driverPath, gpus.imagePath, geometry, sha256, gpus.folder, deviceLine],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  const found: Case[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    found.push(JSON.parse(line) as Case);
  }
  expect(await ended).toBe(0);
  return found;
}

function isSticky(one: Case): boolean {
  return CODE_OF_RESULT[one.result] === 'DEVICE_LOST';
}

/** What a process still held at its end, without what was nothing. */
function heldAtEnd(one: Case): string[] {
  const words = one.leaks.split(' ');
  return KEPT.filter((name) => words[words.indexOf(name) + 1] !== '0');
}

function named(some: readonly Case[]): string[] {
  return some.map((one) => `${one.function} ${one.result} after ${one.after}: ${one.text}`);
}

describe('a driver call that fails', () => {
  test('is met at every call of the session, each in a process that ends well', () => {
    const functions = new Set(cases.map((one) => one.function));
    expect(functions.size).toBe(32);
    for (const name of functions) {
      const calls = cases.filter(
        (one) => one.function === name && one.result === 1 && !one.threads,
      );
      expect(calls.length, name).toBeGreaterThanOrEqual(2);
    }
    expect(cases.length).toBeGreaterThan(1000);
    expect(cases.filter((one) => one.crash !== undefined)).toEqual([]);
  });

  test('never gives a wrong answer', () => {
    expect(named(cases.filter((one) => one.wrong !== 0))).toEqual([]);
  });

  test('ends in the code of its result, with the result in message and details', () => {
    const failed = cases.filter((one) => one.step !== '');
    expect(failed.length).toBeGreaterThan(800);
    for (const one of failed) {
      const where = `${one.function} ${one.result} after ${one.after} in ${one.step}: ${one.text}`;
      expect(codeOfStatus(one.status), where).toBe(CODE_OF_RESULT[one.result]);
      // An assign function has only words to say it with.
      expect(one.deviceError, where).toBe(one.step === 'points' ? 0 : one.result);
      expect(one.text, where).toContain(`(${one.result})`);
    }
  });

  test('passes unnoticed only where it asks for a nicety or frees', () => {
    // With threads, a call may come later than its number says, or not at all.
    const unnoticed = new Set(
      cases.filter((one) => one.step === '' && !one.threads).map((one) => one.function),
    );
    expect([...unnoticed].filter((name) => !OPTIONAL.has(name) && !(name in FREEING))).toEqual([]);
  });

  test('leaves a device that works and nothing behind, unless it is lost', () => {
    const usable = cases.filter((one) => !isSticky(one));
    expect(named(usable.filter((one) => one.stepAgain !== ''))).toEqual([]);
    for (const one of usable) {
      const where = `${one.function} ${one.result} after ${one.after}: ${one.leaks}`;
      const refused = one.step === '' ? (FREEING[one.function] ?? []) : [];
      expect(heldAtEnd(one), where).toEqual(refused);
    }
  });

  test('that sticks is answered by DEVICE_LOST from then on, without a call of the driver', () => {
    const lost = cases.filter((one) => isSticky(one));
    expect(lost.length).toBeGreaterThan(400);
    for (const one of lost) {
      const where = `${one.function} ${one.result} after ${one.after}`;
      expect(codeOfStatus(one.statusAgain), where).toBe('DEVICE_LOST');
      expect(one.callsAgain, where).toBe(0);
      // Three other batches may have been on their way into a call.
      expect(one.lateCalls, where).toBeLessThanOrEqual(one.threads ? 3 : 0);
    }
  });
});
