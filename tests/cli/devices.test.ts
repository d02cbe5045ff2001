// Commands about devices, over the fake driver and the fake NVML: what a person with GPUs would see.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkNoDriver } from '../../cli/doctor/gpu-checks.ts';
import { homePaths, writeDeviceStates } from '../../server/index.ts';
import { fakeGpus, type FakeGpus } from '../native/helpers/fake-gpu.ts';
import { runCli } from './fake-io.ts';

let fake: FakeGpus;
let leave: () => void;
let home: string;

beforeEach(() => {
  fake = fakeGpus({ devices: 2 });
  leave = fake.enter();
  home = mkdtempSync(join(tmpdir(), 'tileloom-cli-devices-'));
});
afterEach(() => {
  leave();
  fake.remove();
  rmSync(home, { recursive: true, force: true });
});

const run = (...words: string[]): ReturnType<typeof runCli> =>
  runCli(words, { env: { PATH: process.env['PATH'], TILELOOM_HOME: home, TILELOOM_PORT: '1' } });

/** As a worker of this machine would, and this process lives. */
function report(deviceId: string, quarantine: string | null, resident: string[]): void {
  const directory = join(homePaths({ TILELOOM_HOME: home }).hosts, 'here');
  writeDeviceStates(directory, [{ deviceId, quarantine, resident }]);
}

describe('device list', () => {
  test('shows each GPU, and which one a worker has taken out of service', async () => {
    const [first, second] = fake.devices;
    report(second?.uuid ?? '', 'DEVICE_LOST: lost 3 times within 10 minutes', []);
    const { code, stdout } = await run('device', 'list');
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(4);
    expect(lines[2]).toMatch(new RegExp(`^${first?.uuid ?? ''} +gpu +gpu-sm90 .*in service$`, 'u'));
    expect(lines[3]).toContain('out of service: DEVICE_LOST: lost 3 times within 10 minutes');
  });

  test('tells what is missing where there is no GPU', async () => {
    process.env['TILELOOM_CUDA_DRIVER'] = '/nowhere/libcuda.so.1';
    const json = await run('device', 'list', '-o', 'json');
    expect(json.code).toBe(0);
    expect((JSON.parse(json.stdout) as { devices: unknown[] }).devices).toHaveLength(1);
    expect((await run('device', 'list')).stdout).toMatch(
      /no GPU: DEVICE_MISSING: .*\/nowhere\/libcuda.so.1/u,
    );
  });
});

/** Acts on a terminal where it is not escaped. */
const RAW = '/x\n\u001B[31mred';
const ESCAPED = String.raw`/x\u{a}\u{1b}[31mred`;

describe('device snapshot', () => {
  test('shows readings, reasons for those that lack, and resident layers', async () => {
    const [first] = fake.devices;
    const { uuid = '' } = first ?? {};
    fake.controlNvml([
      `reading ${uuid} utilization 37 12`,
      `reading ${uuid} temperature 61`,
      `fail ${uuid} nvmlDeviceGetPowerUsage 3`,
    ]);
    report(uuid, null, ['0123456789abcdef-half-open-first']);
    const { stdout } = await run('device', 'snapshot');
    const paragraph = stdout.split('\n\n').find((text) => text.includes(uuid)) ?? '';
    expect(paragraph).toMatch(/utilisation +37 %/u);
    expect(paragraph).toMatch(/temperature +61 °C/u);
    expect(paragraph).toMatch(/power +unknown \(not-supported\)/u);
    expect(paragraph).toMatch(/resident +0123456789abcdef-half-open-first/u);
    expect(paragraph).toMatch(/state +in service/u);
  });
});

describe('text of variables that acts on a terminal', () => {
  test('is escaped where a driver is named by it', async () => {
    process.env['TILELOOM_CUDA_DRIVER'] = RAW;
    for (const words of [['device', 'list'], ['device', 'snapshot'], ['doctor']]) {
      const { stdout } = await run(...words);
      expect(stdout, words.join(' ')).toContain(`expected ${ESCAPED}`);
      expect(stdout, words.join(' ')).not.toContain('\u001B');
    }
  });

  test('is escaped where NVML is named by it', async () => {
    process.env['TILELOOM_NVML'] = RAW;
    for (const words of [['device', 'snapshot'], ['doctor']]) {
      const { stdout } = await run(...words);
      expect(stdout, words.join(' ')).toContain(ESCAPED);
      expect(stdout, words.join(' ')).not.toContain('\u001B');
    }
  });
});

describe('doctor', () => {
  const gpuFindings = async (): Promise<readonly string[]> => {
    const { stdout } = await run('doctor', '-o', 'json');
    const { findings } = JSON.parse(stdout) as {
      findings: { check: string; status: string; found: string; fix: string | null }[];
    };
    return findings
      .filter(({ check }) => check.startsWith('GPU'))
      .map(
        ({ check, status, found, fix }) => `${check}: ${status}: ${found} => ${fix ?? 'nothing'}`,
      );
  };

  test('opens each device once and names its image', async () => {
    const findings = await gpuFindings();
    expect(findings[0]).toMatch(/^GPU driver: ok: CUDA 13\.0, 2 GPU\(s\): Fake GPU 0/u);
    expect(findings[1]).toMatch(
      /^GPU 0 image: ok: GPU-\S+: ahead-of-time, [0-9a-f]{12} => nothing$/u,
    );
    expect(findings[2]).toMatch(/^GPU 1 image: ok: /u);
    expect(findings[3]).toBe('GPU telemetry: ok: NVML => nothing');
  });

  test('says what to do where no image runs on a device', async () => {
    fake.control(['fail cuModuleLoadData 209']);
    const findings = await gpuFindings();
    expect(findings[1]).toMatch(
      /^GPU 0 image: warning: .*IMAGE_UNUSABLE: .* => run npm run build:cuda, or install NVRTC/u,
    );
  });

  test.each(['/nowhere/libcuda.so.1', '/etc/passwd', '/tmp'])(
    'warns of a driver that is named and does not load: %s',
    async (path) => {
      process.env['TILELOOM_CUDA_DRIVER'] = path;
      const findings = await gpuFindings();
      expect(findings).toHaveLength(1);
      expect(findings[0]).toContain(
        `GPU driver: warning: DEVICE_MISSING: this host has no driver: expected ${path}, got: `,
      );
      expect(findings[0]).toContain('=> correct or unset TILELOOM_CUDA_DRIVER; until then');
    },
  );

  test('finds a machine without a driver in order', () => {
    const gpuProblem = 'DEVICE_MISSING: this host has no driver';
    const { status, found } = checkNoDriver({ gpuProblem }, { named: null, listed: [] });
    expect([status, found]).toEqual(['ok', 'none: the CPU does all the work']);
  });

  test('warns where NVML lists a GPU and no driver loads', () => {
    const gpuProblem = 'DEVICE_MISSING: this host has no driver';
    const expected = { named: null, listed: ['NVIDIA H200'] };
    const { status, found, fix } = checkNoDriver({ gpuProblem }, expected);
    expect([status, found]).toEqual(['warning', `${gpuProblem}; NVML lists 1 GPU(s): NVIDIA H200`]);
    expect(fix).toContain('install libcuda.so.1 of the same driver');
  });

  test('measures the disk of its home, which need not be there yet', async () => {
    const { stdout } = await run('doctor');
    expect(stdout).toMatch(/disk +.* free for /u);
    expect(stdout).toContain(homePaths({ TILELOOM_HOME: home }).cache);
  });
});

describe('variant verify', () => {
  const id = 'assign/cuda-grid-fp64@1';

  test('skips variants for GPUs unless a device is named', async () => {
    const { code, stdout } = await run('variant', 'verify', id);
    expect(code).toBe(0);
    expect(stdout).toContain('needs a GPU: name one with --device');
  });

  test('refuses a device that is not there, or not one', async () => {
    const { code, stderr } = await run('variant', 'verify', id, '--device', 'GPU-');
    expect(code).toBe(2);
    expect(stderr).toContain('got the beginning of 2');
  });
});
