// Hosts without a GPU that serves: what they say of their devices, that their CPU does the work all the
// same, and what becomes of a run that must have a GPU.
//
// They have a server of their own: for a while a server takes a worker that has ended for one that is
// there, and workers of other files had GPUs.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import type { ExecuteLine, HistoryLine } from '../../history/index.ts';
import type { Reason } from '../../planner/index.ts';
import { homePaths, startServer, stopServer } from '../../server/index.ts';
import type { TelemetrySnapshot } from '../../telemetry/index.ts';
import { freePorts } from './harness/ports.ts';
import { fakeNvrtc } from '../native/helpers/images.ts';
import { expectNoProcesses, expectNoTrace, runCli } from './product/cli.ts';
import { controlOf, shardStatusOf, until } from './product/control.ts';
import {
  expectCleanStop,
  GPU_VARIANT,
  startGpuWorker,
  type GpuWorker,
  type GpuWorkerOptions,
} from './product/gpus.ts';
import { expectAllReplay } from './product/plans.ts';
import type { WorkerProcess } from './product/processes.ts';
import {
  freshRunId,
  markerOf,
  runToEnd,
  specOf,
  startRun,
  type RunSetting,
  type SpecSetting,
} from './product/runs.ts';
import { setStage, STAGE_ROWS, STAGE_TILES, type Stage } from './product/stage.ts';

const report = (): void => undefined;

let home: string;
let paths: ReturnType<typeof homePaths>;
let stage: Stage;
let digest: string;

beforeAll(async () => {
  const { temporalBinary, ...shared } = inject('temporal');
  home = mkdtempSync(join(tmpdir(), 'tileloom-gpu-hosts-'));
  const [port, uiPort] = await freePorts(2);
  paths = homePaths({
    TILELOOM_HOME: home,
    TILELOOM_TEMPORAL_BIN: temporalBinary,
    TILELOOM_PORT: String(port),
    TILELOOM_UI_PORT: String(uiPort),
  });
  const server = await startServer({ report, paths, tieToParent: true });
  stage = await setStage({ temporalBinary, ...shared }, server.address);
  const worker = await stage.startWorker({ hostId: 'undisturbed', useGpus: false });
  digest = (await runToEnd(stage.client, settingOf('undisturbed'))).runDigest;
  await worker.stop();
});
afterAll(async () => {
  await expectAllReplay(stage);
  await stage.close();
  await expectNoProcesses(stage.home);
  await stopServer({ report, paths });
  rmSync(home, { recursive: true, force: true });
});

/** Workers that the running test has started. */
const started: WorkerProcess[] = [];

// What a failed test left running would hold the lock of its host against the second try.
afterEach(async () => {
  for (const worker of started.splice(0)) await worker.kill();
});

async function startHost(options: GpuWorkerOptions): Promise<GpuWorker> {
  const host = await startGpuWorker(stage, options);
  started.push(host.worker);
  return host;
}

async function startCpuHost(hostId: string): Promise<WorkerProcess> {
  const worker = await stage.startWorker({ hostId, useGpus: false });
  started.push(worker);
  return worker;
}

function settingOf(
  name: string,
  rest: Partial<RunSetting> = {},
  more: Partial<SpecSetting> = {},
): RunSetting {
  const runId = freshRunId(name);
  const paths = { dataset: stage.dataset, layer: stage.layer, sink: stage.sink(runId) };
  return { runId, spec: specOf({ ...paths, shards: 1, ...more }), ...rest };
}

async function expectSameResult({ spec }: RunSetting): Promise<void> {
  const expected = { runDigest: digest, tiles: STAGE_TILES, rows: STAGE_ROWS, parkedTiles: 0 };
  expect(await markerOf(spec)).toMatchObject(expected);
}

interface Told {
  readonly snapshots: readonly TelemetrySnapshot[];
  readonly reasons: readonly Reason[];
  readonly executes: readonly ExecuteLine[];
  /** Rejects of the GPU variant. */
  readonly rejects: ReadonlySet<string | undefined>;
}

/** Runs on the host, must get the right result, and tells what was planned and done. */
async function runOn(hostId: string, rest: Partial<RunSetting> = {}): Promise<Told> {
  const pins = [{ aspect: 'host', value: hostId } as const, ...(rest.pins ?? [])];
  const setting = settingOf(`on-${hostId}`, { ...rest, pins });
  await runToEnd(stage.client, setting);
  await expectSameResult(setting);
  const lines: readonly HistoryLine[] = await controlOf(stage).lines(setting.runId);
  const answers = lines.flatMap((line) => (line.kind === 'plan' && line.answer ? line.answer : []));
  const candidates = answers.flatMap(({ decision }) => decision.candidates);
  return {
    snapshots: answers.map(({ snapshot }) => snapshot),
    reasons: answers.flatMap(({ decision }) => decision.reasons),
    executes: lines.filter((line) => line.kind === 'execute'),
    rejects: new Set(
      candidates.filter(({ variant }) => variant === GPU_VARIANT).map(({ reject }) => reject),
    ),
  };
}

/** What `device list` prints on a machine with this environment. */
async function deviceList({ gpus }: GpuWorker, variables: NodeJS.ProcessEnv): Promise<string> {
  const env = { ...stage.environment, ...gpus.environment, ...variables };
  const { code, stdout, stderr } = await runCli(['device', 'list'], { env, cwd: stage.root });
  expect(code, stderr).toBe(0);
  expectNoTrace(stdout + stderr);
  return stdout;
}

const whyOf = (reasons: readonly Reason[], code: string): readonly string[] =>
  reasons.flatMap((reason) => (reason.code === code ? String(reason.params?.['why']) : []));

interface BadHost extends Omit<GpuWorkerOptions, 'hostId'> {
  readonly name: string;
  /** Code of the plans' reason, its text, and what `device list` must say. */
  readonly reason: 'TELEMETRY_UNAVAILABLE' | 'DEVICE_OUT_OF_SERVICE';
  readonly why: RegExp;
  readonly listed: RegExp;
  /** Why the GPU variant was no candidate. */
  readonly reject: string;
}

const NOWHERE = '/nowhere/libcuda.so.1';

const BAD_HOSTS: readonly BadHost[] = [
  {
    name: 'no-driver',
    variables: { TILELOOM_CUDA_DRIVER: NOWHERE, TILELOOM_NVML: '/nowhere/libnvidia-ml.so.1' },
    ...{ reason: 'TELEMETRY_UNAVAILABLE', why: /libnvidia-ml/u, reject: 'NO_DEVICE' },
    listed: /no GPU: DEVICE_MISSING: .*has no driver: expected \/nowhere\/libcuda\.so\.1/u,
  },
  {
    name: 'no-device',
    gpus: { lines: ['fail cuInit 100'] },
    ...{ reason: 'DEVICE_OUT_OF_SERVICE', why: /^DEVICE_MISSING: /u, reject: 'DRIVER_UNUSABLE' },
    listed: /out of service: DEVICE_MISSING: .*CUDA_ERROR_NO_DEVICE \(100\)/u,
  },
  {
    name: 'stub-driver',
    gpus: { lines: ['fail cuInit 34'] },
    ...{ reason: 'DEVICE_OUT_OF_SERVICE', why: /^DEVICE_MISSING: /u, reject: 'DRIVER_UNUSABLE' },
    listed: /out of service: DEVICE_MISSING: .*\(34\)/u,
  },
  {
    name: 'nothing-visible',
    variables: { CUDA_VISIBLE_DEVICES: '' },
    ...{ reason: 'DEVICE_OUT_OF_SERVICE', why: /^DEVICE_MISSING: /u, reject: 'DRIVER_UNUSABLE' },
    listed: /check CUDA_VISIBLE_DEVICES/u,
  },
  {
    name: 'old-driver',
    gpus: { lines: ['driver 11080'] },
    ...{ reason: 'DEVICE_OUT_OF_SERVICE', why: /^DEVICE_MISSING: /u, reject: 'DRIVER_UNUSABLE' },
    listed: /expected at least CUDA 12\.0, got 11\.8/u,
  },
  {
    name: 'other-architecture',
    gpus: { imageArchitectures: [75, 80] },
    ...{ reason: 'DEVICE_OUT_OF_SERVICE', why: /^IMAGE_UNUSABLE: /u },
    ...{ listed: /out of service: IMAGE_UNUSABLE: .*sm_90/u, reject: 'NO_IMAGE_FOR_DEVICE' },
  },
  {
    name: 'ptx-too-new',
    gpus: { lines: ['fail cuModuleLoadData 222'] },
    ...{ reason: 'DEVICE_OUT_OF_SERVICE', why: /^IMAGE_UNUSABLE: /u },
    ...{ listed: /out of service: IMAGE_UNUSABLE: /u, reject: 'NO_IMAGE_FOR_DEVICE' },
  },
];

describe('a run that must have a GPU', () => {
  test('is refused before it touches its sink where no host has one', async () => {
    const worker = await startCpuHost('only-cpu');
    const setting = settingOf('refused', {}, { mode: 'gpu' });
    const run = await startRun(stage.client, setting);
    const error: unknown = await run.result().catch((thrown: unknown) => thrown);
    const { message } = (error as { cause: Error }).cause;
    expect(message).toContain('plan.mode gpu asks for a GPU and no host has one in service');
    expect(message).toContain('a worker that polls tileloom.pool.cuda');
    expectNoTrace(message);
    expect(existsSync(setting.spec.sink.path)).toBe(false);
    await worker.stop();
  });

  test('is refused, too, where all GPUs turn out to be of no use when they are opened', async () => {
    const host = await startHost({
      ...{ hostId: 'useless', devices: 2, gpus: { imageArchitectures: [75] } },
    });
    const setting = settingOf('refused-too', {}, { mode: 'gpu' });
    const run = await startRun(stage.client, setting);
    const error: unknown = await run.result().catch((thrown: unknown) => thrown);
    expect((error as { cause: Error }).cause.message).toContain('no host has one in service');
    expect(existsSync(setting.spec.sink.path)).toBe(false);
    await expectCleanStop(host);
    host.gpus.remove();
  });

  test('waits for a host with one if it is asked to, says so, and goes on when one joins', async () => {
    const worker = await startCpuHost('cpu-first');
    const setting = settingOf('held', {}, { mode: 'gpu', ifImpossible: 'hold' });
    const run = await startRun(stage.client, setting);
    const waits = async (): Promise<readonly (string | null)[]> => {
      const status = await shardStatusOf(stage, setting.runId);
      return status?.lanes.map(({ waiting }) => waiting) ?? [];
    };
    const sentence = 'no host with a free slot has answered on tileloom.pool.cuda yet';
    await until(async () => (await waits()).some((text) => text?.startsWith(sentence) === true));
    const host = await startHost({ hostId: 'joins' });
    await run.result();
    await expectSameResult(setting);
    const lines = await controlOf(stage).lines(setting.runId);
    const devices = lines.flatMap((line) => (line.kind === 'execute' ? line.order.deviceId : []));
    expect(devices.length).toBeGreaterThan(0);
    expect(devices.filter((deviceId) => !host.uuids.includes(deviceId))).toEqual([]);
    await worker.stop();
    await expectCleanStop(host);
    host.gpus.remove();
  });
});

describe('a host whose GPU cannot serve', () => {
  let hung: Promise<GpuWorker>;

  beforeAll(() => {
    // Its start takes as long as a driver may think; the other tests go on meanwhile.
    hung = startGpuWorker(stage, { hostId: 'hung', devices: 1, gpus: { lines: ['hang cuInit'] } });
    hung.catch(() => undefined);
  });

  test.each(BAD_HOSTS)('runs on its CPU and says why: $name', async (bad) => {
    const { name, reason, why, listed, reject, ...options } = bad;
    const host = await startHost({ ...options, hostId: name, devices: 1 });
    if (reject === 'NO_IMAGE_FOR_DEVICE') {
      await until(async () => (await deviceList(host, {})).includes('out of service'));
    }
    const { executes, reasons, rejects } = await runOn(name);
    expect(new Set(executes.map(({ order }) => order.deviceId))).toEqual(new Set(['cpu']));
    expect(executes.every(({ failure }) => failure === null)).toBe(true);
    expect(reasons.map(({ code }) => code)).toContain('NO_GPU');
    const texts = whyOf(reasons, reason);
    expect(texts.length).toBeGreaterThan(0);
    for (const text of texts) expect(text).toMatch(why);
    expect(rejects).toEqual(new Set([reject]));
    expect(await deviceList(host, options.variables ?? {})).toMatch(listed);
    if (name === 'no-driver') expect(await host.worker.stop()).toBe(0);
    else await expectCleanStop(host);
    host.gpus.remove();
  });

  test('is not held up for ever by a driver that hangs', async () => {
    const host = await hung;
    const { executes, snapshots } = await runOn('hung');
    expect(new Set(executes.map(({ order }) => order.deviceId))).toEqual(new Set(['cpu']));
    for (const { devices } of snapshots) {
      const [gpu] = devices.filter(({ kind }) => kind === 'gpu');
      expect(gpu?.quarantine).toMatch(/^DISCOVERY_FAILED: the driver did not answer within/u);
    }
    expect(await host.worker.stop()).toBe(0);
    host.gpus.remove();
  });
});

describe('a host whose NVML hangs', () => {
  test('uses its GPU without readings', async () => {
    const nvmlLines = ['hang nvmlDeviceGetUtilizationRates'];
    const host = await startHost({
      ...{ hostId: 'nvml-hung', devices: 1, gpus: { nvmlLines }, nvmlReadMs: 1_000 },
    });
    const [uuid = ''] = host.uuids;
    const pins = [{ aspect: 'device', value: uuid, tiles: [0, 79] }] as const;
    const { executes, reasons, snapshots } = await runOn('nvml-hung', { pins });
    expect(new Set(executes.map(({ order }) => order.deviceId))).toEqual(new Set(['cpu', uuid]));
    for (const text of whyOf(reasons, 'TELEMETRY_UNAVAILABLE'))
      expect(text).toMatch(/timeout|did not answer|is not ready after/u);
    for (const { backend, devices } of snapshots) {
      expect(backend).toBe('unavailable');
      const gpu = devices.find(({ deviceId }) => deviceId === uuid);
      expect(gpu).toMatchObject({ utilizationPct: null, memFreeBytes: null, temperatureC: null });
      expect(gpu?.quarantine).toBeNull();
    }
    await expectCleanStop(host);
    host.gpus.remove();
  });
});

describe('a host that compiles its kernels', () => {
  test('compiles once, and once more where the image it kept is damaged', async () => {
    const nvrtc = fakeNvrtc(stage.root);
    const gpus = { imageArchitectures: [75] };
    const images = homePaths(stage.environment).images;
    const runOnGpu = async (hostId: string): Promise<void> => {
      const variables = nvrtc.environment;
      const host = await startHost({ hostId, devices: 1, gpus, variables });
      const { executes } = await runOn(hostId, { variant: GPU_VARIANT });
      expect(executes.every(({ failure }) => failure === null)).toBe(true);
      await expectCleanStop(host);
      host.gpus.remove();
    };
    await runOnGpu('compiles');
    await runOnGpu('keeps');
    expect(nvrtc.compilations()).toHaveLength(1);
    const [name = '', ...others] = readdirSync(images).filter((file) => !file.endsWith('.lock'));
    expect(others).toEqual([]);
    const bytes = readFileSync(join(images, name));
    bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 1;
    writeFileSync(join(images, name), bytes);
    await runOnGpu('mends');
    expect(nvrtc.compilations()).toHaveLength(2);
    await runOnGpu('keeps-again');
    expect(nvrtc.compilations()).toHaveLength(2);
  });
});
