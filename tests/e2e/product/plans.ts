// Owns what every run of a test must keep true of its plans: each can be made again from its record.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { jsonOf, runCli } from './cli.ts';
import type { Stage } from './stage.ts';

export interface ReplayCounts {
  readonly plans: number;
  readonly equal: number;
  readonly different: number;
}

/** Asserts that every plan of a run replays to the byte, from the server or from `--from`. */
export async function expectReplays(
  stage: Pick<Stage, 'environment' | 'root'>,
  ...words: readonly string[]
): Promise<ReplayCounts> {
  const options = { env: stage.environment, cwd: stage.root };
  const result = await runCli(['plan', 'replay', ...words, '-o', 'json'], options);
  expect(result, result.stdout + result.stderr).toMatchObject({ code: 0 });
  const report = jsonOf<ReplayCounts>(result);
  expect(report).toMatchObject({ different: 0, unknown: 0, equal: report.plans });
  return report;
}

/**
 * Asserts the same of every run that claimed a sink of the stage, however it ended; the server must
 * still be there.
 */
export async function expectAllReplay(
  stage: Pick<Stage, 'environment' | 'root' | 'sink'>,
): Promise<void> {
  const runs = readdirSync(join(stage.root, 'sinks')).flatMap((name) =>
    claimedBy(stage.sink(name)),
  );
  for (const runId of new Set(runs)) await expectReplays(stage, runId);
}

function claimedBy(sink: string): string[] {
  try {
    return [(JSON.parse(readFileSync(join(sink, '_CLAIM'), 'utf8')) as { runId: string }).runId];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
