// Every function of the driver that tileloom calls fails once in a real run, with the results that
// CUDA has in turn. Each time the chunk fails with the right code, its tiles are planned elsewhere, the
// run has the digest of an undisturbed one, and nothing stays behind.
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import type { ExecuteLine, HistoryLine } from '../../history/index.ts';
import { driverSymbols } from '../native/helpers/driver-symbols.ts';
import { expectNoProcesses } from './product/cli.ts';
import { controlOf } from './product/control.ts';
import {
  expectCleanStop,
  GPU_VARIANT,
  killExecutor,
  quarantineOf,
  startGpuWorker,
  type GpuWorker,
} from './product/gpus.ts';
import { expectAllReplay } from './product/plans.ts';
import { isAlive, killAllWorkers } from './product/processes.ts';
import { freshRunId, markerOf, type RunSetting, runToEnd, specOf } from './product/runs.ts';
import { setStage, STAGE_ROWS, STAGE_TILES, type Stage } from './product/stage.ts';

/** One failure: what a device is told, and what must come of it. */
interface Case {
  readonly symbol: string;
  readonly result: number;
  /** Further words of the `fail` line. */
  readonly when?: string;
  /** Another call that fails first, where a run would not come to `symbol` without it. */
  readonly after?: string;
  /** Code of the chunk's failure. */
  readonly code: string;
}

/** What a result means where nothing else is said: by the CUDA documentation, not by the product. */
const CODES: Readonly<Record<number, string>> = {
  1: 'DEVICE_FAILED', // invalid value
  2: 'OUT_OF_MEMORY',
  201: 'DEVICE_FAILED', // invalid context
  209: 'IMAGE_UNUSABLE', // no binary for this GPU
  700: 'DEVICE_LOST', // illegal address
  702: 'DEVICE_LOST', // launch timed out
  719: 'DEVICE_LOST', // launch failed
  999: 'DEVICE_FAILED', // unknown
};

const failing = (symbol: string, result: number, more: Partial<Case> = {}): Case => ({
  ...{ symbol, result, code: CODES[result] ?? '' },
  ...more,
});

/** The executor meets them when it opens its device: nothing of the chunk has begun. */
const AT_OPENING: readonly Case[] = [
  failing('cuDeviceGet', 201),
  failing('cuDeviceGetName', 999),
  failing('cuDeviceGetAttribute', 1),
  failing('cuDeviceGetPCIBusId', 719),
  // Old drivers lack the next two: a plain failure is no answer, and only a UUID that is missing tells.
  failing('cuDeviceGetUuid_v2', 999, { code: 'DEVICE_CHANGED' }),
  failing('cuDeviceTotalMem_v2', 700),
  failing('cuDevicePrimaryCtxRetain', 2),
  failing('cuCtxSetCurrent', 201),
  failing('cuMemGetInfo_v2', 700),
  failing('cuModuleLoadData', 209),
  failing('cuModuleGetFunction', 702),
  failing('cuModuleUnload', 1, { after: 'fail cuModuleGetFunction 500', code: 'IMAGE_UNUSABLE' }),
];

/** They have no device of their own, so that each must have a run to itself. */
const OF_THE_PROCESS: readonly Case[] = [
  failing('cuInit', 999),
  failing('cuDriverGetVersion', 1),
  failing('cuDeviceGetCount', 719),
  // Without a name for an error there is still the error.
  failing('cuGetErrorName', 999, { after: 'fail cuMemGetInfo_v2 201', code: 'DEVICE_FAILED' }),
  failing('cuGetErrorString', 1, { after: 'fail cuMemGetInfo_v2 700', code: 'DEVICE_LOST' }),
];

/** A chunk meets them. */
const IN_A_CHUNK: readonly Case[] = [
  failing('cuMemAlloc_v2', 2, { when: 'times 1', code: 'INDEX_EXCEEDS_DEVICE' }),
  failing('cuMemHostAlloc', 2, { when: 'times 1' }),
  failing('cuStreamCreate', 999),
  failing('cuStreamSynchronize', 702),
  failing('cuEventCreate', 201),
  failing('cuEventRecord', 719),
  failing('cuEventSynchronize', 700),
  failing('cuEventElapsedTime', 1),
  failing('cuMemcpyHtoDAsync_v2', 999, { when: 'after 1' }),
  failing('cuMemcpyDtoHAsync_v2', 702),
  failing('cuMemsetD8Async', 209),
  failing('cuLaunchKernel', 719),
];

/**
 * What frees something is called in the middle of a run only when something else has failed. No result after a
 * launch sticks: other batches of the chunk might meet it before the launch's failure is told, or not.
 */
const WHEN_FREEING: readonly Case[] = [
  failing('cuStreamDestroy_v2', 700),
  ...['cuMemFree_v2', 'cuMemFreeHost', 'cuEventDestroy_v2'].map((symbol, index) =>
    failing(symbol, [999, 201, 1][index] ?? 0, {
      after: 'fail cuLaunchKernel 1 times 1',
      code: 'DEVICE_FAILED',
    }),
  ),
];

/** Called when a process ends in order; it has failed for nobody by then. */
const AT_THE_END = failing('cuDevicePrimaryCtxRelease_v2', 999);

let stage: Stage;
let digest: string;

beforeAll(async () => {
  stage = await setStage(inject('temporal'));
  const worker = await stage.startWorker({ hostId: 'undisturbed', useGpus: false });
  digest = (await runToEnd(stage.client, settingOf('undisturbed'))).runDigest;
  await worker.stop();
});
afterEach(async () => {
  await killAllWorkers();
  await expectNoProcesses(stage.home);
});
afterAll(async () => {
  await expectAllReplay(stage);
  await stage.close();
});

function settingOf(name: string, rest: Partial<RunSetting> = {}): RunSetting {
  const runId = freshRunId(`gpu-errors-${name}`);
  const paths = { dataset: stage.dataset, layer: stage.layer, sink: stage.sink(runId) };
  return { runId, spec: specOf({ ...paths, shards: 1 }), ...rest };
}

/** Runs with the first chunk of each device's tiles pinned to it, and must get the right result. */
async function runOnce(name: string, uuids: readonly string[]): Promise<readonly HistoryLine[]> {
  const tiles = Math.floor(STAGE_TILES / uuids.length);
  const setting = settingOf(name, {
    pins: uuids.map((value, index) => ({
      ...{ aspect: 'device', value, chunksLeft: 1 },
      tiles: [index * tiles, (index + 1) * tiles - 1],
    })),
  });
  await runToEnd(stage.client, setting);
  const expected = { runDigest: digest, tiles: STAGE_TILES, rows: STAGE_ROWS, parkedTiles: 0 };
  expect(await markerOf(setting.spec)).toMatchObject(expected);
  return controlOf(stage).lines(setting.runId);
}

const executesOn = (lines: readonly HistoryLine[], uuid: string): readonly ExecuteLine[] =>
  lines.filter((line) => line.kind === 'execute').filter(({ order }) => order.deviceId === uuid);

/** The first chunk on the device failed with the code, and its tiles were done elsewhere. */
function expectReplanned(lines: readonly HistoryLine[], uuid: string, code: string): void {
  const [first] = executesOn(lines, uuid);
  expect(first?.failure?.code, `${uuid}: ${first?.failure?.message}`).toBe(code);
  const done = lines.filter((line) => line.kind === 'execute' && line.answer !== null);
  const again = (done as readonly ExecuteLine[]).filter(
    ({ order }) => order.firstTile === first?.order.firstTile,
  );
  expect(again).toHaveLength(1);
  expect(again[0]?.order.deviceId).not.toBe(uuid);
}

/** The lines that make each device of a worker meet its case. */
function linesOf(cases: readonly Case[], uuids: readonly string[]): readonly string[] {
  return cases.flatMap(({ symbol, result, when, after }, index) => {
    const device = `device ${uuids[index]}`;
    const line = `fail ${symbol} ${result} ${when === undefined ? '' : `${when} `}${device}`;
    return after === undefined ? [line] : [line, `${after} ${device}`];
  });
}

/** Before anything fails each device computes its first chunk. */
async function expectAllServe({ uuids }: GpuWorker): Promise<void> {
  const lines = await runOnce('before', uuids);
  for (const uuid of uuids) expect(executesOn(lines, uuid)[0]?.failure).toBeNull();
}

const startWith = (name: string, devices: number): Promise<GpuWorker> =>
  startGpuWorker(stage, { hostId: name, devices, lanes: 4 });

test('the cases name every function of the driver, and every kind of result', () => {
  const { required, optional } = driverSymbols();
  const called = [...required, ...optional];
  const cases = [...AT_OPENING, ...OF_THE_PROCESS, ...IN_A_CHUNK, ...WHEN_FREEING, AT_THE_END];
  expect(called.length).toBeGreaterThan(30);
  expect(cases.map(({ symbol }) => symbol).toSorted()).toEqual(called.toSorted());
  expect(new Set(cases.map(({ result }) => result))).toEqual(
    new Set(Object.keys(CODES).map(Number)),
  );
});

describe('a driver that fails', () => {
  test('when an executor opens its device: out of service, and planned elsewhere', async () => {
    const host = await startWith('opening', AT_OPENING.length);
    await expectAllServe(host);
    for (const uuid of host.uuids) await killExecutor(host.worker, uuid);
    host.gpus.control(linesOf(AT_OPENING, host.uuids));
    const lines = await runOnce('opening', host.uuids);
    for (const [index, { code, symbol }] of AT_OPENING.entries()) {
      const uuid = host.uuids[index] ?? '';
      expectReplanned(lines, uuid, code);
      expect(quarantineOf(stage, uuid), symbol).toMatch(new RegExp(`^${code}: `, 'u'));
    }
    await expectCleanStop(host, { lost: true });
    host.gpus.remove();
  });

  test('whatever device it is asked about: each run goes on without', async () => {
    const host = await startWith('process', OF_THE_PROCESS.length);
    await expectAllServe(host);
    for (const [index, { symbol, result, after, code }] of OF_THE_PROCESS.entries()) {
      const uuid = host.uuids[index] ?? '';
      await killExecutor(host.worker, uuid);
      host.gpus.control([`fail ${symbol} ${result}`, ...(after === undefined ? [] : [after])]);
      const lines = await runOnce(symbol, [uuid]);
      expectReplanned(lines, uuid, code);
      expect(quarantineOf(stage, uuid), symbol).toMatch(new RegExp(`^${code}: `, 'u'));
    }
    host.gpus.control([]);
    await expectCleanStop(host, { lost: true });
    host.gpus.remove();
  });

  test('in a chunk: the variant is excluded there, and a lost device has a new process', async () => {
    const host = await startWith('chunk', IN_A_CHUNK.length);
    const before = host.uuids.map((uuid) => host.worker.executorOf(uuid));
    host.gpus.control(linesOf(IN_A_CHUNK, host.uuids));
    const lines = await runOnce('chunk', host.uuids);
    for (const [index, { code }] of IN_A_CHUNK.entries()) {
      expectReplanned(lines, host.uuids[index] ?? '', code);
    }
    host.gpus.control([]);
    const again = await runOnce('chunk-again', host.uuids);
    for (const [index, { code, symbol }] of IN_A_CHUNK.entries()) {
      const uuid = host.uuids[index] ?? '';
      expect(executesOn(again, uuid)[0]?.failure, symbol).toBeNull();
      const pid = host.worker.executorOf(uuid);
      expect(pid === before[index], symbol).toBe(code !== 'DEVICE_LOST');
      if (code === 'DEVICE_LOST') expect(isAlive(before[index] ?? 0)).toBe(false);
    }
    await expectCleanStop(host);
    host.gpus.remove();
  });

  test('when something is freed: the run goes on, and the memory goes with the process', async () => {
    const host = await startWith('freeing', WHEN_FREEING.length);
    host.gpus.control(linesOf(WHEN_FREEING, host.uuids));
    const lines = await runOnce('freeing', host.uuids);
    for (const [index, { code }] of WHEN_FREEING.entries()) {
      expectReplanned(lines, host.uuids[index] ?? '', code);
    }
    const children = host.worker.executors();
    expect(await host.worker.stop()).toBe(0);
    expect(children.filter(isAlive)).toEqual([]);
    host.gpus.remove();
  });

  test('when it shall let the device go: the worker ends in order', async () => {
    const host = await startWith('release', 1);
    const { symbol, result } = AT_THE_END;
    host.gpus.control([`fail ${symbol} ${result}`]);
    const lines = await runOnce('release', host.uuids);
    expect(executesOn(lines, host.uuids[0] ?? '')[0]?.order.variant).toBe(GPU_VARIANT);
    // Its context stays to the end of the process, and nothing else.
    await expectCleanStop(host, { lost: true });
    host.gpus.remove();
  });
});
