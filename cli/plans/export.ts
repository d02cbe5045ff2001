// Owns `plan export`: the lines of a run with its policies and registries, as one file.
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { writeExport } from '../../history/index.ts';
import { rebuildRecipes } from '../../planner/index.ts';
import { formatCount } from '../format.ts';
import type { HistoryLine } from '../../history/index.ts';
import type { CommandIo } from '../io.ts';
import type { Output } from '../output.ts';
import type { PlanSource } from './source.ts';

/** Writes an export to a file, or to stdout when none is named. A file appears whole or not at all. */
export async function exportPlans(
  io: CommandIo,
  output: Output,
  source: PlanSource,
  to: string | undefined,
): Promise<void> {
  const recipes = await source.recipes();
  const counted = { lines: 0, used: new Map<string, string>() };
  const texts = writeExport(source.runId, recipes, counting(source.lines(), counted));
  if (to === undefined) {
    for await (const text of texts) io.stdout(text);
  } else {
    await writeWhole(resolve(io.cwd, to), texts);
    const report = { runId: source.runId, file: resolve(io.cwd, to), records: counted.lines };
    output.document(
      'tileloom.cli.plan-export/1',
      report,
      () => `${formatCount(counted.lines)} records of run ${source.runId} in ${to}`,
    );
  }
  noteMissing(output, rebuildRecipes(recipes).recipes, counted.used);
}

interface Counted {
  lines: number;
  /** Digest → what it is of. */
  readonly used: Map<string, string>;
}

async function* counting(
  lines: AsyncIterable<HistoryLine>,
  counted: Counted,
): AsyncGenerator<HistoryLine> {
  for await (const line of lines) {
    counted.lines += 1;
    if (line.kind === 'plan' && line.answer !== null) {
      counted.used.set(line.answer.policy.digest, `policy ${line.answer.policy.id}`);
      counted.used.set(line.answer.registry.digest, 'registry');
    }
    yield line;
  }
}

async function writeWhole(path: string, texts: AsyncIterable<string>): Promise<void> {
  const temporary = `${path}.${String(process.pid)}.tmp`;
  try {
    await pipeline(Readable.from(texts), createWriteStream(temporary, { flags: 'wx' }));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function noteMissing(
  output: Output,
  recipes: ReturnType<typeof rebuildRecipes>['recipes'],
  used: ReadonlyMap<string, string>,
): void {
  for (const [digest, what] of used) {
    if (!recipes.policies.has(digest) && !recipes.registries.has(digest)) {
      output.note(
        `${what} ${digest} is not stored beside the records: plans made with it cannot be replayed`,
      );
    }
  }
}
