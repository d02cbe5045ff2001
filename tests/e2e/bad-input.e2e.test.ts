import { cpSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { RunReport } from '../../cli/runs/report.ts';
import { openDataset } from '../../datasets/index.ts';
import type { ShardStatus } from '../../workflows/messages.ts';
import {
  expectNoProcesses,
  expectNoTrace,
  jsonOf,
  runCli,
  writeYaml,
  type CliResult,
  type YamlSetting,
} from './product/cli.ts';
import { specOf, startRun } from './product/runs.ts';
import { setStage, STAGE_TILES, type Stage } from './product/stage.ts';
import type { WorkerProcess } from './product/processes.ts';

interface Problem {
  readonly schema: string;
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly problems?: readonly { code: string; line: number; message: string }[];
}

let stage: Stage;

beforeAll(async () => {
  stage = await setStage(inject('temporal'));
});
afterAll(async () => {
  await stage.close();
  await expectNoProcesses(stage.home);
});

const cli = (words: readonly string[], timeoutMs = 60_000): Promise<CliResult> =>
  runCli(words, { env: stage.environment, cwd: stage.root, timeoutMs });

const startWith = (name: string, setting: YamlSetting, more: readonly string[]) =>
  cli(['run', 'start', writeYaml(stage, name, setting), '-o', 'json', ...more]);

/** A copy of the stage's dataset, to be damaged. */
function copyDataset(name: string): string {
  const copy = join(stage.root, name);
  cpSync(stage.dataset, copy, { recursive: true });
  return copy;
}

/** What a refused command says: one JSON object on stderr, nothing on stdout. */
function expectRefusal(result: CliResult, code: number, problem: string, words: string[]): Problem {
  expect(result, result.stderr).toMatchObject({ code, stdout: '' });
  expectNoTrace(result.stderr);
  const error = JSON.parse(result.stderr.trim().split('\n').at(-1) ?? '') as Problem;
  expect(error).toMatchObject({ schema: 'tileloom.cli.error/1', code: problem });
  expectSentence(error.message, words);
  return error;
}

/** What is wrong, expected, got, what to do; and the names it must have. */
function expectSentence(message: string, words: readonly string[]): void {
  for (const word of ['expected ', 'got ', '; ', ...words]) expect(message).toContain(word);
}

function expectFailedRun(result: CliResult, problem: string, words: string[]): RunReport {
  expect(result, result.stderr).toMatchObject({ code: 3 });
  expectNoTrace(result.stderr);
  const { final } = jsonOf<{ final: RunReport }>(result);
  expect(final).toMatchObject({ phase: 'failed', open: false, digest: null });
  expect(final.error?.code, final.error?.message).toBe(problem);
  expectSentence(final.error?.message ?? '', words);
  return final;
}

describe('before a run starts', () => {
  test('a spec with three mistakes is told all three, with lines and suggestions', async () => {
    const file = writeYaml(stage, 'three');
    const text = readFileSync(file, 'utf8')
      .replace('assign: { layer: counties,', 'assign: { layer: countys,')
      .replace('limits:', 'limit:')
      .replace('mode: auto', 'mode: fast');
    writeFileSync(file, text);
    const result = await cli(['run', 'start', file, '--with-worker', '-o', 'json']);
    const error = expectRefusal(result, 2, 'SPEC_INVALID', ['three.yaml', '3 problems']);
    const codes = (error.problems ?? []).map((problem) => problem.code).toSorted();
    expect(codes).toEqual(['SPEC_BAD_VALUE', 'SPEC_UNKNOWN_KEY', 'SPEC_UNKNOWN_LAYER']);
    const asText = await cli(['run', 'start', file, '--with-worker']);
    expect(asText.code).toBe(2);
    expect(asText.stderr).toMatch(/three\.yaml:\d+:\d+: SPEC_UNKNOWN_LAYER/u);
    expect(asText.stderr).toContain('^');
    expect(asText.stderr).toContain('did you mean');
    expectNoTrace(asText.stderr);
  });

  test('a dataset that is not there, or cut short, is refused by name', async () => {
    const gone = join(stage.root, 'nowhere');
    const [missing, short, damaged] = await Promise.all([
      startWith('missing', { dataset: gone }, ['--with-worker']),
      (() => {
        const dataset = copyDataset('short');
        truncateSync(join(dataset, 'data-00000.arrow'), 100_000);
        return startWith('short-run', { dataset }, ['--with-worker']);
      })(),
      (() => {
        const dataset = copyDataset('no-json');
        writeFileSync(join(dataset, 'dataset.json'), '{ "schema": "tileloom.dataset/1", ');
        return startWith('no-json-run', { dataset }, ['--with-worker']);
      })(),
    ]);
    expectRefusal(missing, 2, 'DATASET_NOT_FOUND', [gone, 'dataset.json']);
    expectRefusal(short, 2, 'DATASET_FILE_SIZE', ['data-00000.arrow', '100000', 'bytes']);
    expectRefusal(damaged, 2, 'DATASET_INVALID', ['dataset.json', 'JSON']);
    expect(existsSync(stage.sink('missing'))).toBe(false);
  });

  test('a CRS that is not the dataset’s is refused', async () => {
    const layerOptions = "object: counties, id: '@id', crs: EPSG:3857";
    const [both, layer] = await Promise.all([
      startWith('mercator', { crs: 'EPSG:3857', layerOptions }, ['--with-worker']),
      startWith('mercator-layer', { layerOptions }, ['--with-worker']),
    ]);
    expectRefusal(both, 2, 'CRS_MISMATCH', [stage.dataset, 'EPSG:3857', 'CRS84']);
    expectRefusal(layer, 2, 'SPEC_INVALID', ['SPEC_CRS_MISMATCH', 'EPSG:3857']);
  });

  test('a sink that is claimed, or holds foreign files, is a conflict', async () => {
    const claimed = stage.sink('claimed');
    mkdirSync(claimed, { recursive: true });
    const claim = { schema: 'tileloom.claim/1', runId: 'somebody-else' };
    writeFileSync(join(claimed, '_CLAIM'), JSON.stringify(claim));
    const foreign = stage.sink('foreign');
    mkdirSync(foreign, { recursive: true });
    writeFileSync(join(foreign, 'thesis.tex'), 'years of work');
    const [first, second] = await Promise.all([
      startWith('claimed', {}, ['--with-worker']),
      startWith('foreign', {}, ['--with-worker']),
    ]);
    expectRefusal(first, 7, 'CLI_SINK_CLAIMED', [claimed, 'somebody-else', '--sink']);
    expectRefusal(second, 7, 'CLI_SINK_CLAIMED', [foreign, 'thesis.tex', '--sink']);
    expect(readFileSync(join(foreign, 'thesis.tex'), 'utf8')).toBe('years of work');
  });
});

describe('in a run', () => {
  let worker: WorkerProcess;

  beforeAll(async () => {
    worker = await stage.startWorker({ hostId: 'bad-input' });
  });
  afterAll(async () => {
    await worker.stop();
  });

  const watch = (name: string, setting: YamlSetting, more: readonly string[] = []) =>
    startWith(name, setting, ['--watch', ...more]);

  function writeLayer(name: string, features: readonly object[]): YamlSetting {
    const layer = join(stage.root, `${name}.geojson`);
    writeFileSync(layer, JSON.stringify({ type: 'FeatureCollection', features }));
    return { layer, layerOptions: 'id: code' };
  }

  const square = (code: string, x: number, close = true): object => ({
    type: 'Feature',
    properties: { code },
    geometry: {
      type: 'Polygon',
      coordinates: [[[x, 0], [x + 1, 0], [x + 1, 1], [x, 1], ...(close ? [[x, 0]] : [])]],
    },
  });

  test('a layer with points, equal ids or an open ring is refused, each feature by name', async () => {
    const point = {
      type: 'Feature',
      properties: { code: 'just-a-point' },
      geometry: { type: 'Point', coordinates: [1, 2] },
    };
    const [points, twins, open] = await Promise.all([
      watch('points', writeLayer('points-layer', [point])),
      watch('twins', writeLayer('twins-layer', [square('twin', 0), square('twin', 5)])),
      watch('open', writeLayer('open-layer', [square('shut', 0), square('ajar', 5, false)])),
    ]);
    const named = (name: string, words: string[]) => [join(stage.root, name), ...words];
    expectFailedRun(
      points,
      'LAYER_INVALID',
      named('points-layer.geojson', [...['LAYER_NOT_POLYGON', 'just-a-point', 'Point']]),
    );
    expectFailedRun(
      twins,
      'LAYER_INVALID',
      named('twins-layer.geojson', [...['LAYER_ID_DUPLICATE', 'twin']]),
    );
    expectFailedRun(
      open,
      'LAYER_INVALID',
      named('open-layer.geojson', [...['LAYER_RING_UNCLOSED', 'ajar']]),
    );
  });

  test('a flipped byte fails the run, naming tile and column; or parks the tile when allowed', async () => {
    const dataset = copyDataset('flipped');
    const tile = 77;
    const { x, path } = await flipByte(dataset, tile);
    const words = [`tile ${String(tile)}`, x, path, 'limits.failedTiles'];
    const [strict, lenient] = await Promise.all([
      watch('strict', { dataset }),
      watch('lenient', { dataset, failedTiles: 1 }),
    ]);
    expectFailedRun(strict, 'RUN_TOO_MANY_FAILED_TILES', words);
    expect(existsSync(join(stage.sink('strict'), '_SUCCESS'))).toBe(false);
    expect(lenient, lenient.stderr).toMatchObject({ code: 5 });
    const { final } = jsonOf<{ final: RunReport }>(lenient);
    expect(final).toMatchObject({
      phase: 'partial',
      counts: { total: STAGE_TILES, done: STAGE_TILES - 1, parked: 1, pending: 0, running: 0 },
    });
    const marker = readFileSync(join(stage.sink('lenient'), '_PARTIAL'), 'utf8');
    expect(JSON.parse(marker)).toMatchObject({ parkedTiles: 1, runDigest: final.digest });
    expect(existsSync(join(stage.sink('lenient'), '_SUCCESS'))).toBe(false);
  });

  /** Flips one bit in the middle of a tile's coordinates. */
  async function flipByte(folder: string, tile: number): Promise<{ x: string; path: string }> {
    const { manifest, tileSource } = await openDataset(folder);
    const source = tileSource({ measures: [] });
    const { path, x } = source.resolve(tile);
    source.close();
    const bytes = readFileSync(path);
    const at = x.dataOffset + 1_234;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    return { x: manifest.coordinates.x, path };
  }

  test('a path outside the roots is refused, also through links and dots', async () => {
    const outside = '/tmp';
    const link = join(stage.root, 'link');
    const tunnel = join(stage.root, 'tunnel');
    symlinkSync(stage.dataset, link);
    symlinkSync(outside, tunnel);
    const [sink, linked, through, layer] = await Promise.all([
      watch('outside', { sink: join(outside, 'tileloom-must-not-exist') }),
      watch('linked', { dataset: link }),
      watch('through', { sink: join(tunnel, 'tileloom-must-not-exist') }),
      (() => {
        const file = join(stage.root, 'linked-layer.json');
        symlinkSync(stage.layer, file);
        return watch('linked-layer', { layer: file });
      })(),
    ]);
    expectFailedRun(sink, 'PATH_OUTSIDE_ROOTS', [outside, stage.root, 'root']);
    expectFailedRun(linked, 'PATH_OUTSIDE_ROOTS', [link, 'symbolic link']);
    expectFailedRun(through, 'PATH_OUTSIDE_ROOTS', [tunnel, 'its target /tmp']);
    expectFailedRun(layer, 'PATH_OUTSIDE_ROOTS', ['linked-layer.json', 'symbolic link']);
    // The command line resolves dots, so they arrive only from other clients.
    const dots = `${stage.root}/sinks/../../tileloom-must-not-exist`;
    const spec = specOf({ dataset: stage.dataset, layer: stage.layer, sink: dots });
    const run = await startRun(stage.client, { runId: 'bad-dots', spec });
    await expect(run.result()).rejects.toThrow();
    expect((await run.status()).error).toMatchObject({ code: 'PATH_OUTSIDE_ROOTS' });
    expect(existsSync(join(outside, 'tileloom-must-not-exist'))).toBe(false);
  });

  test('two runs into one sink at once: exactly one wins, and its result is whole', async () => {
    const sink = stage.sink('both');
    const results = await Promise.all([
      watch('both-one', { sink }, ['--run-id', 'both-one']),
      watch('both-two', { sink }, ['--run-id', 'both-two']),
    ]);
    const codes = results.map(({ code }) => code ?? -1).toSorted((a, b) => a - b);
    expect([
      [0, 3],
      [0, 7],
    ]).toContainEqual(codes);
    const loser = results.find(({ code }) => code !== 0);
    expect(`${loser?.stdout ?? ''}${loser?.stderr ?? ''}`).toMatch(/(CLI_)?SINK_CLAIMED/u);
    const marker = JSON.parse(readFileSync(join(sink, '_SUCCESS'), 'utf8')) as { runId: string };
    const winner = results.findIndex(({ code }) => code === 0);
    expect(marker.runId).toBe(['both-one', 'both-two'][winner]);
  });

  test('a dataset that changes after the run began is noticed by the next executor', async () => {
    const dataset = copyDataset('edited');
    const started = await startWith('edited-run', { dataset }, [
      ...['--variant', 'assign/brute-exact@1', '--chunk-rows', '2048'],
    ]);
    const { runId } = jsonOf<{ runId: string }>(started);
    const shard = stage.client.workflow.getHandle(`tileloom/${runId}/shard-0`);
    const done = async (): Promise<number> =>
      shard
        .query<ShardStatus>('shardStatus')
        .then(({ counts }) => counts.tilesDone)
        .catch(() => 0);
    await expect.poll(done, { timeout: 30_000, interval: 50 }).toBeGreaterThan(3);
    const file = join(dataset, 'dataset.json');
    writeFileSync(file, `${readFileSync(file, 'utf8')} `);
    await worker.kill();
    worker = await stage.startWorker({ hostId: 'bad-input' });
    const waited = await cli(['run', 'wait', runId, '-o', 'json']);
    expect(waited.code).toBe(3);
    const { error } = jsonOf<RunReport>(waited);
    expect(error?.code).toBe('DATASET_CHANGED');
    expectSentence(error?.message ?? '', [dataset, 'digest']);
  });
});
