// The child process in which NVML runs: a library that is missing, a driver that hangs or dies.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { createNvmlReader, type NvmlReading } from '../../../telemetry/probes/index.ts';
import { ROOT } from '../../architecture/source-files.ts';
import { FAKE_NVML, UUID_A, UUID_B, fakeNvml, gpuLines, readerOf, untilRead } from './fake-nvml.ts';

const A = { uuid: UUID_A, pciBusId: '0000:3b:00.0' };
const B = { uuid: UUID_B, pciBusId: '0000:af:00.0' };
const HANG = 'hang nvmlDeviceGetPowerUsage';

/** Processes that ask NVML for another, which may be this one. */
function childrenOf(pid: number): readonly number[] {
  const running = readdirSync('/proc').filter((name) => /^\d+$/u.test(name));
  return running
    .filter((name) => {
      const stat = textOf(`/proc/${name}/stat`);
      // The name in parentheses may hold anything: state and parent come after it.
      const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return parent === String(pid) && textOf(`/proc/${name}/cmdline`).includes('nvml-main');
    })
    .map(Number);
}

/** A file of /proc; empty when its process has ended. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Whether a process runs: one that has ended and is not reaped does not. */
function isRunning(pid: number): boolean {
  return /^State:\s+[^Z]/mu.test(textOf(`/proc/${String(pid)}/status`));
}

const failureOf = (reading: NvmlReading): object =>
  reading.kind === 'failed' ? { code: reading.code, reason: reading.reason } : {};

describe('a library', () => {
  test('that is missing where TILELOOM_NVML names it is named, and not looked for again', async () => {
    const fake = fakeNvml(gpuLines(UUID_A));
    const library = `${String(fake.environment['TILELOOM_FAKE_NVML'])}.so`;
    const reader = readerOf({
      ...fake,
      environment: { ...fake.environment, TILELOOM_NVML: library },
    });
    const failure = {
      code: 'unavailable',
      reason: `no ${library} on this host (TILELOOM_NVML)`,
    };
    expect(failureOf(await reader.read([A]))).toEqual(failure);
    symlinkSync(FAKE_NVML, library);
    // The end of its process may reach this one later than the process table.
    for (let attempt = 0; attempt < 10; attempt += 1) {
      expect(failureOf(await reader.read([A]))).toEqual(failure);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    await vi.waitFor(() => expect(childrenOf(process.pid)).toEqual([]), 10_000);
  });

  test('that is no library is named with the reason', async () => {
    const fake = fakeNvml([], join(ROOT, 'package.json'));
    const reading = failureOf(await readerOf(fake).read([A]));
    expect(reading).toMatchObject({ code: 'unavailable' });
    expect(reading).toHaveProperty('reason', expect.stringContaining('package.json'));
  });

  test.each([
    [9, 'NVML did not start: driver-not-loaded'],
    [18, 'NVML did not start: library-mismatch'],
    [999, 'NVML did not start: unknown'],
  ])('that refuses with %i says so, and is asked again later', async (status, reason) => {
    const fake = fakeNvml([...gpuLines(UUID_A), `fail * nvmlInit_v2 ${String(status)}`]);
    const reader = readerOf(fake);
    expect(failureOf(await reader.read([A]))).toEqual({ code: 'unavailable', reason });
    fake.set(gpuLines(UUID_A));
    await untilRead(reader, [A]);
  });
});

describe('a driver', () => {
  test('that hangs costs one reading, and its process is killed', async () => {
    const fake = fakeNvml(gpuLines(UUID_A));
    const reader = readerOf(fake, { readMs: 3_000 });
    await untilRead(reader, [A]);
    const [pid] = childrenOf(process.pid);
    expect(pid).toBeGreaterThan(0);
    fake.set([...gpuLines(UUID_A), HANG]);
    expect(failureOf(await reader.read([A]))).toEqual({
      code: 'timeout',
      reason: 'NVML did not answer within 3000 ms',
    });
    await vi.waitFor(() => expect(isRunning(Number(pid))).toBe(false), 10_000);
    fake.set(gpuLines(UUID_A));
    await untilRead(reader, [A]);
    expect(childrenOf(process.pid)).not.toContain(pid);
  });

  test('that hangs is left alone for a while', async () => {
    const fake = fakeNvml(gpuLines(UUID_A));
    const reader = readerOf(fake, { readMs: 3_000, restartMs: 3_600_000 });
    await untilRead(reader, [A]);
    fake.set([...gpuLines(UUID_A), HANG]);
    const first = await reader.read([A]);
    expect(first).toMatchObject({ kind: 'failed', code: 'timeout' });
    await vi.waitFor(() => expect(childrenOf(process.pid)).toEqual([]), 10_000);
    fake.set(gpuLines(UUID_A));
    // Its end may reach this process later than the process table.
    for (let attempt = 0; attempt < 10; attempt += 1) {
      expect(await reader.read([A])).toEqual(first);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    expect(childrenOf(process.pid)).toEqual([]);
  });

  test('that hangs fails every reading that waits for it', async () => {
    const fake = fakeNvml([...gpuLines(UUID_A), ...gpuLines(UUID_B)]);
    const reader = readerOf(fake, { readMs: 3_000, restartMs: 3_600_000 });
    await untilRead(reader, [A]);
    fake.set([...gpuLines(UUID_A), ...gpuLines(UUID_B), HANG]);
    const both = await Promise.all([reader.read([A]), reader.read([B])]);
    expect(both).toMatchObject([{ code: 'timeout' }, { code: 'timeout' }]);
  });

  test('that hangs while it starts holds up one reading only', async () => {
    const fake = fakeNvml([...gpuLines(UUID_A), 'hang nvmlInit_v2']);
    const reader = readerOf(fake, { readMs: 50 });
    const starting = { code: 'starting', reason: 'NVML is not ready after 50 ms' };
    expect(failureOf(await reader.read([A]))).toEqual(starting);
    const next = reader.read([A]);
    const later = new Promise<NvmlReading>((resolve) => {
      setImmediate(() => resolve({ kind: 'read', devices: [] }));
    });
    expect(failureOf(await Promise.race([next, later]))).toEqual(starting);
  });

  test('that hangs while it starts is given up after the time for a start', async () => {
    const fake = fakeNvml([...gpuLines(UUID_A), 'hang nvmlInit_v2']);
    const reader = readerOf(fake, { readMs: 50, startMs: 500, restartMs: 3_600_000 });
    const late = { code: 'timeout', reason: 'NVML did not start within 500 ms' };
    await vi.waitFor(async () => expect(failureOf(await reader.read([A]))).toEqual(late), 20_000);
    await vi.waitFor(() => expect(childrenOf(process.pid)).toEqual([]), 10_000);
  });

  test('that is slow to start serves the readings after it', async () => {
    const fake = fakeNvml([...gpuLines(UUID_A), 'hang nvmlInit_v2']);
    const reader = readerOf(fake, { readMs: 2_000, restartMs: 3_600_000 });
    expect(failureOf(await reader.read([A]))).toMatchObject({ code: 'starting' });
    const [pid] = childrenOf(process.pid);
    fake.set(gpuLines(UUID_A));
    await untilRead(reader, [A]);
    expect(await reader.read([A])).toMatchObject({ devices: [{ uuid: UUID_A, powerWatts: 412 }] });
    expect(childrenOf(process.pid)).toEqual([pid]);
  });

  test('that answers late but in time is read', async () => {
    const fake = fakeNvml([...gpuLines(UUID_A), 'delay nvmlDeviceGetPowerUsage 200']);
    expect(await readerOf(fake).read([A])).toMatchObject({ devices: [{ powerWatts: 412 }] });
  });

  test('that crashes takes its process and no other, and a new one is started', async () => {
    const fake = fakeNvml([...gpuLines(UUID_A), 'crash nvmlDeviceGetPowerUsage']);
    const reader = readerOf(fake);
    expect(failureOf(await reader.read([A]))).toEqual({
      code: 'unavailable',
      reason: 'the NVML process ended with SIGSEGV',
    });
    fake.set(gpuLines(UUID_A));
    await untilRead(reader, [A]);
  });

  test('that says why it ends is quoted', async () => {
    const fake = fakeNvml(['device only-a-uuid']);
    expect(failureOf(await readerOf(fake).read([A]))).toEqual({
      code: 'unavailable',
      reason:
        'the NVML process ended with SIGABRT: fake NVML: line not understood: device only-a-uuid',
    });
  });

  test.each([1, 9, 18])('that goes away with %i makes room for a new start', async (status) => {
    const fake = fakeNvml(gpuLines(UUID_A));
    const reader = readerOf(fake);
    await reader.read([A]);
    fake.set([...gpuLines(UUID_A), `fail * nvmlDeviceGetHandleByUUID ${String(status)}`]);
    expect(failureOf(await reader.read([A]))).toHaveProperty(
      'reason',
      expect.stringMatching(/^NVML lost its driver: /u),
    );
    fake.set(gpuLines(UUID_A));
    await untilRead(reader, [A]);
  });
});

describe('the process', () => {
  test('starts with the first reading and ends with the reader', async () => {
    // The process of the test before is killed, but maybe not gone.
    await vi.waitFor(() => expect(childrenOf(process.pid)).toEqual([]), 10_000);
    const reader = readerOf(fakeNvml(gpuLines(UUID_A)));
    expect(childrenOf(process.pid)).toEqual([]);
    await reader.read([A]);
    expect(childrenOf(process.pid)).toHaveLength(1);
    reader.close();
    await vi.waitFor(() => expect(childrenOf(process.pid)).toEqual([]), 10_000);
    expect(failureOf(await reader.read([A]))).toMatchObject({ code: 'unavailable' });
    expect(() => createNvmlReader().close()).not.toThrow();
  });

  const program = `
    const { createNvmlReader } = await import(process.argv[1]);
    const reader = createNvmlReader({ readMs: 20000 });
    const reading = await reader.read([{ uuid: '${UUID_A}', pciBusId: '0' }]);
    process.stdout.write(reading.kind + '\\n');
  `;
  const entry = join(ROOT, 'dist/telemetry/probes/index.js');
  const start = (lines: readonly string[], more: string): ReturnType<typeof spawn> =>
    spawn(process.execPath, ['--input-type=module', '-e', `${program}${more}`, entry], {
      env: { ...process.env, ...fakeNvml(lines).environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    });

  test('does not keep its parent alive', async () => {
    const parent = start(gpuLines(UUID_A), '');
    const [code] = (await once(parent, 'exit')) as [number | null];
    expect(code).toBe(0);
  });

  test('dies with a parent that is killed, even while the driver hangs', async () => {
    const again = `
      setInterval(() => undefined, 1000);
      void reader.read(null);
      setTimeout(() => process.stdout.write('hanging'), 500);
    `;
    const fake = [...gpuLines(UUID_A), 'hang nvmlDeviceGetCount_v2'];
    const parent = start(fake, again);
    let said = '';
    parent.stdout?.on('data', (text: Buffer) => (said += text.toString()));
    await vi.waitFor(() => expect(said).toContain('hanging'), 20_000);
    const [child] = childrenOf(parent.pid ?? 0);
    expect(isRunning(Number(child))).toBe(true);
    parent.kill('SIGKILL');
    await vi.waitFor(() => expect(isRunning(Number(child))).toBe(false), 10_000);
  });
});
