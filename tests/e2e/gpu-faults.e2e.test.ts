// GPUs that hang, run out of memory or are lost, and processes that are killed, in the middle of real
// runs on fake GPUs: the rest of the host goes on, and the result stays the same.
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import type { ExecuteLine } from '../../history/index.ts';
import { expectNoProcesses } from './product/cli.ts';
import { controlOf, shardStatusOf, tilesDoneOf, until } from './product/control.ts';
import {
  expectCleanStop,
  expectNothingHeld,
  GPU_VARIANT,
  killExecutor,
  startGpuWorker,
  type GpuWorker,
} from './product/gpus.ts';
import { expectAllReplay } from './product/plans.ts';
import { isAlive, killAllWorkers } from './product/processes.ts';
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

const MIB = 1024 ** 2;
/** Each launch takes this long where a test steps in while chunks are on a device. */
const SLOW_LAUNCH = 'delay cuLaunchKernel 60';
/** So that the run is still on the device when its history has been read. */
const CRAWLING_LAUNCH = 'delay cuLaunchKernel 400';

let stage: Stage;
let digest: string;
let host: GpuWorker | null = null;

beforeAll(async () => {
  stage = await setStage(inject('temporal'));
  const worker = await stage.startWorker({ hostId: 'undisturbed', useGpus: false });
  digest = (await runToEnd(stage.client, settingOf('undisturbed'))).runDigest;
  await worker.stop();
});
afterEach(async () => {
  await killAllWorkers();
  await expectNoProcesses(stage.home);
  host?.gpus.remove();
  host = null;
});
afterAll(async () => {
  await expectAllReplay(stage);
  await stage.close();
});

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

async function executesOf({ runId }: RunSetting): Promise<readonly ExecuteLine[]> {
  const lines = await controlOf(stage).lines(runId);
  return lines.filter((line) => line.kind === 'execute');
}

const codesOf = (executes: readonly ExecuteLine[]): ReadonlySet<string> =>
  new Set(executes.flatMap(({ failure }) => failure?.code ?? []));

const devicesOf = (executes: readonly ExecuteLine[]): ReadonlySet<string> =>
  new Set(executes.flatMap(({ order, answer }) => (answer === null ? [] : order.deviceId)));

const tilesDone = (runId: string): Promise<number> => tilesDoneOf(stage, runId);

/** Whether a lane has a chunk on the device. */
const isExecuting = async (runId: string, device: string): Promise<boolean> =>
  (await shardStatusOf(stage, runId))?.lanes.some(
    ({ state, deviceId }) => state === 'executing' && deviceId === device,
  ) ?? false;

describe('a GPU whose driver hangs', () => {
  test.each(['cuLaunchKernel', 'cuMemcpyHtoDAsync_v2'])(
    'in %s: its executor is replaced, and the chunk done elsewhere',
    async (hanging) => {
      const options = {
        hostId: `hang-${hanging.toLowerCase().slice(0, 8)}`,
        devices: 1,
        stallMs: 5_000,
      };
      host = await startGpuWorker(stage, options);
      const [uuid = ''] = host.uuids;
      const pid = host.worker.executorOf(uuid);
      host.gpus.control([`hang ${hanging}`]);
      const pins = [{ aspect: 'device', value: uuid, chunksLeft: 1 }] as const;
      const setting = settingOf(`hang-${hanging}`, { pins, chunkRows: 40_960 });
      await runToEnd(stage.client, setting);
      await expectSameResult(setting);
      const executes = await executesOf(setting);
      const [onGpu, ...more] = executes.filter(({ order }) => order.deviceId === uuid);
      expect(onGpu?.failure).toMatchObject({ type: 'KERNEL_FAULT', code: 'EXECUTOR_HUNG' });
      expect(more).toEqual([]);
      expect(devicesOf(executes)).toEqual(new Set(['cpu']));
      expect(isAlive(pid ?? 0)).toBe(false);
      host.gpus.control([]);
      const again = settingOf(`hang-${hanging}-again`, { variant: GPU_VARIANT });
      await runToEnd(stage.client, again);
      await expectSameResult(again);
      expect(host.worker.executorOf(uuid)).not.toBe(pid);
      await expectCleanStop(host);
    },
  );
});

describe('a GPU without memory', () => {
  test('for the arena that was promised: smaller chunks, then the CPU', async () => {
    // The index of this layer takes 83 MiB.
    const devices = [{ memoryBytes: 128 * MIB }];
    host = await startGpuWorker(stage, {
      ...{ hostId: 'arena', devices, gpuMemoryBytesMax: 1_024 * MIB },
    });
    const [uuid = ''] = host.uuids;
    const pins = [{ aspect: 'device', value: uuid, chunksLeft: 3 }] as const;
    const setting = settingOf('arena', { pins }, { lanes: 1 });
    await runToEnd(stage.client, setting);
    await expectSameResult(setting);
    const executes = await executesOf(setting);
    const onGpu = executes.filter(({ order }) => order.deviceId === uuid);
    expect(onGpu.map(({ failure }) => failure?.code)).toEqual(
      Array.from({ length: 3 }, () => 'OUT_OF_MEMORY'),
    );
    const sizes = onGpu.map(({ order }) => order.endTile - order.firstTile);
    expect(sizes).toEqual([4, 2, 1]);
    await expectCleanStop(host);
  });

  test('for the index of the layer: planned elsewhere', async () => {
    const devices = [{ memoryBytes: 64 * MIB }];
    host = await startGpuWorker(stage, { hostId: 'no-index', devices });
    const pins = [{ aspect: 'device', value: host.uuids[0] ?? '', chunksLeft: 1 }] as const;
    const setting = settingOf('no-index', { pins, chunkRows: 40_960 });
    await runToEnd(stage.client, setting);
    await expectSameResult(setting);
    expect(codesOf(await executesOf(setting))).toEqual(new Set(['INDEX_EXCEEDS_DEVICE']));
    await expectCleanStop(host);
  });

  test('for a second batch at once: the first one must do', async () => {
    // Three arenas are planned for; the fake has room for one, beside the index.
    host = await startGpuWorker(stage, {
      ...{ hostId: 'one-arena', devices: [{ memoryBytes: 128 * MIB }] },
      gpuMemoryBytesMax: 240 * MIB,
    });
    const setting = settingOf('one-arena', { variant: GPU_VARIANT, chunkRows: 20_480 });
    await runToEnd(stage.client, setting);
    await expectSameResult(setting);
    const executes = await executesOf(setting);
    expect(codesOf(executes)).toEqual(new Set());
    expect(devicesOf(executes)).toEqual(new Set(host.uuids));
    await expectCleanStop(host);
  });
});

describe('a GPU that is lost in the middle of a run', () => {
  test('leaves the other one and the CPU at work', async () => {
    host = await startGpuWorker(stage, { hostId: 'lost', lanes: 4 });
    const [first = '', second = ''] = host.uuids;
    host.gpus.control([CRAWLING_LAUNCH]);
    const pins = [{ aspect: 'runtime', value: 'cpu', tiles: [120, 156] }] as const;
    const setting = settingOf('lost', { chunkRows: 4_096, pins }, { mode: 'gpu', lanes: 3 });
    const run = await startRun(stage.client, setting);
    await until(async () => devicesOf(await executesOf(setting)).has(first));
    const pid = host.worker.executorOf(first);
    host.gpus.control([SLOW_LAUNCH, `fail cuLaunchKernel 719 device ${first}`]);
    await run.result();
    await expectSameResult(setting);
    const executes = await executesOf(setting);
    expect(codesOf(executes)).toContain('DEVICE_LOST');
    // Of chunks that were on the device together nobody knows which one lost it.
    expect(['DEVICE_LOST', 'EXECUTOR_BYSTANDER']).toEqual(
      expect.arrayContaining([...codesOf(executes)]),
    );
    expect(devicesOf(executes)).toEqual(new Set(['cpu', first, second]));
    const lostAt = executes.find(({ failure }) => failure?.code === 'DEVICE_LOST')?.closedAt ?? 0;
    const later = executes.filter(({ scheduledAt }) => scheduledAt > lostAt);
    expect(devicesOf(later)).toEqual(new Set(['cpu', second]));
    expect(isAlive(pid ?? 0)).toBe(false);
    await expectCleanStop(host);
  });
});

describe('a process that is killed', () => {
  test('as executor of a GPU costs a chunk, not the run', async () => {
    host = await startGpuWorker(stage, { hostId: 'kill-executor', devices: 1 });
    const { worker, uuids, gpus } = host;
    const [uuid = ''] = uuids;
    gpus.control([SLOW_LAUNCH]);
    const setting = settingOf('kill-executor', { variant: GPU_VARIANT, chunkRows: 4_096 });
    const run = await startRun(stage.client, setting);
    for (const share of [8, 48]) {
      await until(async () => (await tilesDone(setting.runId)) >= share);
      // What has begun there cannot end, so the kill meets a chunk.
      gpus.control(['hang cuEventSynchronize']);
      await until(() => isExecuting(setting.runId, uuid));
      // From the order to the device it is two hops.
      await new Promise((resolve) => setTimeout(resolve, 500));
      await killExecutor(worker, uuid);
      gpus.control([SLOW_LAUNCH]);
    }
    await run.result();
    await expectSameResult(setting);
    expect(codesOf(await executesOf(setting))).toEqual(new Set(['EXECUTOR_BYSTANDER']));
    await expectCleanStop(host);
  });

  test('as worker takes its children with it, and the next one goes on', async () => {
    const options = { hostId: 'kill-worker', devices: 2 };
    host = await startGpuWorker(stage, options);
    const { gpus } = host;
    gpus.control([SLOW_LAUNCH]);
    const [first = '', second = ''] = host.uuids;
    const pins = [
      { aspect: 'device', value: first, tiles: [0, 79] },
      { aspect: 'device', value: second, tiles: [80, STAGE_TILES - 1] },
    ] as const;
    const setting = settingOf('kill-worker', { chunkRows: 4_096, pins });
    const run = await startRun(stage.client, setting);
    await until(async () => (await tilesDone(setting.runId)) >= 12);
    // An executor for each device and, unless a busy machine made it late, the process that asks NVML.
    const children = host.worker.executors();
    for (const uuid of [first, second]) expect(children).toContain(host.worker.executorOf(uuid));
    await host.worker.kill();
    await until(async () => !children.some(isAlive), 3_000);
    gpus.control([]);
    const next = await stage.startWorker({ hostId: 'kill-worker' }, gpus.environment);
    await run.result();
    await expectSameResult(setting);
    expect(devicesOf(await executesOf(setting))).toEqual(new Set(host.uuids));
    expect(await next.stop()).toBe(0);
    expectNothingHeld(gpus, children);
  });
});
