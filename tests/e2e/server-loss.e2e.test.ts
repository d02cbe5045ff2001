import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { readManifest } from '../../datasets/index.ts';
import { executionChain, fetchLines, type HistoryLine } from '../../history/index.ts';
import { homePaths, startServer, stopServer, type RunningServer } from '../../server/index.ts';
import { WORKFLOW_TASK_TIMEOUT_MS, type ShardStatus } from '../../workflows/messages.ts';
import { freePorts } from './harness/ports.ts';
import { expectNoProcesses } from './product/cli.ts';
import { isAlive, killAllWorkers, type WorkerProcess } from './product/processes.ts';
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
const SLOW_REGISTRY = join(import.meta.dirname, 'product', 'faulty-slow.json');

let home: string;
let paths: ReturnType<typeof homePaths>;
let server: RunningServer;
let stage: Stage;
let digest: string;

const report = (): void => undefined;
const serve = (): Promise<RunningServer> => startServer({ report, paths, tieToParent: true });

beforeAll(async () => {
  const { temporalBinary, namespace, ...shared } = inject('temporal');
  home = mkdtempSync(join(tmpdir(), 'tileloom-loss-'));
  const [port, uiPort] = await freePorts(2);
  paths = homePaths({
    TILELOOM_HOME: home,
    TILELOOM_TEMPORAL_BIN: temporalBinary,
    TILELOOM_PORT: String(port),
    TILELOOM_UI_PORT: String(uiPort),
  });
  server = await serve();
  stage = await setStage({ ...shared, temporalBinary, namespace }, server.address);
  const worker = await stage.startWorker({ hostId: 'undisturbed' });
  digest = (await runToEnd(stage.client, settingOf('undisturbed', {}))).runDigest;
  await worker.stop();
});
afterEach(killAllWorkers);
afterAll(async () => {
  await stage.close();
  await stopServer({ report, paths });
  await expectNoProcesses(stage.home);
  rmSync(home, { recursive: true, force: true });
});

function settingOf(name: string, rest: Partial<RunSetting>): RunSetting {
  const runId = freshRunId(`loss-${name}`);
  const where = { dataset: stage.dataset, layer: stage.layer, sink: stage.sink(runId) };
  return { runId, spec: specOf({ ...where, shards: 1 }), ...rest };
}

async function shardStatus(runId: string): Promise<ShardStatus | null> {
  const handle = stage.client.workflow.getHandle(`tileloom/${runId}/shard-0`);
  return stage.client.connection
    .withDeadline(Date.now() + 1_000, () => handle.query<ShardStatus>('shardStatus'))
    .catch(() => null);
}

async function tilesDone(runId: string): Promise<number> {
  return (await shardStatus(runId))?.counts.tilesDone ?? 0;
}

async function until(what: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  await expect.poll(what, { timeout: timeoutMs, interval: 40 }).toBe(true);
}

async function killServer(): Promise<void> {
  process.kill(server.pid, 'SIGKILL');
  await until(() => Promise.resolve(!isAlive(server.pid)), 5_000);
}

const parts = (setting: RunSetting): number =>
  readdirSync(join(setting.spec.sink.path, 'parts')).filter((name) => name.endsWith('.arrow'))
    .length;

async function linesOf({ runId }: RunSetting): Promise<readonly HistoryLine[]> {
  const lines: HistoryLine[] = [];
  for (const execution of await executionChain(stage.client, `tileloom/${runId}/shard-0`)) {
    for await (const line of fetchLines(stage.client, execution, 0)) lines.push(line);
  }
  return lines;
}

async function expectSameResult(setting: RunSetting): Promise<void> {
  const marker = await markerOf(setting.spec);
  expect(marker).toMatchObject({ runDigest: digest, tiles: STAGE_TILES, rows: STAGE_ROWS });
  expect(marker.hits + marker.outside + marker.invalid).toBe(STAGE_ROWS);
}

describe('a server that is killed in the middle of a run', () => {
  let worker: WorkerProcess;

  test('finds work going on within 5 s of its return on its file, with the same result', async () => {
    const setting = settingOf('short', { variant: BRUTE, chunkRows: 2_048 });
    worker = await stage.startWorker({ hostId: 'loss' });
    const run = await startRun(stage.client, setting);
    await until(async () => (await tilesDone(setting.runId)) >= 10);
    await killServer();
    const inFlight = parts(setting) + 2;
    server = await serve();
    const serving = performance.now();
    // Two chunks may have been in flight; a further part is work of the server's new life.
    await until(() => Promise.resolve(parts(setting) > inFlight), 30_000);
    expect(performance.now() - serving).toBeLessThan(5_000);
    await run.result();
    await worker.stop();
    await expectSameResult(setting);
  });

  test('and is away for 15 s has chunks in flight count once, whether their answers were lost or not', async () => {
    const setting = settingOf('long', { chunkRows: 16_384 });
    worker = await stage.startWorker(
      { hostId: 'loss-long', externalRegistry: SLOW_REGISTRY },
      { TILELOOM_TEST_SLOW_MS: '1000' },
    );
    const run = await startRun(stage.client, setting);
    await until(async () => {
      const status = await shardStatus(setting.runId);
      const executing = status?.lanes.filter(({ state }) => state === 'executing') ?? [];
      return (status?.counts.chunks ?? 0) >= 2 && executing.length > 0;
    });
    await killServer();
    await new Promise((resolve) => setTimeout(resolve, 15_000));
    server = await serve();
    const serving = Date.now();
    await run.result();
    await worker.stop();
    await expectSameResult(setting);
    const counted = (await readManifest(setting.spec.sink.path))?.parts ?? [];
    expect(counted.reduce((rows, part) => rows + part.rows, 0)).toBe(STAGE_ROWS);
    expect(new Set(counted.map(({ firstTile }) => firstTile)).size).toBe(counted.length);
    const lines = await linesOf(setting);
    const told = JSON.stringify(
      lines.map((line) => [line.activityId, line.scheduledAt - serving, line.failure?.type]),
    );
    const lost = lines.filter(({ failure }) => failure !== null);
    expect(parts(setting), told).toBeLessThanOrEqual(counted.length + lost.length);
    const later = lines.filter(({ scheduledAt }) => scheduledAt > serving);
    const first = Math.min(...later.map(({ scheduledAt }) => scheduledAt));
    // The SDK's pollers have backed off to at most 10 s by then, give or take a fifth; a workflow task
    // that the kill lost after it was handed out comes back after its time-out, 4 s.
    expect(first - serving, told).toBeLessThan(12_500 + WORKFLOW_TASK_TIMEOUT_MS);
  });

  test('lets a worker end in order while it is away', async () => {
    const setting = settingOf('term', { variant: BRUTE, chunkRows: 2_048 });
    worker = await stage.startWorker({ hostId: 'loss-term' });
    const run = await startRun(stage.client, setting);
    await until(async () => (await tilesDone(setting.runId)) >= 6);
    const executors = worker.executors();
    await killServer();
    const asked = performance.now();
    const code = await worker.stop();
    const seconds = (performance.now() - asked) / 1_000;
    expect(code, worker.log()).toBe(0);
    expect(seconds).toBeLessThan(60);
    expect(executors.some(isAlive)).toBe(false);
    server = await serve();
    const next = await stage.startWorker({ hostId: 'loss-term' });
    await run.result();
    await next.stop();
    await expectSameResult(setting);
  });
});
