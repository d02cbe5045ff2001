import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { REGISTRY, variantsOf } from '../../registry/index.ts';
import { controlOf } from './product/control.ts';
import { expectCleanStop, GPU_VARIANT, startGpuWorker, type GpuWorker } from './product/gpus.ts';
import { expectAllReplay } from './product/plans.ts';
import {
  freshRunId,
  markerOf,
  type RunSetting,
  runToEnd,
  specOf,
  type SpecSetting,
  startRun,
} from './product/runs.ts';
import { setStage, STAGE_ROWS, STAGE_TILES, type Stage } from './product/stage.ts';
import type { WorkerProcess } from './product/processes.ts';

interface Setting extends Pick<SpecSetting, 'lanes' | 'shards' | 'mode' | 'policy'> {
  readonly name: string;
  readonly variant?: string;
  readonly chunkRows?: number;
  readonly tuning?: RunSetting['tuning'];
  readonly pins?: RunSetting['pins'];
}

const GRID_AVX2 = 'assign/grid-avx2@1';
const GRID_SCALAR = 'assign/grid-scalar@1';
const BRUTE = 'assign/brute-exact@1';

const SETTINGS: readonly Setting[] = [
  { name: 'plain' },
  { name: 'scalar', variant: GRID_SCALAR },
  { name: 'brute', variant: BRUTE, shards: 2 },
  { name: 'one-tile-chunks', chunkRows: 1_024, lanes: 4 },
  { name: 'seven-tile-chunks', chunkRows: 7_168, variant: GRID_AVX2 },
  { name: 'one-lane', lanes: 1 },
  { name: 'four-lanes', lanes: 4, variant: GRID_SCALAR, chunkRows: 5_000 },
  { name: 'three-shards', shards: 3 },
  { name: 'eleven-shards', shards: 11, chunkRows: 4_096, lanes: 1 },
  { name: 'seal-often', chunkRows: 3_000, tuning: { sealPartsMax: 2 } },
  {
    name: 'continue-shards',
    chunkRows: 4_096,
    tuning: { shardEventsMax: 60, sealPartsMax: 5 },
  },
  {
    name: 'continue-run',
    chunkRows: 8_192,
    shards: 6,
    tuning: { runEventsMax: 20, openShardsMax: 2 },
  },
];

/** The same on fake GPUs, whose kernels are the host build: what this shows is the plumbing. */
const GPU_SETTINGS: readonly Setting[] = [
  { name: 'gpu', variant: GPU_VARIANT },
  { name: 'gpu-one-tile-chunks', variant: GPU_VARIANT, chunkRows: 1_024, lanes: 4 },
  { name: 'gpu-one-lane', variant: GPU_VARIANT, chunkRows: 7_168, lanes: 1, shards: 3 },
  { name: 'gpu-mode', mode: 'gpu', lanes: 4, shards: 5, chunkRows: 10_240 },
  { name: 'gpu-by-crossover', policy: 'probe-first@2', chunkRows: 20_480 },
  { name: 'gpu-seal-often', mode: 'gpu', chunkRows: 3_000, tuning: { sealPartsMax: 2 } },
  {
    name: 'gpu-and-cpu',
    chunkRows: 4_096,
    lanes: 4,
    pins: [
      { aspect: 'variant', value: GPU_VARIANT, tiles: [0, 50] },
      { aspect: 'variant', value: BRUTE, tiles: [51, 60] },
      { aspect: 'runtime', value: 'gpu', tiles: [61, 130] },
      { aspect: 'variant', value: GRID_SCALAR, tiles: [131, 156] },
    ],
  },
];

describe('plan-invariance', () => {
  let stage: Stage;
  let worker: WorkerProcess;
  let host: GpuWorker | null = null;
  const digests = new Map<string, string>();

  beforeAll(async () => {
    stage = await setStage(inject('temporal'));
    worker = await stage.startWorker({ hostId: 'invariance', lanes: 4, useGpus: false });
  });
  afterAll(async () => {
    await expectAllReplay(stage);
    await stage.close();
  });

  const settingOf = (setting: Setting): RunSetting => {
    const { name, variant, chunkRows, tuning, pins, ...spec } = setting;
    const runId = freshRunId(`invariance-${name}`);
    const paths = { dataset: stage.dataset, layer: stage.layer, sink: stage.sink(runId) };
    return {
      ...{ runId, spec: specOf({ ...paths, ...spec }), tuning },
      ...(variant === undefined ? {} : { variant }),
      ...(chunkRows === undefined ? {} : { chunkRows }),
      ...(pins === undefined ? {} : { pins }),
    };
  };

  test.each(SETTINGS)('publishes a complete run: $name', async (setting) => {
    const marker = await runToEnd(stage.client, settingOf(setting));
    expect(marker).toMatchObject({ tiles: STAGE_TILES, rows: STAGE_ROWS, parkedTiles: 0 });
    expect(marker.hits + marker.outside + marker.invalid).toBe(STAGE_ROWS);
    digests.set(setting.name, marker.runDigest);
  });

  test('publishes the same after the worker was killed twice in the middle', async () => {
    const setting = settingOf({ name: 'killed', chunkRows: 2_048, variant: BRUTE });
    const run = await startRun(stage.client, setting);
    for (let kill = 1; kill <= 2; kill += 1) {
      await expect
        .poll(async () => (await progressOf(stage, setting.runId)) >= kill * 10, {
          timeout: 60_000,
          interval: 50,
        })
        .toBe(true);
      await worker.kill();
      worker = await stage.startWorker({ hostId: 'invariance', lanes: 4, useGpus: false });
    }
    await run.result();
    digests.set('killed', (await markerOf(setting.spec)).runDigest);
  });

  test.each(GPU_SETTINGS)('publishes a complete run on fake GPUs: $name', async (setting) => {
    if (host === null) {
      await worker.stop();
      host = await startGpuWorker(stage, { hostId: 'invariance-gpu', lanes: 4 });
    }
    const run = settingOf(setting);
    const marker = await runToEnd(stage.client, run);
    expect(marker).toMatchObject({ tiles: STAGE_TILES, rows: STAGE_ROWS, parkedTiles: 0 });
    const lines = await controlOf(stage).lines(run.runId);
    const variants = new Set(
      lines.flatMap((one) => (one.kind === 'execute' ? one.order.variant : [])),
    );
    expect(variants).toContain(GPU_VARIANT);
    expect(variants.size).toBe(setting.name === 'gpu-and-cpu' ? 3 : 1);
    digests.set(setting.name, marker.runDigest);
  });

  test('leaves nothing on the GPUs, and no variant of theirs out', async () => {
    if (host !== null) await expectCleanStop(host);
    host?.gpus.remove();
    const gpuVariants = variantsOf(REGISTRY, 'assign').filter(({ runtime }) => runtime === 'gpu');
    expect(gpuVariants.map(({ id }) => id)).toEqual([GPU_VARIANT]);
  });

  test('gives one digest for all settings', () => {
    expect(digests.size).toBe(SETTINGS.length + GPU_SETTINGS.length + 1);
    expect(new Set(digests.values()).size, JSON.stringify([...digests])).toBe(1);
  });
});

/** Tiles of the run's open shards that are done. */
async function progressOf(stage: Stage, runId: string): Promise<number> {
  const handle = stage.client.workflow.getHandle(`tileloom/${runId}/shard-0`);
  try {
    const status = await handle.query<{ counts: { tilesDone: number } }>('shardStatus');
    return status.counts.tilesDone;
  } catch {
    return 0;
  }
}
