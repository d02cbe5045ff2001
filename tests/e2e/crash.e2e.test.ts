import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { tilesDoneOf } from './product/control.ts';
import { expectAllReplay } from './product/plans.ts';
import { isAlive, killAllWorkers } from './product/processes.ts';
import {
  freshRunId,
  markerOf,
  type RunSetting,
  runToEnd,
  specOf,
  startRun,
} from './product/runs.ts';
import { setStage, STAGE_ROWS, STAGE_TILES, type Stage } from './product/stage.ts';

const BRUTE = 'assign/brute-exact@1';
/** One faulty variant a document, declared so fast that the planner takes it until it is excluded. */
const faulty = (fault: string): string =>
  join(import.meta.dirname, 'product', `faulty-${fault}.json`);

let stage: Stage;
let digest: string;

beforeAll(async () => {
  stage = await setStage(inject('temporal'));
  const worker = await stage.startWorker({ hostId: 'undisturbed' });
  digest = (await runToEnd(stage.client, settingOf('undisturbed', {}))).runDigest;
  await worker.stop();
});
afterEach(killAllWorkers);
afterAll(async () => {
  await expectAllReplay(stage);
  await stage.close();
});

function settingOf(name: string, rest: Partial<RunSetting>): RunSetting {
  const runId = freshRunId(`crash-${name}`);
  const paths = { dataset: stage.dataset, layer: stage.layer, sink: stage.sink(runId) };
  return { runId, spec: specOf({ ...paths, shards: 1 }), ...rest };
}

const tilesDone = (runId: string): Promise<number> => tilesDoneOf(stage, runId);

async function until(what: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  await expect.poll(what, { timeout: timeoutMs, interval: 40 }).toBe(true);
}

async function expectSameResult(setting: RunSetting): Promise<void> {
  const marker = await markerOf(setting.spec);
  expect(marker).toMatchObject({ runDigest: digest, tiles: STAGE_TILES, rows: STAGE_ROWS });
}

describe('a worker that is killed', () => {
  test('is followed by work within 6 s of its next start, with the same result', async () => {
    const setting = settingOf('worker', { variant: BRUTE, chunkRows: 2_048 });
    let worker = await stage.startWorker({ hostId: 'kill-me' });
    const run = await startRun(stage.client, setting);
    await until(async () => (await tilesDone(setting.runId)) >= 10);
    const executors = worker.executors();
    expect(executors.length).toBe(1);
    await worker.kill();
    await until(async () => !executors.some(isAlive), 3_000);
    const started = performance.now();
    worker = await stage.startWorker({ hostId: 'kill-me' });
    const ready = performance.now();
    const before = await tilesDone(setting.runId);
    await until(async () => (await tilesDone(setting.runId)) > before, 30_000);
    expect(performance.now() - ready).toBeLessThan(6_000);
    expect(ready - started).toBeLessThan(30_000);
    await run.result();
    await worker.stop();
    await expectSameResult(setting);
  });
});

describe('an executor', () => {
  test.each(['crash', 'abort', 'hang'])(
    'whose kernel meets a %s is replaced, its variant excluded, and the run ends with the same result',
    async (fault) => {
      const setting = settingOf(fault, { chunkRows: 16_384 });
      const worker = await stage.startWorker({
        hostId: `fault-${fault}`,
        externalRegistry: faulty(fault),
        stallMs: 1_500,
      });
      await runToEnd(stage.client, setting);
      await worker.stop();
      await expectSameResult(setting);
    },
  );

  test('that is killed from outside costs a chunk, not the run', async () => {
    const setting = settingOf('executor-killed', { variant: BRUTE, chunkRows: 2_048 });
    const worker = await stage.startWorker({ hostId: 'executor-killed' });
    const run = await startRun(stage.client, setting);
    for (const share of [5, 25]) {
      await until(async () => (await tilesDone(setting.runId)) >= share);
      for (const pid of worker.executors()) process.kill(pid, 'SIGKILL');
    }
    await run.result();
    await worker.stop();
    await expectSameResult(setting);
  });
});

describe('two hosts', () => {
  test('share a run; one is killed for good and another joins late', async () => {
    const setting = settingOf('hosts', { variant: BRUTE, chunkRows: 2_048 });
    const first = await stage.startWorker({ hostId: 'host-one' });
    const run = await startRun(stage.client, setting);
    await until(async () => (await tilesDone(setting.runId)) >= 8);
    const second = await stage.startWorker({ hostId: 'host-two' });
    await first.kill();
    await run.result();
    await second.stop();
    await expectSameResult(setting);
  });
});

describe('cancel', () => {
  test('seals what is done and leaves no marker', async () => {
    const setting = settingOf('cancel', { variant: BRUTE, chunkRows: 2_048 });
    const worker = await stage.startWorker({ hostId: 'cancel' });
    const run = await startRun(stage.client, setting);
    await until(async () => (await tilesDone(setting.runId)) >= 8);
    await run.cancel();
    await expect(run.result()).rejects.toThrow('cancelled');
    const names = readdirSync(setting.spec.sink.path);
    expect(names).not.toContain('_SUCCESS');
    expect(readdirSync(join(setting.spec.sink.path, 'segments')).length).toBeGreaterThan(0);
    await worker.stop();
  });
});

describe('a worker that is asked to stop', () => {
  test('finishes its chunks, ends with 0, and leaves no process behind', async () => {
    const setting = settingOf('drain', { variant: BRUTE, chunkRows: 4_096 });
    const worker = await stage.startWorker({ hostId: 'drain' });
    const run = await startRun(stage.client, setting);
    await until(async () => (await tilesDone(setting.runId)) >= 4);
    const executors = worker.executors();
    expect(await worker.stop()).toBe(0);
    expect(executors.some(isAlive)).toBe(false);
    const next = await stage.startWorker({ hostId: 'drain-next' });
    await run.result();
    await next.stop();
    await expectSameResult(setting);
  });
});
