// Owns what this machine remembers of the runs it started: enough to find a run's sink after the
// server has forgotten the run. Losing these files loses nothing but convenience.
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface LocalRun {
  readonly schema: 'tileloom.local-run/1';
  readonly runId: string;
  readonly name: string;
  readonly sink: string;
  readonly specDigest: string;
  /** Milliseconds since the Unix epoch. */
  readonly startedAt: number;
}

const RUN_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Whether a text can be a run id; others never reach a file name or the server. */
export function isRunId(text: string): boolean {
  return RUN_ID.test(text);
}

/** Remembers a run. */
export async function rememberRun(folder: string, run: LocalRun): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${run.runId}.json`), `${JSON.stringify(run)}\n`);
}

/** What is remembered of a run, or null. */
export async function recallRun(folder: string, runId: string): Promise<LocalRun | null> {
  if (!isRunId(runId)) {
    return null;
  }
  try {
    const run = JSON.parse(await readFile(join(folder, `${runId}.json`), 'utf8')) as LocalRun;
    return run.schema === 'tileloom.local-run/1' && run.runId === runId ? run : null;
  } catch {
    return null;
  }
}

/** Every remembered run, latest first. */
export async function recallRuns(folder: string): Promise<LocalRun[]> {
  const names = await readdir(folder).catch(() => []);
  const runs = await Promise.all(
    names
      .filter((name) => name.endsWith('.json'))
      .map((name) => recallRun(folder, name.slice(0, -'.json'.length))),
  );
  return runs
    .filter((run) => run !== null)
    .toSorted((left, right) => right.startedAt - left.startedAt);
}
