import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { RunReport } from '../../cli/runs/report.ts';
import { readMarker } from '../../datasets/index.ts';
import { parseSpec, specDigest } from '../../spec/index.ts';
import { expectAllReplay } from './product/plans.ts';
import {
  expectNoProcesses,
  expectNoTrace,
  jsonOf,
  runCli,
  startCli,
  writeYaml,
  type CliResult,
} from './product/cli.ts';
import { setStage, STAGE_ROWS, STAGE_TILES, type Stage } from './product/stage.ts';
import type { WorkerProcess } from './product/processes.ts';

const SLOW = ['--variant', 'assign/brute-exact@1', '--chunk-rows', '2048'];

interface Started {
  readonly schema: string;
  readonly runId: string;
  readonly sink: string;
  readonly specDigest: string;
}

let stage: Stage;

beforeAll(async () => {
  stage = await setStage(inject('temporal'));
});
afterAll(async () => {
  await expectNoProcesses(stage.home);
  await expectAllReplay(stage);
  await stage.close();
});

const cli = (words: readonly string[], timeoutMs = 60_000): Promise<CliResult> =>
  runCli(words, { env: stage.environment, cwd: stage.root, timeoutMs });

async function start(name: string, more: readonly string[] = []): Promise<Started> {
  const result = await cli(['run', 'start', writeYaml(stage, name), '-o', 'json', ...more]);
  expect(result, result.stderr).toMatchObject({ code: 0 });
  return jsonOf<Started>(result);
}

async function status(runId: string): Promise<RunReport> {
  const result = await cli(['run', 'status', runId, '-o', 'json']);
  expect(result, result.stderr).toMatchObject({ code: 0, stderr: '' });
  return jsonOf<RunReport>(result);
}

/** Counts add up whenever they are known. */
function expectSums({ counts, rows, rowsTotal, phase }: RunReport): void {
  if (counts === null) return;
  const { total, pending, running, done, parked } = counts;
  expect(pending + running + done + parked, phase).toBe(total);
  for (const count of [pending, running, done, parked]) expect(count).toBeGreaterThanOrEqual(0);
  expect(rows ?? 0).toBeLessThanOrEqual(rowsTotal ?? 0);
}

describe('run start, status and wait', () => {
  let worker: WorkerProcess | null = null;
  let run: Started;

  afterAll(async () => {
    await worker?.stop();
  });

  test('prints the run id and says that no worker is there', async () => {
    run = await start('one', SLOW);
    expect(run).toMatchObject({ schema: 'tileloom.cli.run-start/1', sink: stage.sink('one') });
    expect(run.runId).toMatch(/^one-\d{8}-[a-z0-9]{6}$/u);
    const report = await status(run.runId);
    expect(report).toMatchObject({ runId: run.runId, open: true, digest: null, name: 'one' });
    expect(report.waiting).toBe('no worker answers; start one with `tileloom worker start`');
    const text = await cli(['run', 'status', run.runId]);
    expect(text.stdout).toContain('no worker answers');
  });

  test('gives up waiting with exit code 6 and leaves the run alone', async () => {
    const result = await cli(['run', 'wait', run.runId, '--timeout', '1s', '-o', 'json']);
    expect(result.code).toBe(6);
    expect(result.stderr).toContain('it goes on');
    expect(jsonOf<RunReport>(result)).toMatchObject({ open: true, runId: run.runId });
    expectNoTrace(result.stderr);
  });

  test('detaches a watch at Ctrl-C; the run goes on', async () => {
    const watch = startCli(['run', 'watch', run.runId], {
      env: stage.environment,
      cwd: stage.root,
    });
    await expect.poll(watch.stderr, { timeout: 20_000 }).toContain('no worker answers');
    const asked = performance.now();
    watch.signal('SIGINT');
    const ended = await watch.ended;
    expect(ended.code).toBe(130);
    expect(performance.now() - asked).toBeLessThan(2_500);
    expect(ended.stderr).toContain(`detached; the run goes on. See it again: tileloom run watch`);
    expectNoTrace(ended.stderr);
    expect(await status(run.runId)).toMatchObject({ open: true });
  });

  test('ends a watch at once at the second Ctrl-C', async () => {
    const watch = startCli(['run', 'watch', run.runId], {
      env: stage.environment,
      cwd: stage.root,
    });
    // Without a worker each look at the run takes seconds; neither Ctrl-C may wait for one.
    await expect.poll(watch.stderr, { timeout: 20_000 }).toContain('no worker answers');
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    watch.signal('SIGINT');
    await expect.poll(watch.stderr, { interval: 10 }).toContain('detached');
    const second = performance.now();
    watch.signal('SIGINT');
    expect((await watch.ended).code).toBe(130);
    expect(performance.now() - second).toBeLessThan(1_000);
  });

  test('shows phase, sums, rows and rate while a worker works', async () => {
    worker = await stage.startWorker({ hostId: 'cli-run' });
    const seen: RunReport[] = [];
    await expect
      .poll(
        async () => {
          const report = await status(run.runId);
          expectSums(report);
          seen.push(report);
          return report.phase;
        },
        { timeout: 90_000, interval: 200 },
      )
      .toBe('finished');
    const working = seen.filter(({ phase, rows }) => phase === 'running' && (rows ?? 0) > 0);
    expect(working.length).toBeGreaterThan(0);
    for (const report of working) {
      expect(report.rowsTotal).toBe(STAGE_ROWS);
      expect(report.counts?.total).toBe(STAGE_TILES);
      expect(report.rowsPerSecond).toBeGreaterThan(0);
      expect(report.etaSeconds).toBeGreaterThanOrEqual(0);
    }
    const rows = seen.map((report) => report.rows ?? 0);
    expect(rows).toEqual(rows.toSorted((a, b) => a - b));
  });

  test('ends with a digest that status and _SUCCESS share', async () => {
    const waited = await cli(['run', 'wait', run.runId, '-o', 'json']);
    expect(waited.code).toBe(0);
    const report = jsonOf<RunReport>(waited);
    expect(report).toMatchObject({
      phase: 'finished',
      open: false,
      rows: STAGE_ROWS,
      waiting: null,
      error: null,
      counts: { total: STAGE_TILES, done: STAGE_TILES, pending: 0, running: 0, parked: 0 },
    });
    expect((report.hits ?? 0) + (report.outside ?? 0) + (report.invalid ?? 0)).toBe(STAGE_ROWS);
    const marker = JSON.parse(readFileSync(join(run.sink, '_SUCCESS'), 'utf8')) as object;
    expect(marker).toMatchObject({
      runDigest: report.digest,
      specDigest: run.specDigest,
      tiles: STAGE_TILES,
      rows: STAGE_ROWS,
      runId: run.runId,
    });
    expect(report.digest).toMatch(/^[0-9a-f]{64}$/u);
  });

  test('lists runs, latest first', async () => {
    const result = await cli(['run', 'list', '-o', 'json']);
    const { runs } = jsonOf<{ runs: { runId: string; state: string; sink: string }[] }>(result);
    expect(runs.find(({ runId }) => runId === run.runId)).toMatchObject({ sink: run.sink });
    const lines = (await cli(['run', 'list', '-o', 'jsonl'])).stdout.trim().split('\n');
    expect(lines.length).toBe(runs.length);
  });

  test('cancels an open run, which keeps what is sealed and has no marker', async () => {
    const other = await start('two', SLOW);
    await expect
      .poll(async () => (await status(other.runId)).rows ?? 0, { timeout: 30_000 })
      .toBeGreaterThan(0);
    const cancelled = await cli(['run', 'cancel', other.runId, '-o', 'json']);
    expect(jsonOf<object>(cancelled)).toMatchObject({ requested: true, runId: other.runId });
    const waited = await cli(['run', 'wait', other.runId, '-o', 'json', '--timeout', '30s']);
    expect(waited.code).toBe(3);
    const report = jsonOf<RunReport>(waited);
    expect(report).toMatchObject({ phase: 'cancelled', open: false, digest: null });
    expectSums(report);
    expect(await readMarker(other.sink)).toBeNull();
    const again = await cli(['run', 'cancel', other.runId]);
    expect(again).toMatchObject({ code: 0 });
    expect(again.stdout).toContain('has ended already');
  });

  test('names a run that nobody knows, whatever is asked of it', async () => {
    const verbs = ['status', 'watch', 'wait', 'cancel', 'clean'];
    const results = await Promise.all(
      verbs.map((verb) => cli(['run', verb, 'nobody-knows', '-o', 'json'])),
    );
    for (const { code, stdout, stderr } of results) {
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(JSON.parse(stderr)).toMatchObject({ code: 'CLI_RUN_UNKNOWN' });
    }
  });
});

test('run start --with-worker runs to the end, prints one document and leaves no process', async () => {
  const file = writeYaml(stage, 'whole');
  const result = await cli(['run', 'start', file, '--with-worker', '-o', 'json']);
  expect(result, result.stderr).toMatchObject({ code: 0 });
  expectNoTrace(result.stderr);
  const { final } = jsonOf<{ final: RunReport }>(result);
  expect(final).toMatchObject({ phase: 'finished', rows: STAGE_ROWS });
  await expectNoProcesses(stage.home);
  const { spec } = parseSpec(readFileSync(file, 'utf8'), { file });
  expect(await readMarker(stage.sink('whole'))).toMatchObject({
    specDigest: specDigest(spec),
    runDigest: final.digest,
  });
});
