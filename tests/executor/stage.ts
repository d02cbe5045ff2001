// Owns what tests of executors need: a small dataset with a layer, a run context, and clients of real
// executor processes, all in a temporary folder. Needs the built product (npm run build:ts).
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canonicalJson, sha256Hex } from '../../core/index.ts';
import { makeDataset, openDataset, readPart } from '../../datasets/index.ts';
import {
  ExecutorClient,
  ExecutorError,
  type ChunkJob,
  type ChunkProgress,
  type ChunkResult,
  type ExecutorClientOptions,
  type RunContext,
} from '../../executor/index.ts';
import { openKernels } from '../../native/index.ts';
import type { FakeGpu } from '../native/helpers/fake-gpu.ts';
import { writeGeometry, type Area } from '../native/helpers/geometry.ts';

export const CPU_VARIANT = 'assign/grid-scalar@1';
export const GPU_VARIANT = 'assign/cuda-grid-fp64@1';
export const TILES = 12;
const TILE_ROWS = 500;

export interface ExecutorStage {
  readonly root: string;
  readonly context: RunContext;
  /** Lines of the executors' logs. */
  readonly log: string[];
  cpu(): ExecutorClient;
  gpu(device: FakeGpu, options?: Partial<ExecutorClientOptions>): ExecutorClient;
  job(variant: string, change?: Partial<ChunkJob>): ChunkJob;
  /** A context that differs from the stage's, as a job names it. */
  otherContext(change: Partial<RunContext>): Pick<ChunkJob, 'contextPath' | 'contextDigest'>;
  /** Tiles and partials of a part, as `seal` reads them. */
  part(result: ChunkResult): Promise<unknown>;
  close(): Promise<void>;
}

/** Two boxes that share a border, with points exactly on it, and a triangle over a part of one. */
const AREAS: readonly Area[] = [
  ring([-130, 20], [-95, 20], [-95, 50], [-130, 50]),
  ring([-95, 20], [-60, 20], [-60, 50], [-95, 50]),
  ring([-10, 35], [40, 35], [15, 65]),
  ring([-80, 30], [-70, 30], [-75, 45]),
];
const BORDERS = Float64Array.of(-95, 20, -95, 50, -10, 35, 40, 35);

function ring(...corners: readonly (readonly [number, number])[]): Area {
  const [first = [0, 0]] = corners;
  return { type: 'Polygon', coordinates: [[...corners, first].map(([x, y]) => [x, y])] };
}

export async function setExecutorStage(): Promise<ExecutorStage> {
  const root = mkdtempSync(join(tmpdir(), 'tileloom-executor-'));
  const datasetPath = join(root, 'points');
  const size = { rows: TILES * TILE_ROWS, tileRows: TILE_ROWS };
  await makeDataset({ out: datasetPath, ...size, threads: 1, segments: BORDERS });
  const geometryPath = join(root, 'areas.tlgeom');
  writeGeometry(geometryPath, AREAS);
  const dataset = await openDataset(datasetPath);
  const sinkPath = join(root, 'sink');
  mkdirSync(join(sinkPath, 'parts'), { recursive: true });
  const context: RunContext = {
    schema: 'tileloom.run-context/1',
    runId: 'test',
    datasetPath,
    datasetDigest: dataset.digest,
    columns: { ...dataset.manifest.coordinates, measures: ['value'] },
    geometry: {
      path: geometryPath,
      sha256: openKernels().openLayer({ geometryPath, indexPath: null }).geometrySha256,
    },
    boundary: 'half-open',
    overlap: 'first',
    wrap: false,
    aggregate: true,
    rows: false,
    sinkPath,
    memoryBytesMax: 2 ** 30,
  };
  const clients: ExecutorClient[] = [];
  const log: string[] = [];
  let jobs = 0;
  const keep = (text: RunContext): Pick<ChunkJob, 'contextPath' | 'contextDigest'> => {
    const json = canonicalJson(text);
    const contextDigest = sha256Hex(json);
    const contextPath = join(root, `context-${contextDigest.slice(0, 12)}.json`);
    writeFileSync(contextPath, json);
    return { contextPath, contextDigest };
  };
  const kept = keep(context);
  const clientOf = (options: Partial<ExecutorClientOptions>): ExecutorClient => {
    const client = new ExecutorClient({
      deviceId: 'cpu',
      threads: 2,
      cacheDir: join(root, 'layers'),
      lockPath: join(root, 'locks', options.deviceId ?? 'cpu'),
      externalRegistry: null,
      gpu: null,
      stallMs: 20_000,
      loadMs: 60_000,
      cancelGraceMs: 2_000,
      startMs: 30_000,
      onLog: (line) => log.push(line),
      ...options,
    });
    clients.push(client);
    return client;
  };
  return {
    root,
    context,
    log,
    cpu: () => clientOf({}),
    gpu: (device, options = {}) =>
      clientOf({
        deviceId: device.uuid,
        threads: 3,
        gpu: {
          ordinal: 0,
          uuid: device.uuid,
          memoryBytesMax: null,
          imagesDir: join(root, 'images'),
        },
        ...options,
      }),
    job: (variant, change = {}) => {
      jobs += 1;
      return {
        jobId: `job-${String(jobs)}`,
        ...kept,
        ...{ variant, precision: 'fp64', firstTile: 0, endTile: TILES, shard: 0 },
        token: `token${String(jobs)}`,
        ...change,
      };
    },
    otherContext: (change) => keep({ ...context, ...change }),
    part: async ({ file, sha256 }) => {
      const { tiles, partials } = await readPart(join(sinkPath, 'parts', file), sha256);
      return { tiles, partials: Buffer.from(partials).toString('hex') };
    },
    close: async () => {
      await Promise.all(clients.map((client) => client.stop()));
      rmSync(root, { recursive: true, force: true });
    },
  };
}

const NEVER = new AbortController().signal;

/** Runs a job to its end. */
export function runJob(
  client: ExecutorClient,
  job: ChunkJob,
  onProgress: (progress: ChunkProgress) => void = () => undefined,
  signal: AbortSignal = NEVER,
): Promise<ChunkResult> {
  return client.run(job, onProgress, signal);
}

/** Type and code of what a job failed with. */
export async function failureOf(run: Promise<ChunkResult>): Promise<string> {
  try {
    await run;
    return 'no failure';
  } catch (error) {
    return error instanceof ExecutorError ? `${error.type} ${error.code}` : String(error);
  }
}

/** Process ids of this process's children that still live. */
export function livingChildren(): readonly number[] {
  const path = `/proc/${String(process.pid)}/task/${String(process.pid)}/children`;
  return readFileSync(path, 'utf8').trim().split(/\s+/u).filter(Boolean).map(Number);
}
