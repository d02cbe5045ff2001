// The built command line as real processes against a real Temporal server.
import { spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const TILES = 37;
const ROWS = TILES * 4096;
let folder = '';

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Running {
  readonly ended: Promise<Ended>;
  readonly signal: (name: 'SIGINT' | 'SIGTERM') => void;
  readonly stderrHas: (text: string) => Promise<void>;
}

function start(...words: string[]): Running {
  return startIn(inject('temporal').namespace, words);
}

function startIn(namespace: string, words: readonly string[]): Running {
  const { address } = inject('temporal');
  const child = spawn(process.execPath, [MAIN, ...words], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      TILELOOM_HOME: join(folder, 'home'),
      TEMPORAL_ADDRESS: address,
      TEMPORAL_NAMESPACE: namespace,
    },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code) => {
      resolve({ code, stdout, stderr });
    });
  });
  return {
    ended,
    signal: (name) => void child.kill(name),
    stderrHas: async (text) => {
      while (!stderr.includes(text) && child.exitCode === null) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  };
}

const cli = (...words: string[]): Promise<Ended> => start(...words).ended;

async function json(...words: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await cli(...words, '-o', 'json');
  expect(stderr.split('\n').filter((line) => line.startsWith('UNEXPECTED'))).toEqual([]);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Record<string, unknown>;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tileloom-cli-e2e-'));
  const require = createRequire(import.meta.url);
  copyFileSync(require.resolve('us-atlas/counties-10m.json'), join(folder, 'counties.json'));
  writeFileSync(
    join(folder, 'spec.yaml'),
    `apiVersion: tileloom/v1
kind: Pipeline
name: cli-test
source: { dataset: ./points }
layers: { counties: { file: ./counties.json, object: counties, id: '@id' } }
steps:
  - assign: { layer: counties, as: county }
  - aggregate: { by: county, measures: [count, { sum: value }] }
sink: { path: ./out-1 }
limits: { memory: 1 GiB, shards: 2 }
`,
  );
  await json('dataset', 'make', 'points', '--rows', String(ROWS), '--tile-rows', '4096');
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('a run from the command line', () => {
  let runId = '';
  let digest = '';

  test('starts, is worked on by its own worker and publishes', async () => {
    const started = await json('run', 'start', 'spec.yaml', '--with-worker');
    const final = started['final'] as Record<string, unknown>;
    runId = started['runId'] as string;
    digest = final['digest'] as string;
    expect(runId).toMatch(/^cli-test-\d{8}-[a-z0-9]{6}$/);
    expect(final['counts']).toEqual({
      total: TILES,
      pending: 0,
      running: 0,
      done: TILES,
      parked: 0,
      skipped: 0,
    });
    const marker = JSON.parse(readFileSync(join(folder, 'out-1', '_SUCCESS'), 'utf8')) as object;
    expect(marker).toMatchObject({
      runDigest: digest,
      tiles: TILES,
      rows: ROWS,
      specDigest: started['specDigest'],
    });
  });

  test('has a status after it ended, without any worker', async () => {
    expect(await json('run', 'status', runId)).toMatchObject({
      schema: 'tileloom.cli.run-status/1',
      phase: 'finished',
      rows: ROWS,
      digest,
      waiting: null,
    });
    const list = await json('run', 'list');
    expect(list['runs']).toContainEqual(expect.objectContaining({ runId, state: 'completed' }));
  });

  test('lists plans that cover each tile once, and shows each of them', async () => {
    const { plans } = (await json('plan', 'list', runId)) as {
      plans: { shard: number; chunk: number; firstTile: number; endTile: number; state: string }[];
    };
    const done = plans.filter((plan) => plan.state === 'done');
    const tiles = done.flatMap((plan) =>
      Array.from({ length: plan.endTile - plan.firstTile }, (_, index) => plan.firstTile + index),
    );
    expect(tiles.toSorted((a, b) => a - b)).toEqual(Array.from({ length: TILES }, (_, i) => i));
    const { shard, chunk } = done.at(-1) ?? { shard: 0, chunk: 0 };
    const shown = await cli('plan', 'show', runId, `${String(shard)}/${String(chunk)}`);
    expect(shown.stdout).toContain('reasons\n  - ');
    expect(shown.stdout).toMatch(/^execution$/m);
    expect((await cli('plan', 'show', runId, '0/999')).code).toBe(2);
  });

  test('gives the same digest with another variant and chunk size', async () => {
    const words = ['--variant', 'assign/grid-scalar@1', '--chunk-rows', '5_000', '--lanes', '1'];
    const started = await json(
      ...['run', 'start', 'spec.yaml', '--with-worker', '--sink', 'out-2', ...words],
    );
    expect((started['final'] as { digest: string }).digest).toBe(digest);
    const { plans } = (await json('plan', 'list', started['runId'] as string)) as {
      plans: { variant: string; reasons: string[] }[];
    };
    expect(new Set(plans.map((plan) => plan.variant))).toEqual(new Set(['assign/grid-scalar@1']));
    expect(plans.every((plan) => plan.reasons.includes('PIN_APPLIED'))).toBe(true);
  });

  test('refuses a sink that belongs to another run', async () => {
    const { code, stderr } = await cli('run', 'start', 'spec.yaml');
    expect(code).toBe(7);
    expect(stderr).toContain(`CLI_SINK_CLAIMED`);
    expect(stderr).toContain(runId);
  });

  test('refuses an id that is taken', async () => {
    const words = ['run', 'start', 'spec.yaml', '--sink', 'out-3', '--run-id', runId];
    expect(await cli(...words)).toMatchObject({
      code: 7,
      stderr: expect.stringContaining('CLI_RUN_EXISTS') as string,
    });
  });

  test('cleans nothing that the manifest names', async () => {
    writeFileSync(join(folder, 'out-1', 'parts', 'orphan.arrow'), 'x');
    expect(await json('run', 'clean', runId)).toMatchObject({
      removed: [join('parts', 'orphan.arrow')],
      bytes: 1,
    });
  });
});

describe('a run without a worker', () => {
  let runId = '';

  test('says what it waits for, and wait times out with 6', async () => {
    runId = (await json('run', 'start', 'spec.yaml', '--sink', 'out-4'))['runId'] as string;
    expect(await json('run', 'status', runId)).toMatchObject({
      phase: 'unknown',
      open: true,
      waiting: expect.stringContaining('tileloom worker start') as string,
    });
    expect((await cli('run', 'wait', runId, '--timeout', '500ms')).code).toBe(6);
    expect((await cli('run', 'clean', runId)).code).toBe(7);
  });

  test('is left alone by Ctrl-C of a watcher, which exits with 130', async () => {
    const watcher = start('run', 'watch', runId);
    await watcher.stderrHas('%');
    watcher.signal('SIGINT');
    const { code, stderr } = await watcher.ended;
    expect(code).toBe(130);
    expect(stderr).toContain(`tileloom run watch ${runId}`);
  });

  test('is finished by a worker that comes later and ends in order on SIGTERM', async () => {
    const worker = start('worker', 'start', '--host-id', 'cli-late', '--log-level', 'warn');
    const waited = await cli('run', 'wait', runId, '--timeout', '60s', '-o', 'json');
    expect(waited.code).toBe(0);
    expect(JSON.parse(waited.stdout)).toMatchObject({ phase: 'finished' });
    worker.signal('SIGTERM');
    expect((await worker.ended).code).toBe(0);
  });

  test('that is cancelled ends as cancelled, with exit code 3', async () => {
    const started = await json('run', 'start', 'spec.yaml', '--sink', 'out-5');
    const id = started['runId'] as string;
    expect(await json('run', 'cancel', id)).toMatchObject({ requested: true });
    const worker = start('worker', 'start', '--host-id', 'cli-cancel', '--log-level', 'warn');
    const waited = await cli('run', 'wait', id, '--timeout', '60s', '-o', 'json');
    worker.signal('SIGINT');
    await worker.ended;
    expect(JSON.parse(waited.stdout)).toMatchObject({ phase: 'cancelled' });
    expect(waited.code).toBe(3);
  });
});

describe('plan explain', () => {
  test('predicts without running anything', async () => {
    const explained = (await json('plan', 'explain', 'spec.yaml')) as {
      first: { schema: string };
      totals: { rows: number; tiles: number };
    };
    expect(explained.first.schema).toBe('tileloom.plan/1');
    expect(explained.totals).toMatchObject({ rows: ROWS, tiles: TILES });
  });

  test('fails with reasons when a pin cannot be honoured', async () => {
    const { code, stdout, stderr } = await cli(
      'plan',
      'explain',
      'spec.yaml',
      '--pin',
      'runtime=gpu',
    );
    expect(code).toBe(3);
    expect(stdout).toContain('reasons\n  - ');
    expect(stderr).toContain('CLI_NO_PLAN');
  });
});

describe('a namespace that the server does not have', () => {
  test.each([
    ['worker start --no-gpu'],
    ['run start spec.yaml --sink out-nons'],
    ['run list'],
    ['run status a-run'],
    ['run watch a-run'],
    ['pin set a-run --runtime cpu --reason why'],
  ])('ends tileloom %s with exit code 4, naming both', async (line) => {
    const { code, stdout, stderr } = await startIn('nons', line.split(' ')).ended;
    expect(stderr).toMatch(/^SERVER_PROFILE_INVALID: Temporal on [^\n]* namespace nons, [^\n]*\n$/);
    expect(stderr).toContain(inject('temporal').address);
    expect(stdout).toBe('');
    expect(code).toBe(4);
  });
});

describe('pins that cannot be honoured', () => {
  test.each([
    ['--pin variant=assign/cuda-grid-fp6@1', 'did you mean assign/cuda-grid-fp64@1?'],
    ['--mode cpu --pin device=GPU-1c8e27f4', 'expected runtime cpu, as plan.mode asks, got gpu'],
  ])('are refused before a run starts: %s', async (line, message) => {
    const words = ['run', 'start', 'spec.yaml', '--sink', 'out-pins', ...line.split(' ')];
    const { code, stdout, stderr } = await cli(...words);
    expect(stderr).toContain('OPERATOR_PIN_IMPOSSIBLE: pin ');
    expect(stderr).toContain(message);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });
});
