// Owns a bundle of changed workflow sources: one that holds a copy of the workflows for every mutant,
// under workflow types with its number, because bundling once takes as long for twenty as for one.
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DefaultLogger, bundleWorkflowCode } from '@temporalio/worker';
import type { GoldenHistory } from './histories.ts';
import type { Mutant } from './mutants.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** What workflows import. */
const ROOMS = ['operator', 'telemetry', 'core'];

/**
 * The text of a source with the mutant's change.
 *
 * @throws {Error} when what is to be changed is not there exactly once
 */
export function mutated({ name, file, from, to }: Omit<Mutant, 'shownBy'>): string {
  const parts = readFileSync(join(ROOT, 'workflows', file), 'utf8').split(from);
  if (parts.length === 2) return parts.join(to);
  throw new Error(
    `mutant "${name}" no longer applies: expected its text once in workflows/${file}, ` +
      `got it ${String(parts.length - 1)} times; change tests/workflows/golden/mutants.ts with the code`,
  );
}

/** Bundles the sources as they are, as number 0, and those of each mutant that still applies. */
export async function bundleMutants(
  mutants: readonly Mutant[],
): Promise<{ readonly code: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'tileloom-mutants-'));
  try {
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    for (const room of ROOMS) cpSync(join(ROOT, room), join(folder, room), { recursive: true });
    const copyWorkflows = (number: number): string => {
      const copy = `workflows-${String(number)}`;
      cpSync(join(ROOT, 'workflows'), join(folder, copy), { recursive: true });
      return copy;
    };
    copyWorkflows(0);
    mutants.forEach((mutant, index) => {
      const copy = copyWorkflows(index + 1);
      try {
        writeFileSync(join(folder, copy, mutant.file), mutated(mutant));
      } catch {
        // Its own test says so.
      }
    });
    const exported = [null, ...mutants].map((_, number) => {
      const names = ['runWorkflow', 'shardWorkflow'].map((name) => `${name} as ${name}_${number}`);
      return `export { ${names.join(', ')} } from './workflows-${String(number)}/index.ts';\n`;
    });
    const workflowsPath = join(folder, 'index.ts');
    writeFileSync(workflowsPath, exported.join(''));
    return await bundleWorkflowCode({
      workflowsPath,
      logger: new DefaultLogger('ERROR'),
      webpackConfigHook: (config) => ({ ...config, devtool: 'inline-nosources-cheap-source-map' }),
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A recorded history as if the workflow of a number had been run. */
export function asNumber(golden: GoldenHistory, number: number): GoldenHistory {
  const { events } = golden.history as { events: readonly Record<string, unknown>[] };
  const [started, ...others] = events;
  const key = 'workflowExecutionStartedEventAttributes';
  const attributes = started?.[key] as Record<string, unknown>;
  const workflowType = { name: `${golden.workflowType}_${String(number)}` };
  const first = { ...started, [key]: { ...attributes, workflowType } };
  return { ...golden, history: { events: [first, ...others] } };
}
