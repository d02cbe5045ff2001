// Real executor processes over the fake driver: what a GPU's executor answers, and what becomes of its
// jobs when the device fails, is lost, hangs or has no room. What this proves is plumbing.
import { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { DeviceHealth } from '../../executor/device-health.ts';
import { layerKeyOf, type ChunkJob, type ExecutorClient } from '../../executor/index.ts';
import { fakeGpus, type FakeGpu, type FakeGpus } from '../native/helpers/fake-gpu.ts';
import {
  CPU_VARIANT,
  GPU_VARIANT,
  failureOf,
  livingChildren,
  runJob,
  setExecutorStage,
  type ExecutorStage,
} from './stage.ts';

let fake: FakeGpus;
let leave: () => void;
let stage: ExecutorStage;

beforeEach(async () => {
  fake = fakeGpus({ devices: 2 });
  leave = fake.enter();
  stage = await setExecutorStage();
});
afterEach(async () => {
  await stage.close();
  leave();
  fake.remove();
});

/** On a busy machine the start of a process takes seconds. */
const PATIENT = { timeout: 20_000 };

/** A job that runs: what it fails with, and when it has begun to compute. */
function beginJob(
  client: ExecutorClient,
  job: ChunkJob,
): { readonly failure: Promise<string>; readonly computing: Promise<void> } {
  let tell = (): void => undefined;
  const computing = new Promise<void>((resolve) => (tell = resolve));
  const run = runJob(client, job, ({ stage: reached }) => {
    if (reached === 'running') tell();
  });
  return { failure: failureOf(run), computing };
}

function kill(client: ExecutorClient): void {
  if (client.pid === null) throw new Error('the executor has no process');
  process.kill(client.pid, 'SIGKILL');
}

const expectEnd = (client: ExecutorClient): Promise<void> =>
  expect.poll(() => client.pid, PATIENT).toBeNull();

const elapsed = (delayMs: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, delayMs));

function device(index = 0): FakeGpu {
  const found = fake.devices[index];
  if (found === undefined) throw new Error(`no fake device ${String(index)}`);
  return found;
}

describe('the executor of a GPU', () => {
  test('makes the tiles and partials that the executor of the CPU makes', async () => {
    const onGpu = await runJob(stage.gpu(device()), stage.job(GPU_VARIANT));
    const onCpu = await runJob(stage.cpu(), stage.job(CPU_VARIANT));
    expect(await stage.part(onGpu)).toEqual(await stage.part(onCpu));
    const counts = ({ rows, hits, outside, invalid }: typeof onGpu): unknown => [
      ...[rows, hits, outside, invalid],
    ];
    expect(counts(onGpu)).toEqual(counts(onCpu));
    expect(onGpu.hits).toBeGreaterThan(0);
    expect(onGpu.outside).toBeGreaterThan(0);
  });

  test('tells its image, copies, device memory and repaired rows; the CPU tells none of them', async () => {
    const onGpu = await runJob(stage.gpu(device()), stage.job(GPU_VARIANT));
    const onCpu = await runJob(stage.cpu(), stage.job(CPU_VARIANT));
    expect(onGpu.image).toMatch(/^[0-9a-f]{32}$/u);
    expect(onGpu.image).not.toBe(onCpu.image);
    expect(onGpu.device?.peakBytes).toBeGreaterThan(0);
    expect(onGpu.device?.repairedRows).toBeGreaterThanOrEqual(0);
    const { upload, download, work } = onGpu.seconds;
    expect(upload).toBeGreaterThanOrEqual(0);
    expect(download).toBeGreaterThanOrEqual(0);
    expect(work).toBeGreaterThan(0);
    // What execute answers: the part's range and the device's class beside it.
    const answer = { ...onGpu, firstTile: 1_499_999, endTile: 1_500_000, deviceClass: 'gpu-sm90' };
    expect(JSON.stringify(answer).length).toBeLessThanOrEqual(1_024);
    expect(Object.keys(onCpu)).not.toContain('device');
    expect(Object.keys(onCpu.seconds)).toEqual(['queued', 'work', 'read', 'kernel', 'write']);
  });

  test('tells which layers are resident after each chunk, and forgets them when it ends', async () => {
    const client = stage.gpu(device());
    expect(client.resident).toEqual([]);
    await runJob(client, stage.job(GPU_VARIANT));
    const first = layerKeyOf(stage.context);
    await expect.poll(() => client.resident, PATIENT).toEqual([first]);
    const covers = stage.otherContext({ boundary: 'covers' });
    await runJob(client, stage.job(GPU_VARIANT, covers));
    const second = layerKeyOf({ ...stage.context, boundary: 'covers' });
    await expect.poll(() => client.resident, PATIENT).toEqual([first, second]);
    kill(client);
    await expectEnd(client);
    expect(client.resident).toEqual([]);
  });

  test('runs no variant of the CPU, and the executor of the CPU none of the GPU', async () => {
    const gpu = stage.gpu(device());
    const cpu = stage.cpu();
    expect(await failureOf(runJob(gpu, stage.job(CPU_VARIANT)))).toBe(
      'KERNEL_FAULT VARIANT_ELSEWHERE',
    );
    expect(await failureOf(runJob(cpu, stage.job(GPU_VARIANT)))).toBe(
      'KERNEL_FAULT VARIANT_ELSEWHERE',
    );
    expect((await runJob(gpu, stage.job(GPU_VARIANT))).rows).toBeGreaterThan(0);
  });

  test('leaves nothing on the device and no process when it is asked to stop', async () => {
    const client = stage.gpu(device());
    await runJob(client, stage.job(GPU_VARIANT));
    const { pid } = client;
    await client.stop();
    expect(livingChildren()).not.toContain(pid);
    const [left] = fake.leaks().filter((one) => one.pid === pid);
    expect(left).toMatchObject({
      ...{ contexts: 0, streams: 0, events: 0, modules: 0, deviceBytes: 0, hostBytes: 0 },
    });
    expect(left?.launches).toBeGreaterThan(0);
  });

  test('that is killed costs its job a new plan, not a verdict, and the next one is served', async () => {
    fake.control(['hang cuEventSynchronize']);
    const client = stage.gpu(device());
    const running = beginJob(client, stage.job(GPU_VARIANT));
    await running.computing;
    kill(client);
    expect(await running.failure).toBe('RESIDENCY_LOST EXECUTOR_BYSTANDER');
    fake.control([]);
    expect((await runJob(client, stage.job(GPU_VARIANT))).rows).toBeGreaterThan(0);
    expect(client.quarantine).toBeNull();
  });
});

describe('a device that cannot serve', () => {
  test.each([
    ['the driver refuses to begin', ['fail cuInit 100'], 'DEVICE_MISSING'],
    ['its context cannot be made', ['fail cuDevicePrimaryCtxRetain 2'], 'OUT_OF_MEMORY'],
    ['its image is refused', ['fail cuModuleLoadData 209'], 'IMAGE_UNUSABLE'],
    ['the driver is too old', ['driver 10020'], 'DEVICE_MISSING'],
  ])('when %s is quarantined with the code', async (_name, lines, code) => {
    fake.control(lines);
    const client = stage.gpu(device());
    expect(await failureOf(runJob(client, stage.job(GPU_VARIANT)))).toBe(`RESIDENCY_LOST ${code}`);
    expect(client.quarantine).toMatch(new RegExp(`^${code}: .{10,}`, 'u'));
    expect((client.quarantine ?? '').length).toBeLessThanOrEqual(160);
  });

  test('is another one than the worker saw', async () => {
    const client = stage.gpu({ ...device(), uuid: device(1).uuid });
    expect(await failureOf(runJob(client, stage.job(GPU_VARIANT)))).toBe(
      'RESIDENCY_LOST DEVICE_CHANGED',
    );
    expect(client.quarantine).toContain(`expected ${device(1).uuid}, got ${device().uuid}`);
  });

  test('is not tried again before it is time, and then serves again', async () => {
    fake.control(['fail cuInit 999']);
    let now = 1_000_000;
    const client = stage.gpu(device(), { health: new DeviceHealth({ now: () => now }) });
    await failureOf(runJob(client, stage.job(GPU_VARIANT)));
    await expectEnd(client);
    fake.control([]);
    now += 29_999;
    client.reopenIfDue();
    expect(client.quarantine).not.toBeNull();
    expect(client.pid).toBeNull();
    expect(await failureOf(runJob(client, stage.job(GPU_VARIANT)))).toMatch(/^RESIDENCY_LOST /u);
    now += 1;
    expect(client.quarantine).not.toBeNull();
    expect(client.pid).toBeNull();
    client.reopenIfDue();
    expect(client.pid).not.toBeNull();
    await expect.poll(() => client.quarantine, PATIENT).toBeNull();
    expect((await runJob(client, stage.job(GPU_VARIANT))).rows).toBeGreaterThan(0);
  });

  test('hangs while it is opened: says so, and not only that its process was killed', async () => {
    fake.control(['hang cuInit']);
    const client = stage.gpu(device(), { startMs: 1_500 });
    await failureOf(runJob(client, stage.job(GPU_VARIANT)));
    await expectEnd(client);
    expect(client.quarantine).toMatch(/^EXECUTOR_START_FAILED: .*ready within 1500 ms/u);
  });

  test('is held by another executor: the second one waits, then names the device', async () => {
    const first = stage.gpu(device());
    await runJob(first, stage.job(GPU_VARIANT));
    const second = stage.gpu(device(), { lockWaitMs: 300 });
    expect(await failureOf(runJob(second, stage.job(GPU_VARIANT)))).toBe(
      'RESIDENCY_LOST EXECUTOR_START_FAILED',
    );
    expect(second.quarantine).toMatch(
      new RegExp(`^EXECUTOR_START_FAILED: device ${device().uuid} is held by another`, 'u'),
    );
    expect(first.quarantine).toBeNull();
  });
});

describe('a device that fails at work', () => {
  test('without being lost excludes the variant and serves on', async () => {
    fake.control(['fail cuLaunchKernel 1 times 1']);
    const client = stage.gpu(device());
    expect(await failureOf(runJob(client, stage.job(GPU_VARIANT)))).toBe(
      'KERNEL_FAULT DEVICE_FAILED',
    );
    const { pid } = client;
    expect((await runJob(client, stage.job(GPU_VARIANT))).rows).toBeGreaterThan(0);
    expect(client.pid).toBe(pid);
  });

  test('for want of memory asks for a smaller chunk', async () => {
    fake.control(['fail cuMemAlloc_v2 2 after 1']);
    const client = stage.gpu(device());
    expect(await failureOf(runJob(client, stage.job(GPU_VARIANT)))).toBe(
      'OUT_OF_MEMORY OUT_OF_MEMORY',
    );
  });

  test('for want of room for the index does not, for no chunk would be small enough', async () => {
    fake.control(['fail cuMemAlloc_v2 2']);
    const client = stage.gpu(device());
    expect(await failureOf(runJob(client, stage.job(GPU_VARIANT)))).toBe(
      'KERNEL_FAULT INDEX_EXCEEDS_DEVICE',
    );
  });

  test.each([700, 702, 719])('with %i is lost: the job alone on it is to blame', async (result) => {
    fake.control([`fail cuLaunchKernel ${String(result)} times 1`]);
    const client = stage.gpu(device());
    expect(await failureOf(runJob(client, stage.job(GPU_VARIANT)))).toBe(
      'KERNEL_FAULT DEVICE_LOST',
    );
    await expectEnd(client);
    fake.control([]);
    expect((await runJob(client, stage.job(GPU_VARIANT))).rows).toBeGreaterThan(0);
    expect(client.quarantine).toBeNull();
  });

  test('is lost under two jobs: both are planned again, and a suspect runs alone', async () => {
    fake.control(['hang cuEventRecord']);
    const client = stage.gpu(device());
    const jobs = [
      beginJob(client, stage.job(GPU_VARIANT, { endTile: 1 })),
      beginJob(client, stage.job(GPU_VARIANT, { firstTile: 1, endTile: 2 })),
    ];
    await Promise.all(jobs.map(({ computing }) => computing));
    // Both have told that they compute; both calls are on the device a moment later.
    await elapsed(1_000);
    fake.control(['fail cuLaunchKernel 719']);
    const both = await Promise.all(jobs.map(({ failure }) => failure));
    expect(both).toEqual(both.map(() => 'RESIDENCY_LOST EXECUTOR_BYSTANDER'));
    expect(await failureOf(runJob(client, stage.job(GPU_VARIANT)))).toBe(
      'KERNEL_FAULT DEVICE_LOST',
    );
  });

  test('is lost three times and then left alone for ten minutes', async () => {
    fake.control(['fail cuLaunchKernel 700']);
    let now = 1_000_000;
    const client = stage.gpu(device(), { health: new DeviceHealth({ now: () => now }) });
    for (const before of [null, null]) {
      expect(client.quarantine).toBe(before);
      await failureOf(runJob(client, stage.job(GPU_VARIANT)));
    }
    await failureOf(runJob(client, stage.job(GPU_VARIANT)));
    expect(client.quarantine).toMatch(/^DEVICE_LOST: lost 3 times within 10 minutes/u);
    await expectEnd(client);
    now += 9 * 60_000;
    expect(await failureOf(runJob(client, stage.job(GPU_VARIANT)))).toBe(
      'RESIDENCY_LOST DEVICE_LOST',
    );
    expect(client.pid).toBeNull();
    now += 60_000;
    fake.control([]);
    expect(client.quarantine).toBeNull();
    expect((await runJob(client, stage.job(GPU_VARIANT))).rows).toBeGreaterThan(0);
  });

  test.each(['cuLaunchKernel', 'cuMemcpyHtoDAsync_v2'])(
    'and hangs in %s is given up after the fixed time',
    async (call) => {
      fake.control([`hang ${call}`]);
      const client = stage.gpu(device(), { stallMs: 1_500 });
      expect(await failureOf(runJob(client, stage.job(GPU_VARIANT)))).toBe(
        'KERNEL_FAULT EXECUTOR_HUNG',
      );
      await expectEnd(client);
      expect(livingChildren()).toEqual([]);
    },
  );

  test('and keeps its process in the kernel costs nobody more than the time for that', async () => {
    fake.control(['hang cuLaunchKernel']);
    const kill = vi.spyOn(ChildProcess.prototype, 'kill').mockReturnValue(true);
    const client = stage.gpu(device(), { stallMs: 1_500, lockWaitMs: 300 });
    try {
      const failure = await failureOf(runJob(client, stage.job(GPU_VARIANT)));
      expect(failure).toBe('KERNEL_FAULT EXECUTOR_HUNG');
      expect(livingChildren()).toHaveLength(1);
      fake.control([]);
      const next = await failureOf(runJob(client, stage.job(GPU_VARIANT)));
      expect(next).toBe('RESIDENCY_LOST EXECUTOR_START_FAILED');
      expect(client.quarantine).toContain('is held by another executor');
      expect((await runJob(stage.cpu(), stage.job(CPU_VARIANT))).rows).toBeGreaterThan(0);
    } finally {
      kill.mockRestore();
      for (const pid of livingChildren()) process.kill(pid, 'SIGKILL');
    }
  });

  test('and keeps its process in the kernel lets its worker end', async () => {
    fake.control(['hang cuInit']);
    const client = stage.gpu(device(), { cancelGraceMs: 300 });
    void client.warm();
    const { pid } = client;
    const kill = vi.spyOn(ChildProcess.prototype, 'kill').mockReturnValue(true);
    try {
      await client.stop();
      expect(livingChildren()).toContain(pid);
    } finally {
      kill.mockRestore();
      for (const left of livingChildren()) process.kill(left, 'SIGKILL');
    }
  });

  test('leaves no part behind', async () => {
    fake.control(['fail cuLaunchKernel 1 after 1']);
    const client = stage.gpu(device());
    await failureOf(runJob(client, stage.job(GPU_VARIANT)));
    const parts = join(stage.root, 'sink', 'parts');
    expect(existsSync(parts)).toBe(true);
    expect(readdirSync(parts)).toEqual([]);
  });
});
