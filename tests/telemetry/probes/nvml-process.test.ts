// The child process in which NVML runs: a library that is missing, a driver that hangs or dies.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { createNvmlReader, type NvmlReading } from '../../../telemetry/probes/index.ts';
import { ROOT } from '../../architecture/source-files.ts';
import { FAKE_NVML, UUID_A, UUID_B, fakeNvml, gpuLines, readerOf } from './fake-nvml.ts';

const A = { uuid: UUID_A, pciBusId: '0000:3b:00.0' };
const B = { uuid: UUID_B, pciBusId: '0000:af:00.0' };
const HANG = 'hang nvmlDeviceGetPowerUsage';

const childrenOf = (pid: number): readonly number[] => {
  try {
    const found = execFileSync('pgrep', ['-P', String(pid), '-f', 'nvml-main'], {
      encoding: 'utf8',
    });
    return found.split('\n').filter(Boolean).map(Number);
  } catch {
    return [];
  }
};

/** Whether a process runs: one that has ended and is not reaped does not. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/mu.test(readFileSync(`/proc/${String(pid)}/status`, 'utf8'));
  } catch {
    return false;
  }
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
    expect(childrenOf(process.pid)).toEqual([]);
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
    await vi.waitFor(async () => expect((await reader.read([A])).kind).toBe('read'), 20_000);
  });
});

describe('a driver', () => {
  test('that hangs costs one reading, and its process is killed', async () => {
    const fake = fakeNvml(gpuLines(UUID_A));
    const reader = readerOf(fake, { readMs: 3_000 });
    expect((await reader.read([A])).kind).toBe('read');
    const [pid] = childrenOf(process.pid);
    fake.set([...gpuLines(UUID_A), HANG]);
    expect(failureOf(await reader.read([A]))).toEqual({
      code: 'timeout',
      reason: 'NVML did not answer within 3000 ms',
    });
    await vi.waitFor(() => expect(isRunning(Number(pid))).toBe(false), 10_000);
    fake.set(gpuLines(UUID_A));
    await vi.waitFor(async () => expect((await reader.read([A])).kind).toBe('read'), 20_000);
    expect(childrenOf(process.pid)).not.toContain(pid);
  });

  test('that hangs is left alone for a while', async () => {
    const fake = fakeNvml([...gpuLines(UUID_A), HANG]);
    const reader = readerOf(fake, { readMs: 3_000, restartMs: 3_600_000 });
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
    await reader.read([A]);
    fake.set([...gpuLines(UUID_A), ...gpuLines(UUID_B), HANG]);
    const both = await Promise.all([reader.read([A]), reader.read([B])]);
    expect(both.map((reading) => reading.kind)).toEqual(['failed', 'failed']);
  });

  test('that hangs while it starts holds up one reading only', async () => {
    const fake = fakeNvml([...gpuLines(UUID_A), 'hang nvmlInit_v2']);
    const reader = readerOf(fake, { readMs: 50, startMs: 2_000, restartMs: 3_600_000 });
    const starting = { code: 'starting', reason: 'NVML is not ready after 50 ms' };
    expect(failureOf(await reader.read([A]))).toEqual(starting);
    const next = reader.read([A]);
    const later = new Promise<NvmlReading>((resolve) => {
      setImmediate(() => resolve({ kind: 'read', devices: [] }));
    });
    expect(failureOf(await Promise.race([next, later]))).toEqual(starting);
    const late = { code: 'timeout', reason: 'NVML did not start within 2000 ms' };
    await vi.waitFor(async () => expect(failureOf(await reader.read([A]))).toEqual(late), 20_000);
    await vi.waitFor(() => expect(childrenOf(process.pid)).toEqual([]), 10_000);
  });

  test('that is slow to start serves the readings after it', async () => {
    const fake = fakeNvml([...gpuLines(UUID_A), 'delay nvmlInit_v2 300']);
    const reader = readerOf(fake, { readMs: 10 });
    expect(failureOf(await reader.read([A]))).toMatchObject({ code: 'starting' });
    const patient = async (): Promise<void> =>
      expect(failureOf(await reader.read([A]))).not.toMatchObject({ code: 'starting' });
    await vi.waitFor(patient, 20_000);
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
    await vi.waitFor(async () => expect((await reader.read([A])).kind).toBe('read'), 20_000);
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
    await vi.waitFor(async () => expect((await reader.read([A])).kind).toBe('read'), 20_000);
  });
});

describe('the process', () => {
  test('starts with the first reading and ends with the reader', async () => {
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
