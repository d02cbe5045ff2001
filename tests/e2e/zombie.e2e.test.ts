import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { readManifest, verifyPart } from '../../datasets/index.ts';
import type { ShardStatus } from '../../workflows/messages.ts';
import { expectAllReplay } from './product/plans.ts';
import { expectNoProcesses, expectNoTrace, jsonOf, runCli, type CliResult } from './product/cli.ts';
import {
  freshRunId,
  markerOf,
  type RunSetting,
  runToEnd,
  specOf,
  startRun,
} from './product/runs.ts';
import { setStage, STAGE_ROWS, STAGE_TILES, type Stage } from './product/stage.ts';

const SLOW_REGISTRY = join(import.meta.dirname, 'product', 'faulty-slow.json');

let stage: Stage;
let digest: string;

beforeAll(async () => {
  stage = await setStage(inject('temporal'));
  const worker = await stage.startWorker({ hostId: 'awake' });
  digest = (await runToEnd(stage.client, settingOf('plain'))).runDigest;
  await worker.stop();
});
afterAll(async () => {
  await expectAllReplay(stage);
  await stage.close();
  await expectNoProcesses(stage.home);
});

function settingOf(name: string): RunSetting {
  const runId = freshRunId(`zombie-${name}`);
  const where = { dataset: stage.dataset, layer: stage.layer, sink: stage.sink(runId) };
  return { runId, chunkRows: 16_384, spec: specOf({ ...where, shards: 1 }) };
}

async function shardStatus(runId: string): Promise<ShardStatus | null> {
  const handle = stage.client.workflow.getHandle(`tileloom/${runId}/shard-0`);
  return stage.client.connection
    .withDeadline(Date.now() + 1_000, () => handle.query<ShardStatus>('shardStatus'))
    .catch(() => null);
}

const cli = (words: readonly string[]): Promise<CliResult> =>
  runCli(words, { env: stage.environment, cwd: stage.root });

const filesIn = (setting: RunSetting, folder: string): string[] =>
  readdirSync(join(setting.spec.sink.path, folder)).toSorted();

test('an attempt that commits late leaves an orphan, which clean removes and nothing else', async () => {
  const setting = settingOf('late');
  const zombie = await stage.startWorker(
    { hostId: 'zombie', externalRegistry: SLOW_REGISTRY },
    { TILELOOM_TEST_SLOW_MS: '500' },
  );
  const run = await startRun(stage.client, setting);
  const writing = (): string[] =>
    existsSync(join(setting.spec.sink.path, 'parts'))
      ? filesIn(setting, 'parts').filter((file) => file.endsWith('.tmp'))
      : [];
  await expect.poll(writing, { timeout: 30_000, interval: 20 }).not.toEqual([]);
  const before = (await shardStatus(setting.runId))?.counts.tilesDone ?? STAGE_TILES;
  // The worker sleeps, its executor does not: the part is written, and its answer will be late.
  process.kill(zombie.pid, 'SIGSTOP');
  expect(writing()).not.toEqual([]);
  await expect.poll(writing, { timeout: 10_000, interval: 20 }).toEqual([]);
  const refused = await cli(['run', 'clean', setting.runId, '-o', 'json']);
  expect(refused).toMatchObject({ code: 7, stdout: '' });
  expect(JSON.parse(refused.stderr)).toMatchObject({ code: 'CLI_RUN_OPEN' });
  expectNoTrace(refused.stderr);
  const heir = await stage.startWorker({ hostId: 'heir' });
  // Tasks that the server had handed to the sleeper's open polls time out first (10 s each).
  await expect
    .poll(async () => (await shardStatus(setting.runId))?.counts.tilesDone ?? -1, {
      timeout: 60_000,
      interval: 100,
    })
    .toBeGreaterThan(before);
  process.kill(zombie.pid, 'SIGCONT');
  await run.result();
  await Promise.all([heir.stop(), zombie.stop()]);

  const marker = await markerOf(setting.spec);
  expect(marker).toMatchObject({ runDigest: digest, tiles: STAGE_TILES, rows: STAGE_ROWS });
  const manifest = await readManifest(setting.spec.sink.path);
  const named = (manifest?.parts ?? []).map(({ file }) => file).toSorted();
  const orphans = filesIn(setting, 'parts').filter((file) => !named.includes(file));
  expect(orphans.length).toBeGreaterThan(0);
  const segments = filesIn(setting, 'segments');

  const cleaned = await cli(['run', 'clean', setting.runId, '-o', 'json']);
  expect(cleaned, cleaned.stderr).toMatchObject({ code: 0 });
  const { removed } = jsonOf<{ removed: string[] }>(cleaned);
  expect(removed.toSorted()).toEqual(orphans.map((file) => join('parts', file)).toSorted());
  expect(filesIn(setting, 'parts')).toEqual(named);
  expect(filesIn(setting, 'segments')).toEqual(segments);
  for (const { file, sha256 } of manifest?.parts ?? []) {
    await verifyPart(join(setting.spec.sink.path, 'parts', file), sha256);
  }
  expect(await markerOf(setting.spec)).toEqual(marker);
});
