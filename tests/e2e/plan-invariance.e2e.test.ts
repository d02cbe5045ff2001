import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { expectAllReplay } from './product/plans.ts';
import { runToEnd, specOf, startRun, markerOf, type RunSetting } from './product/runs.ts';
import { setStage, STAGE_ROWS, STAGE_TILES, type Stage } from './product/stage.ts';
import type { WorkerProcess } from './product/processes.ts';

interface Setting {
  readonly name: string;
  readonly variant?: string;
  readonly chunkRows?: number;
  readonly lanes?: number;
  readonly shards?: number;
  readonly tuning?: RunSetting['tuning'];
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

describe('plan-invariance', () => {
  let stage: Stage;
  let worker: WorkerProcess;
  const digests = new Map<string, string>();

  beforeAll(async () => {
    stage = await setStage(inject('temporal'));
    worker = await stage.startWorker({ hostId: 'invariance', lanes: 4 });
  });
  afterAll(async () => {
    await expectAllReplay(stage);
    await stage.close();
  });

  const settingOf = ({ name, lanes, shards, ...rest }: Setting): RunSetting => ({
    runId: `invariance-${name}`,
    spec: specOf({
      dataset: stage.dataset,
      layer: stage.layer,
      sink: stage.sink(name),
      ...(lanes === undefined ? {} : { lanes }),
      ...(shards === undefined ? {} : { shards }),
    }),
    ...rest,
  });

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
      worker = await stage.startWorker({ hostId: 'invariance', lanes: 4 });
    }
    await run.result();
    digests.set('killed', (await markerOf(setting.spec)).runDigest);
  });

  test('gives one digest for all settings', () => {
    expect(digests.size).toBe(SETTINGS.length + 1);
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
