import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test, type TestContext } from 'vitest';
import type { RunReport } from '../../cli/runs/report.ts';
import { readManifest, readPart, verifyPart } from '../../datasets/index.ts';
import {
  expectNoProcesses,
  expectNoTrace,
  jsonOf,
  runCli,
  writeYaml,
  type CliResult,
} from './product/cli.ts';
import { markerOf, specOf } from './product/runs.ts';
import { setStage, STAGE_ROWS, STAGE_TILES, type Stage } from './product/stage.ts';

let stage: Stage;
let disk: string;
let refusal: string | null = null;

beforeAll(async () => {
  stage = await setStage(inject('temporal'));
  disk = join(stage.root, 'disk');
  mkdirSync(disk);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', disk], { stdio: 'pipe' });
  } catch (error) {
    refusal = `mount -t tmpfs is refused here: ${String((error as { stderr?: Buffer }).stderr)}`;
  }
});
afterAll(async () => {
  if (refusal === null) execFileSync('umount', ['-l', disk]);
  await stage.close();
  await expectNoProcesses(stage.home);
});

const cli = (words: readonly string[], timeoutMs = 60_000): Promise<CliResult> =>
  runCli(words, { env: stage.environment, cwd: stage.root, timeoutMs });

async function status(runId: string): Promise<RunReport> {
  return jsonOf<RunReport>(await cli(['run', 'status', runId, '-o', 'json']));
}

/** Writes until nothing more fits, then gives some bytes back; returns the file. */
function fillDisk(freeBytes = 0): string {
  const ballast = join(disk, 'ballast');
  for (let bytes = 1 << 20; bytes >= 1; bytes >>= 1) {
    try {
      for (;;) appendFileSync(ballast, Buffer.alloc(bytes));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
  truncateSync(ballast, Math.max(0, statSync(ballast).size - freeBytes));
  return ballast;
}

test('a disk that fills up in the middle makes the run wait, say so, and go on', async (context: TestContext) => {
  if (refusal !== null) context.skip(refusal);
  const sink = join(disk, 'sink');
  const worker = await stage.startWorker({ hostId: 'disk-full' });
  const plain = await cli([
    ...['run', 'start', writeYaml(stage, 'roomy', { rows: true }), '--watch', '-o', 'json'],
  ]);
  const wanted = jsonOf<{ final: RunReport }>(plain).final.digest;
  const slow = ['--variant', 'assign/brute-exact@1', '--chunk-rows', '2048'];
  const file = writeYaml(stage, 'full', { sink, rows: true });
  const started = await cli(['run', 'start', file, '-o', 'json', ...slow]);
  const { runId } = jsonOf<{ runId: string }>(started);
  const folder = join(sink, 'parts');
  const parts = (): string[] => readdirSync(folder).filter((name) => name.endsWith('.arrow'));
  await expect.poll(() => parts().length, { timeout: 30_000, interval: 20 }).toBeGreaterThan(5);
  const ballast = fillDisk();
  let report = await status(runId);
  await expect
    .poll(async () => (report = await status(runId)).waiting, { timeout: 40_000, interval: 200 })
    .toMatch(/disk full/u);
  expect(report).toMatchObject({ open: true, phase: 'running', error: null });
  expect(report.waiting).toContain(sink);
  expect(report.waiting).toMatch(/expected free space, got ENOSPC; .*next try at/u);
  const { total, pending, running, done, parked } = report.counts ?? expect.unreachable();
  expect(pending + running + done + parked).toBe(total);
  expect(parked).toBe(0);
  const committed = parts();
  for (const name of committed) await readPart(join(folder, name), null);
  rmSync(ballast);
  const waited = await cli(['run', 'wait', runId, '-o', 'json', '--timeout', '90s'], 100_000);
  expect(waited, waited.stdout + waited.stderr).toMatchObject({ code: 0 });
  expectNoTrace(waited.stderr);
  await worker.stop();
  const { dataset, layer } = stage;
  const marker = await markerOf(specOf({ dataset, layer, sink }));
  expect(marker).toMatchObject({ runDigest: wanted, rows: STAGE_ROWS, tiles: STAGE_TILES });
  const named = (await readManifest(sink))?.parts ?? [];
  for (const { file: name, sha256 } of named) await verifyPart(join(folder, name), sha256);
  const counted = named.map(({ file: name }) => name);
  expect(committed.filter((name) => !counted.includes(name))).toEqual([]);
  expect(readdirSync(join(sink, 'records')).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

test('a disk that is full before the first chunk is waited for, too', async (context: TestContext) => {
  if (refusal !== null) context.skip(refusal);
  const sink = join(disk, 'late');
  const ballast = fillDisk(256 << 10);
  const worker = await stage.startWorker({ hostId: 'disk-full' });
  const file = writeYaml(stage, 'late', { sink });
  const started = await cli(['run', 'start', file, '-o', 'json']);
  const { runId } = jsonOf<{ runId: string }>(started);
  await expect
    .poll(async () => (await status(runId)).waiting, { timeout: 40_000, interval: 200 })
    .toMatch(/^prepare again: .* cannot be written .* expected free space, got ENOSPC/u);
  rmSync(ballast);
  const waited = await cli(['run', 'wait', runId, '-o', 'json', '--timeout', '60s'], 90_000);
  expect(waited, waited.stdout + waited.stderr).toMatchObject({ code: 0 });
  await worker.stop();
  expect(jsonOf<RunReport>(waited)).toMatchObject({ phase: 'finished', rows: STAGE_ROWS });
  expect(readdirSync(join(sink, 'records')).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});
