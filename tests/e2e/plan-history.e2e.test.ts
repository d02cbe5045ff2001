// Plan history on real runs: three sources that agree to the byte, replay, what-if, diff, and runs that
// are open, cancelled, failed or forgotten.
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { ChunkRow } from '../../cli/history/chunks.ts';
import type { WhatIfTotals } from '../../cli/plans/what-if-report.ts';
import { digestOf } from '../../core/index.ts';
import { policyById } from '../../planner/index.ts';
import { expectNoTrace, jsonOf, runCli, type CliResult } from './product/cli.ts';
import { expectReplays } from './product/plans.ts';
import type { WorkerProcess } from './product/processes.ts';
import { freshRunId, type RunSetting, runToEnd, specOf, startRun } from './product/runs.ts';
import { setStage, STAGE_ROWS, STAGE_TILES, type Stage } from './product/stage.ts';

const BRUTE = 'assign/brute-exact@1';
const SCALAR = 'assign/grid-scalar@1';

let stage: Stage;
let worker: WorkerProcess;

beforeAll(async () => {
  stage = await setStage(inject('temporal'));
  worker = await stage.startWorker({ hostId: 'plan-history' });
});
afterAll(async () => {
  await worker.stop();
  await stage.close();
});

const cli = (...words: readonly string[]): Promise<CliResult> =>
  runCli(words, { env: stage.environment, cwd: stage.root });

const settingOf = (
  runId: string,
  more: Partial<RunSetting> & { shards?: number } = {},
): RunSetting => {
  const { shards = 3, ...rest } = more;
  const { dataset, layer } = stage;
  const spec = specOf({ dataset, layer, sink: stage.sink(runId), shards });
  return { runId, spec, chunkRows: 8_192, ...rest };
};

async function exportOf(name: string, ...words: readonly string[]): Promise<string> {
  const file = join(stage.root, `${name}.jsonl`);
  const result = await cli('plan', 'export', ...words, '--to', file);
  expect(result, result.stderr).toMatchObject({ code: 0 });
  return file;
}

function rowsOf({ code, stdout, stderr }: CliResult): ChunkRow[] {
  expect(code, stderr).toBe(0);
  const lines = stdout.split('\n').filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line) as ChunkRow);
}

describe('a finished run that continued as new', () => {
  let file: string;

  beforeAll(async () => {
    await runToEnd(
      stage.client,
      settingOf('whole', { tuning: { shardEventsMax: 60, sealPartsMax: 3 } }),
    );
    file = await exportOf('live', 'whole');
    await runToEnd(stage.client, settingOf('other', { variant: SCALAR }));
  });

  test('has the same records live, sealed and exported, byte for byte', async () => {
    const sealed = await exportOf('sealed', '--from', stage.sink('whole'));
    const again = await exportOf('again', '--from', file);
    const bytes = readFileSync(file);
    expect(bytes.length).toBeGreaterThan(20_000);
    expect(readFileSync(sealed).equals(bytes)).toBe(true);
    expect(readFileSync(again).equals(bytes)).toBe(true);
    const records = bytes.toString().trim().split('\n').slice(1, -1);
    const executions = new Set(records.map((line) => /"runId":"([^"]+)"/u.exec(line)?.[1]));
    expect(executions.size).toBeGreaterThan(3);
    const folder = join(stage.sink('whole'), 'records');
    // A file is empty when all that its segment's parts came of closed before an earlier seal was asked.
    const stored = readdirSync(folder)
      .filter((name) => name.startsWith('shard-'))
      .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
      .filter((line) => line !== '');
    const texts = records.map((line) => line.slice(line.indexOf('"record":') + 9, -1));
    expect(texts.toSorted()).toEqual(stored.toSorted());
  });

  test('replays to the byte from each', async () => {
    const live = await expectReplays(stage, 'whole');
    expect(live.plans).toBeGreaterThanOrEqual(STAGE_TILES / 8);
    expect((await expectReplays(stage, '--from', file)).plans).toBe(live.plans);
    expect((await expectReplays(stage, '--from', stage.sink('whole'))).plans).toBe(live.plans);
  });

  test('lists every row once, in order, with what changed', async () => {
    const rows = rowsOf(await cli('plan', 'list', 'whole', '-o', 'jsonl'));
    const done = rows.filter(({ state }) => state === 'done');
    expect(done.reduce((sum, row) => sum + (row.rows ?? 0), 0)).toBe(STAGE_ROWS);
    const places = rows.map(({ shard, chunk }) => shard * 1e6 + chunk);
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    expect(new Set(rows.flatMap(({ pins }) => pins))).toEqual(new Set(['test-chunkRows']));
    for (const row of rows) expect(row.changes).not.toContain('variant');
    const same = await cli('plan', 'list', '--from', file, '-o', 'jsonl');
    expect(rowsOf(same)).toEqual(rows);
  });

  test('shows a plan with its pins, who set them and why', async () => {
    const { stdout } = await cli('plan', 'show', 'whole', '1/2');
    expect(stdout).toContain('chunk 1/2, try 1, epoch 0: executed');
    expect(stdout).toMatch(/test-chunkRows {2}chunkRows = 8192, epoch 0, by test: test/u);
    expect(stdout).toContain('NO_DEVICE: The host has no such device.');
    expect(stdout).toMatch(/snapshot [\d.]+ \w+ old/u);
  });

  test('is planned anew with another variant, beside the error of its own predictions', async () => {
    const words = ['plan', 'whatif', 'whole', '--pin', `variant=${SCALAR}`];
    const report = jsonOf<{
      totals: WhatIfTotals;
      predictionError: { chunks: number; median: number; p90: number; bias: number };
    }>(await cli(...words, '-o', 'json'));
    const rows = rowsOf(await cli('plan', 'list', 'whole', '-o', 'jsonl'));
    const ran = rows.filter(({ state }) => state === 'done');
    const sum = (pick: (row: ChunkRow) => number | null): number =>
      ran.reduce((total, row) => total + (pick(row) ?? 0), 0);
    expect(report.totals).toMatchObject({ chunks: ran.length, changed: report.totals.plans });
    expect(report.totals.secondsMeasured).toBeCloseTo(
      sum((row) => row.workSeconds),
      9,
    );
    expect(report.totals.secondsBefore).toBeCloseTo(
      sum((row) => row.predictedSeconds),
      6,
    );
    const errors = ran
      .map(
        (row) =>
          Math.abs((row.predictedSeconds ?? 0) - (row.workSeconds ?? 0)) / (row.workSeconds ?? 1),
      )
      .toSorted((a, b) => a - b);
    expect(report.predictionError.chunks).toBe(ran.length);
    expect(report.predictionError.median).toBeCloseTo(
      errors[Math.ceil(errors.length / 2) - 1] ?? 0,
      9,
    );
    const text = (await cli(...words)).stdout;
    expect(text).toContain(`variant ${report.totals.plans}`);
    expect(text).toMatch(/predictions were off by .* at the median/u);
  });

  test('names the record of an edited export and of edited sealed records', async () => {
    const edited = join(stage.root, 'edited.jsonl');
    writeFileSync(edited, readFileSync(file, 'utf8').replace(/("n":5,.*"rows":)\d/u, '$19'));
    for (const verb of ['replay', 'list', 'whatif', 'export']) {
      const result = await cli('plan', verb, '--from', edited, '-o', 'json');
      expect(result.code, verb).toBe(2);
      expect(JSON.parse(result.stderr)).toMatchObject({
        code: 'PLAN_EXPORT_BROKEN',
        details: { record: 5 },
      });
      expectNoTrace(result.stderr);
    }
    const sink = stage.sink('edited');
    cpSync(stage.sink('whole'), sink, { recursive: true });
    const name = readdirSync(join(sink, 'records')).find((one) => one.startsWith('shard-1-')) ?? '';
    const path = join(sink, 'records', name);
    writeFileSync(path, readFileSync(path, 'utf8').replace('"rows":8', '"rows":9'));
    const result = await cli('plan', 'replay', '--from', sink);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(name);
  });

  test('names a policy that nobody has', async () => {
    const lines = readFileSync(file, 'utf8').trim().split('\n');
    const texts = lines.flatMap((line) => {
      const { record } = JSON.parse(line) as { record?: unknown };
      return record === undefined ? [] : [JSON.stringify(record)];
    });
    const digest = policyById('probe-first@3').digest;
    expect(texts.join('')).toContain(digest);
    const other = digestOf('another policy');
    const { writeExport } = await import('../../history/index.ts');
    const records = texts.map((record) => record.replaceAll(digest, other));
    let text = '';
    const recipes = { policies: [], registries: [] };
    for await (const piece of writeExport(
      'whole',
      recipes,
      records.map((one) => JSON.parse(one) as never),
    )) {
      text += piece;
    }
    const path = join(stage.root, 'unknown.jsonl');
    writeFileSync(path, text);
    const result = await cli('plan', 'replay', '--from', path);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(`HISTORY_RECIPE_UNKNOWN`);
    expect(result.stderr).toContain(other);
  });

  test('is compared with itself, with another run, and chunk with chunk', async () => {
    expect(await cli('plan', 'diff', 'whole', file)).toMatchObject({ code: 0 });
    await expectReplays(stage, 'other');
    const diff = await cli('plan', 'diff', 'whole', 'other');
    expect(diff.code).toBe(8);
    expect(diff.stdout).toContain(`variant: "assign/grid-avx2@1" first, "${SCALAR}" second`);
    expect(diff.stdout).toContain('+ Pin test-variant fixes variant');
    const [wide, narrow] = await widestAndNarrowest('whole');
    const two = await cli('plan', 'diff', 'whole', '--chunks', wide.place, narrow.place);
    expect(two.code).toBe(8);
    expect(two.stdout).toContain(
      `chunkTiles: ${String(wide.tiles)} ${wide.place}, ${String(narrow.tiles)} ${narrow.place}`,
    );
    expect((await cli('plan', 'diff', 'whole', '--chunks', wide.place, wide.place)).code).toBe(0);
    expect((await cli('plan', 'diff', 'whole', '--chunks', '0/1', '0/99')).code).toBe(2);
    expect((await cli('plan', 'diff', 'whole')).code).toBe(2);
  });
});

/** Two chunks whose plans must differ: the ends of shards are narrower than what is pinned. */
async function widestAndNarrowest(runId: string) {
  const rows = rowsOf(await cli('plan', 'list', runId, '-o', 'jsonl'));
  const chunks = rows
    .filter(({ state, planId }) => state === 'done' && planId !== null)
    .map(({ shard, chunk, firstTile, endTile }) => ({
      place: `${String(shard)}/${String(chunk)}`,
      tiles: endTile - firstTile,
    }))
    .toSorted((a, b) => b.tiles - a.tiles);
  const [wide, narrow] = [chunks.at(0), chunks.at(-1)];
  if (wide === undefined || narrow === undefined) throw new Error(`${runId} has no chunks`);
  expect(narrow.tiles).toBeLessThan(wide.tiles);
  return [wide, narrow] as const;
}

describe('a run that is not whole', () => {
  test('is read while it runs, and after it was cancelled', async () => {
    const runId = freshRunId('open');
    const run = await startRun(
      stage.client,
      settingOf(runId, { variant: BRUTE, chunkRows: 2_048 }),
    );
    await expect
      .poll(async () => rowsOf(await cli('plan', 'list', runId, '-o', 'jsonl')).length, {
        timeout: 60_000,
      })
      .toBeGreaterThan(4);
    await expectReplays(stage, runId);
    const early = await exportOf(`${runId}-early`, runId);
    await expectReplays(stage, '--from', early);
    await run.cancel();
    await run.result().catch(() => undefined);
    await expectReplays(stage, runId);
    const live = await exportOf(`${runId}-live`, runId);
    const sealed = await exportOf(`${runId}-sealed`, '--from', stage.sink(runId));
    expect(readFileSync(sealed).equals(readFileSync(live))).toBe(true);
  });

  test('is read when it failed because a pin could not be honoured', async () => {
    const runId = freshRunId('failed');
    const run = await startRun(
      stage.client,
      settingOf(runId, { variant: 'assign/cuda-grid-fp64@1' }),
    );
    await expect(run.result()).rejects.toThrow();
    const rows = rowsOf(await cli('plan', 'list', runId, '-o', 'jsonl'));
    expect(new Set(rows.map(({ state }) => state))).toEqual(new Set(['refused']));
    expect((await expectReplays(stage, runId)).plans).toBe(rows.length);
    const live = await exportOf(`${runId}-live`, runId);
    const sealed = await exportOf(`${runId}-sealed`, '--from', stage.sink(runId));
    expect(readFileSync(sealed).equals(readFileSync(live))).toBe(true);
    const report = jsonOf<{ totals: WhatIfTotals }>(
      await cli('plan', 'whatif', runId, '--no-pins', '-o', 'json'),
    );
    expect(report.totals).toMatchObject({ changedFields: { decision: rows.length }, chunks: 0 });
  });

  test('is read from its sink when the server has forgotten it', async () => {
    const runId = freshRunId('gone');
    await runToEnd(stage.client, settingOf(runId));
    const live = await exportOf(`${runId}-live`, runId);
    const folder = join(stage.home, 'state', 'runs');
    mkdirSync(folder, { recursive: true });
    const sink = stage.sink(runId);
    const memory = { schema: 'tileloom.local-run/1', runId, name: 'test', sink };
    writeFileSync(
      join(folder, `${runId}.json`),
      JSON.stringify({ ...memory, specDigest: '', startedAt: 0 }),
    );
    await forget(`tileloom/${runId}`);
    const result = await cli('plan', 'export', runId);
    expect(result, result.stderr).toMatchObject({ code: 0 });
    expect(result.stderr).toContain(`the server has forgotten run ${runId}; its sealed records in`);
    expect(Buffer.from(result.stdout).equals(readFileSync(live))).toBe(true);
    await expectReplays(stage, runId);
    rmSync(sink, { recursive: true });
    const lost = await cli('plan', 'list', runId, '-o', 'json');
    expect(lost.code).toBe(2);
    expect(JSON.parse(lost.stderr.trim().split('\n').at(-1) ?? '')).toMatchObject({
      code: 'CLI_RUN_FORGOTTEN',
    });
  });

  test('takes the beginning of a shard from the sink when only that is forgotten', async () => {
    const runId = freshRunId('half');
    await runToEnd(stage.client, settingOf(runId, { tuning: { shardEventsMax: 60 } }));
    const live = await exportOf(`${runId}-live`, runId);
    const first = /"workflowId":"(tileloom\/[^/]+\/shard-1)","runId":"([^"]+)"/u.exec(
      readFileSync(live, 'utf8'),
    );
    await forget(first?.[1] ?? '', first?.[2]);
    const result = await cli('plan', 'export', runId);
    expect(result, result.stderr).toMatchObject({ code: 0 });
    expect(result.stderr).toContain('the server has forgotten the beginning of shard 1');
    expect(Buffer.from(result.stdout).equals(readFileSync(live))).toBe(true);
  });
});

test('refuses what names no run', async () => {
  const nobody = await cli('plan', 'replay', 'nobody', '-o', 'json');
  expect(nobody.code).toBe(2);
  expect(JSON.parse(nobody.stderr)).toMatchObject({ code: 'CLI_RUN_UNKNOWN' });
  for (const words of [
    ['replay'],
    ['replay', '--from', join(stage.root, 'missing')],
    ['replay', '--from', stage.root],
    ['replay', '--from', stage.layer],
    ['whatif', 'whole', '--set', 'where.shard=1'],
    ['whatif', 'whole', '--set', 'nonsense'],
    ['whatif', 'whole', '--memory', 'lots'],
    ['whatif', 'whole', '--policy', 'nobody@1'],
    ['show', 'whole', 'x/y'],
    ['show', 'whole'],
  ]) {
    const result = await cli('plan', ...words);
    expect(result.code, words.join(' ')).toBe(2);
    expect(result.stdout).toBe('');
    expectNoTrace(result.stderr);
  }
});

/** Deletes an execution, and waits until the server says that it knows none. */
async function forget(workflowId: string, runId?: string): Promise<void> {
  const { client } = stage;
  const execution = { workflowId, ...(runId === undefined ? {} : { runId }) };
  const { namespace } = client.options;
  await client.workflowService.deleteWorkflowExecution({ namespace, workflowExecution: execution });
  await expect
    .poll(
      () =>
        client.workflow
          .getHandle(workflowId, runId)
          .describe()
          .then(
            () => 'known',
            () => 'forgotten',
          ),
      { timeout: 120_000, interval: 500 },
    )
    .toBe('forgotten');
}
