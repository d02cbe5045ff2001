// Owns the course of the demo: server, data, worker, two runs with live progress, results.
import { join } from 'node:path';
import { serverStatus, stopServer, homePaths } from '../../server/index.ts';
import { specDigest } from '../../spec/index.ts';
import { startChildWorker, type ChildWorker } from '../child-worker.ts';
import type { ActionContext } from '../command.ts';
import { CliError } from '../errors.ts';
import { loadSpec } from '../files.ts';
import { createProgress } from '../progress.ts';
import { followRun } from '../runs/follow.ts';
import { rememberRun } from '../runs/local-runs.ts';
import { checkBeforeStart, makeRunId, submitRun } from '../runs/start.ts';
import type { RunReport } from '../runs/report.ts';
import { readRunStatus } from '../runs/status.ts';
import { withSession, type Session } from '../session.ts';
import {
  demoFolders,
  ensureCities,
  ensurePoints,
  prepareFolders,
  type DemoFolders,
  type DemoPipeline,
} from './data.ts';
import { topFeatures, type TopFeature } from './top.ts';

export interface DemoOptions {
  readonly root: string;
  readonly rows: number;
  /** Leave the server running that the demo started. */
  readonly keep: boolean;
  readonly threads: number | undefined;
  readonly signal: AbortSignal;
}

export interface DemoRun {
  readonly runId: string;
  readonly pipeline: string;
  readonly measure: string;
  readonly sink: string;
  readonly result: string;
  readonly map: string;
  readonly digest: string;
  readonly rows: number;
  readonly hits: number | null;
  readonly seconds: number | null;
  readonly rowsPerSecond: number | null;
  readonly top: readonly TopFeature[];
}

const TOP = 10;

/** Runs the whole demo; calls `onRun` after each run. Null when it was interrupted. */
export async function runDemo(
  action: ActionContext,
  options: DemoOptions,
  onRun: (run: DemoRun) => void,
): Promise<readonly DemoRun[] | null> {
  const { io, output } = action;
  const paths = homePaths(io.env);
  const before = await serverStatus(paths);
  const note = output.note;
  try {
    return await withSession(io, { start: true, tieToParent: !options.keep, note }, (session) =>
      demoRuns(action, session, options, onRun),
    );
  } finally {
    if (!options.keep && before.state === 'stopped') {
      await stopServer({
        report: ({ message }) => {
          note(message);
        },
        paths,
      });
    }
  }
}

async function demoRuns(
  action: ActionContext,
  session: Session,
  options: DemoOptions,
  onRun: (run: DemoRun) => void,
): Promise<readonly DemoRun[] | null> {
  const { io, output } = action;
  const folders = demoFolders(options.root);
  const pipelines = await prepareFolders(folders);
  const worker = startChildWorker({
    io,
    roots: [folders.root],
    logFile: join(folders.root, 'worker.log'),
    threads: options.threads,
  });
  try {
    output.note('1. the cities of the world × the counties of the United States');
    await ensureCities(folders);
    const first = await demoRun(action, session, options, {
      folders,
      pipeline: pipelines.cities,
      worker,
    });
    if (first === null) {
      return null;
    }
    onRun(first);
    output.note(`2. ${options.rows.toLocaleString('en-US')} synthetic points × the same counties`);
    await makePoints(action, folders, options);
    if (options.signal.aborted) {
      return null;
    }
    const second = await demoRun(action, session, options, {
      folders,
      pipeline: pipelines.points,
      worker,
    });
    if (second === null) {
      return null;
    }
    onRun(second);
    return [first, second];
  } finally {
    await worker.stop();
  }
}

async function makePoints(
  { io }: ActionContext,
  folders: DemoFolders,
  options: DemoOptions,
): Promise<void> {
  const progress = createProgress(io, options.signal);
  try {
    await ensurePoints(folders, options.rows, {
      signal: options.signal,
      onRows: (done, total) => {
        progress.update({
          label: 'making points',
          done,
          total,
          unit: 'rows',
          detail: null,
          waiting: null,
        });
      },
    });
  } catch (error) {
    if (!options.signal.aborted) {
      throw error;
    }
  } finally {
    progress.clear();
  }
}

interface DemoStep {
  readonly folders: DemoFolders;
  readonly pipeline: DemoPipeline;
  readonly worker: ChildWorker;
}

async function demoRun(
  { io }: ActionContext,
  session: Session,
  options: DemoOptions,
  { folders, pipeline, worker }: DemoStep,
): Promise<DemoRun | null> {
  const loaded = await loadSpec(io, pipeline.file);
  const runId = makeRunId(pipeline.name, io.now());
  const sink = join(folders.out, runId);
  const spec = { ...loaded.absolute, sink: { ...loaded.absolute.sink, path: sink } };
  await checkBeforeStart(spec);
  const submitted = await submitRun(session, { runId, spec, written: loaded.spec });
  const local = {
    schema: 'tileloom.local-run/1',
    runId,
    name: spec.name,
    sink,
    specDigest: specDigest(loaded.spec),
    startedAt: io.now(),
  } as const;
  await rememberRun(session.runsFolder, local);
  const read = (): Promise<RunReport> =>
    readRunStatus({ client: session.client, now: io.now, local }, runId);
  const watched = followRun({ io, label: pipeline.name, signal: options.signal, read });
  const { report, end } = await Promise.race([watched, worker.failed]);
  if (end === 'detached') {
    await session.client.workflow.getHandle(submitted.workflowId).cancel();
    return null;
  }
  return describeRun(report, pipeline, sink);
}

async function describeRun(
  report: RunReport | null,
  pipeline: DemoPipeline,
  sink: string,
): Promise<DemoRun> {
  if (report?.phase !== 'finished' || report.digest === null || report.result === null) {
    const why = report?.error === null || report === null ? 'no result' : report.error.message;
    throw new CliError(
      'CLI_DEMO_FAILED',
      `the demo's run ${report?.runId ?? pipeline.name} did not finish: expected phase finished, ` +
        `got ${report?.phase ?? 'nothing'} (${why}); see worker.log in its folder, and tileloom doctor`,
    );
  }
  const column = pipeline.measure === 'population' ? 'sum_population' : 'count';
  return {
    runId: report.runId,
    pipeline: pipeline.file,
    measure: pipeline.measure,
    sink,
    result: report.result,
    map: join(sink, 'map.svg'),
    digest: report.digest,
    rows: report.rows ?? 0,
    hits: report.hits,
    seconds: report.elapsedSeconds,
    rowsPerSecond: report.rowsPerSecond,
    top: await topFeatures(report.result, column, TOP),
  };
}
