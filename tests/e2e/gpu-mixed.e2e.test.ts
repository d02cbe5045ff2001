// A worker with two GPUs and a CPU, as the fakes make it believe: runs whose plans are mixed, by pins and
// by evidence, have the digest of a run that knew the CPU alone. What fakes prove is plumbing.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { ExecuteLine, HistoryLine, PlanLine } from '../../history/index.ts';
import type { TelemetrySnapshot } from '../../telemetry/index.ts';
import { expectNoProcesses, jsonOf, runCli } from './product/cli.ts';
import { controlOf } from './product/control.ts';
import { expectCleanStop, GPU_VARIANT, startGpuWorker, type GpuWorker } from './product/gpus.ts';
import { expectAllReplay, expectReplays } from './product/plans.ts';
import {
  freshRunId,
  markerOf,
  type RunSetting,
  runToEnd,
  specOf,
  startRun,
} from './product/runs.ts';
import { setStage, STAGE_ROWS, STAGE_TILES, type Stage } from './product/stage.ts';

const SLOW = 'assign/slow@1';
const SLOW_REGISTRY = join(import.meta.dirname, 'product', 'faulty-slow.json');

let stage: Stage;
let digest: string;

beforeAll(async () => {
  stage = await setStage(inject('temporal'));
  const worker = await stage.startWorker({ hostId: 'cpu-only', useGpus: false });
  digest = (await runToEnd(stage.client, settingOf('cpu-only'))).runDigest;
  await worker.stop();
});
afterAll(async () => {
  await expectAllReplay(stage);
  await stage.close();
});

function settingOf(runId: string, rest: Partial<RunSetting> = {}): RunSetting {
  const paths = { dataset: stage.dataset, layer: stage.layer, sink: stage.sink(runId) };
  return { runId, spec: specOf({ ...paths, shards: 1 }), ...rest };
}

async function expectSameResult({ spec }: RunSetting): Promise<void> {
  const expected = { runDigest: digest, tiles: STAGE_TILES, rows: STAGE_ROWS, parkedTiles: 0 };
  expect(await markerOf(spec)).toMatchObject(expected);
}

const executesOf = (lines: readonly HistoryLine[]): readonly ExecuteLine[] =>
  lines.filter((line) => line.kind === 'execute');

const plansOf = (lines: readonly HistoryLine[]): readonly PlanLine[] =>
  lines.filter((line) => line.kind === 'plan');

/** Devices that computed chunks, in no order. */
function devicesOf(lines: readonly HistoryLine[]): Set<string> {
  return new Set(executesOf(lines).flatMap(({ answer, order }) => (answer ? order.deviceId : [])));
}

const gpuOf = (
  { devices }: TelemetrySnapshot,
  uuid: string,
): TelemetrySnapshot['devices'][number] => {
  const found = devices.find(({ deviceId }) => deviceId === uuid);
  if (found === undefined) throw new Error(`the snapshot lacks ${uuid}`);
  return found;
};

describe('a run on two GPUs and a CPU', () => {
  let host: GpuWorker;
  let lines: readonly HistoryLine[];
  const setting = (): RunSetting => {
    const [first = '', second = ''] = host.uuids;
    return settingOf('pinned', {
      chunkRows: 8_192,
      pins: [
        { aspect: 'device', value: first, tiles: [0, 39] },
        { aspect: 'device', value: second, tiles: [40, 79] },
        { aspect: 'runtime', value: 'cpu', tiles: [100, 119] },
      ],
    });
  };

  beforeAll(async () => {
    host = await startGpuWorker(stage, { hostId: 'mixed' });
    const run = await startRun(stage.client, setting());
    await run.result();
    lines = await controlOf(stage).lines('pinned');
  });

  test('has the digest of a run on the CPU alone, and its plans are mixed', async () => {
    await expectSameResult(setting());
    expect(devicesOf(lines)).toEqual(new Set(['cpu', ...host.uuids]));
    for (const { order, answer, failure } of executesOf(lines)) {
      expect(failure).toBeNull();
      const isGpu = order.deviceId !== 'cpu';
      expect(order.variant === GPU_VARIANT).toBe(isGpu);
      expect(answer?.deviceClass).toMatch(isGpu ? /^gpu-sm90$/u : /^cpu-/u);
      if (order.firstTile < 80)
        expect(order.deviceId).toBe(host.uuids[order.firstTile < 40 ? 0 : 1]);
      if (order.firstTile >= 100 && order.endTile <= 120) expect(isGpu).toBe(false);
    }
  });

  test('records the image that ran, and what the copies took', () => {
    const images = new Set<string>();
    for (const { order, answer } of executesOf(lines)) {
      const { upload, download, kernel, work } = answer?.seconds ?? {};
      expect(work).toBeGreaterThan(0);
      expect(kernel).toBeGreaterThan(0);
      if (order.deviceId === 'cpu') {
        expect(upload).toBeUndefined();
        expect(download).toBeUndefined();
      } else {
        expect(upload).toBeGreaterThan(0);
        expect(download).toBeGreaterThan(0);
        images.add(answer?.image ?? '');
        expect(answer?.device?.peakBytes).toBeGreaterThan(0);
      }
    }
    // Magic, sources and then the payload's digest begin an image file.
    const digestInFile = readFileSync(host.gpus.imagePath).subarray(24, 40).toString('hex');
    expect([...images]).toEqual([digestInFile]);
  });

  test('is planned on snapshots of all three devices, with readings of NVML', () => {
    for (const { answer } of plansOf(lines)) {
      const { devices = [], backend, reason } = answer?.snapshot ?? {};
      expect({ backend, reason }).toEqual({ backend: 'nvml', reason: null });
      expect(devices.map(({ deviceId }) => deviceId)).toEqual(['cpu', ...host.uuids]);
      for (const gpu of devices.slice(1)) {
        expect(gpu).toMatchObject({
          ...{ kind: 'gpu', deviceClass: 'gpu-sm90', quarantine: null, utilizationPct: 3 },
          ...{ temperatureC: 41, throttled: false, fp64Ratio: 0.5, memTotalBytes: 2 * 1024 ** 3 },
          gpu: { powerWatts: 70, eccErrors: 0, pcieGeneration: 5, clockEvents: [] },
        });
      }
    }
  });

  test('tells after the first chunk on a GPU that the index is resident there', () => {
    const plans = plansOf(lines);
    const [layer, ...others] = new Set(plans.map(({ call }) => call.request.work.layer));
    expect(others).toEqual([]);
    expect(layer).toMatch(/^[0-9a-f]{16}-half-open-first$/u);
    for (const uuid of host.uuids) {
      const done = executesOf(lines).filter(({ order }) => order.deviceId === uuid);
      const firstDoneAt = Math.min(...done.map(({ closedAt }) => closedAt));
      const firstBegunAt = Math.min(...done.map(({ scheduledAt }) => scheduledAt));
      const resident = (from: number, to: number): readonly (readonly string[] | undefined)[] =>
        plans
          .filter(({ scheduledAt, closedAt }) => scheduledAt > from && closedAt < to)
          .flatMap(({ answer }) => (answer ? [gpuOf(answer.snapshot, uuid).gpu?.resident] : []));
      expect(resident(-Infinity, firstBegunAt).flat()).toEqual([]);
      const later = resident(firstDoneAt, Infinity);
      expect(later.length).toBeGreaterThan(0);
      for (const layers of later) expect(layers).toEqual([layer]);
    }
  });

  test('replays to the byte, live and from its sealed records', async () => {
    const { plans } = await expectReplays(stage, 'pinned');
    expect(plans).toBe(plansOf(lines).length);
    expect((await expectReplays(stage, '--from', stage.sink('pinned'))).plans).toBe(plans);
  });

  test('leaves devices that the CLI shows', async () => {
    const options = { env: { ...stage.environment, ...host.gpus.environment }, cwd: stage.root };
    const list = jsonOf<{ devices: TelemetrySnapshot['devices'] }>(
      await runCli(['device', 'list', '-o', 'json'], options),
    );
    expect(list.devices.map(({ deviceId }) => deviceId)).toEqual(['cpu', ...host.uuids]);
    const { snapshot } = jsonOf<{ snapshot: TelemetrySnapshot }>(
      await runCli(['device', 'snapshot', '-o', 'json'], options),
    );
    for (const uuid of host.uuids) {
      expect(gpuOf(snapshot, uuid)).toMatchObject({ temperatureC: 41, quarantine: null });
    }
  });

  test('leaves nothing behind', async () => {
    await expectCleanStop(host);
    const told = host.gpus.leaks();
    expect(told.filter(({ launches }) => launches > 0)).toHaveLength(2);
    await expectNoProcesses(stage.home);
    host.gpus.remove();
  });
});

describe('a run whose CPU turns out slow', () => {
  test('goes to both GPUs by evidence, without any pin of theirs', async () => {
    const host = await startGpuWorker(stage, {
      hostId: 'evidence',
      externalRegistry: SLOW_REGISTRY,
    });
    const setting = settingOf(freshRunId('evidence'), { chunkRows: 4_096 });
    await runToEnd(stage.client, setting);
    await expectSameResult(setting);
    const lines = await controlOf(stage).lines(setting.runId);
    expect(devicesOf(lines)).toEqual(new Set(['cpu', ...host.uuids]));
    const [first] = executesOf(lines);
    expect(first?.order).toMatchObject({ variant: SLOW, deviceId: 'cpu' });
    const reasons = plansOf(lines).flatMap(({ answer }) => answer?.decision.reasons ?? []);
    expect(new Set(reasons.map(({ code }) => code))).toContain('DONE_FIRST');
    await expectCleanStop(host);
    host.gpus.remove();
  });
});
