// Measures whole runs through the built command line: points × US counties, five measures, on this
// machine with an embedded server and one worker process.
//
// Run: node bench/run.mjs end-to-end [--rows 200000000] [--dir FOLDER] [--runs 3]
// The dataset is made once per folder. Page cache is warm from the second run on; both are recorded.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { HistoryLine } from '../../history/index.ts';
import { writeRecord } from '../record.ts';

interface RunFigures {
  readonly seconds: number;
  /** Between the first chunk's schedule and the last one's end. */
  readonly chunkSeconds: number;
  readonly fixedSecondsBefore: number;
  readonly fixedSecondsAfter: number;
  readonly rowsPerSecond: number;
  readonly rowsPerSecondBetween: number;
  /** 1 − (kernel + read + write thread seconds) ÷ (cores × chunkSeconds). */
  readonly shareNotKernelOrIo: number;
  readonly chunks: number;
  readonly plans: number;
  readonly executorPeakBytes: number;
  /** Median, 90th percentile and bias of predicted against measured seconds of chunks. */
  readonly prediction: unknown;
  readonly runDigest: string;
}

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '200000000' },
    dir: { type: 'string', default: 'bench-end-to-end' },
    runs: { type: 'string', default: '3' },
  },
});
const rows = Number(values.rows);
const folder = resolve(values.dir);
const cli = resolve('dist', 'cli', 'main.js');
const environment = { ...process.env, TILELOOM_HOME: join(folder, 'home') };

function tileloom(...args: string[]): string {
  const result = spawnSync(process.execPath, [cli, ...args], {
    env: environment,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (result.status !== 0)
    throw new Error(`tileloom ${args.join(' ')} ended with ${result.status}`);
  return result.stdout;
}

function prepareFolder(): string {
  mkdirSync(folder, { recursive: true });
  const dataset = join(folder, `points-${rows}`);
  if (!existsSync(join(dataset, 'dataset.json'))) {
    tileloom('dataset', 'make', dataset, '--rows', String(rows));
  }
  const layer = join(folder, 'counties.topo.json');
  const atlas = createRequire(import.meta.url).resolve('us-atlas/counties-10m.json');
  writeFileSync(layer, readFileSync(atlas));
  const spec = join(folder, 'pipeline.yaml');
  writeFileSync(
    spec,
    `apiVersion: tileloom/v1
kind: Pipeline
name: bench
source: { dataset: ./points-${rows}, crs: 'OGC:CRS84', wrap: true }
layers:
  counties: { file: ./counties.topo.json, object: counties, id: '@id' }
steps:
  - assign: { layer: counties, as: county }
  - aggregate: { by: county, measures: [count, { sum: value }, { mean: value }, { min: value }, { max: value }] }
sink: { path: ./out }
`,
  );
  return spec;
}

function measureRun(spec: string, run: number): RunFigures {
  const sink = join(folder, `out-${Date.now()}-${run}`);
  const started = Date.now();
  tileloom('run', 'start', spec, '--sink', sink, '--with-worker', '-o', 'json');
  const ended = Date.now();
  const lines = readdirSync(join(sink, 'records'))
    .filter((name) => name.startsWith('shard-') && name.endsWith('.jsonl'))
    .flatMap((name) => readFileSync(join(sink, 'records', name), 'utf8').split('\n'))
    .filter((text) => text !== '')
    .map((text) => JSON.parse(text) as HistoryLine);
  const chunks = lines.filter((line) => line.kind === 'execute' && line.answer !== null);
  const first = Math.min(...chunks.map((line) => line.scheduledAt));
  const last = Math.max(...chunks.map((line) => line.closedAt));
  const busy = chunks.reduce((sum, line) => {
    if (line.kind !== 'execute' || line.answer === null) return sum;
    const { read, kernel, write } = line.answer.seconds;
    return sum + read + kernel + write;
  }, 0);
  const peaks = chunks.map((line) => (line.kind === 'execute' ? (line.answer?.peakBytes ?? 0) : 0));
  const cores = Number(execFileSync('nproc', { encoding: 'utf8' }));
  const chunkSeconds = (last - first) / 1000;
  const marker = JSON.parse(readFileSync(join(sink, '_SUCCESS'), 'utf8')) as { runDigest: string };
  return {
    seconds: (ended - started) / 1000,
    chunkSeconds,
    fixedSecondsBefore: (first - started) / 1000,
    fixedSecondsAfter: (ended - last) / 1000,
    rowsPerSecond: Math.round((rows / (ended - started)) * 1000),
    rowsPerSecondBetween: Math.round(rows / chunkSeconds),
    shareNotKernelOrIo: Number((1 - busy / (cores * chunkSeconds)).toFixed(4)),
    chunks: chunks.length,
    plans: lines.filter((line) => line.kind === 'plan').length,
    executorPeakBytes: Math.max(...peaks),
    prediction: predictionOf(sink),
    runDigest: marker.runDigest,
  };
}

/** How far predicted seconds of chunks were off, as `plan whatif` states it. */
function predictionOf(sink: string): unknown {
  const text = tileloom('plan', 'whatif', '--from', sink, '-o', 'json');
  return (JSON.parse(text) as { predictionError: unknown }).predictionError;
}

const spec = prepareFolder();
tileloom('server', 'start');
try {
  const runs = Array.from({ length: Number(values.runs) }, (_, run) => measureRun(spec, run));
  if (new Set(runs.map((run) => run.runDigest)).size !== 1) {
    throw new Error('runs over the same data gave different digests');
  }
  for (const run of runs) process.stdout.write(`${JSON.stringify(run)}\n`);
  const file = writeRecord('end-to-end', {
    rows,
    measures: 5,
    layer: 'us-atlas counties-10m',
    runs,
  });
  process.stdout.write(`${file}\n`);
} finally {
  tileloom('server', 'stop');
}
