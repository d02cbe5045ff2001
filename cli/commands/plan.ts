// Owns `tileloom plan`: the plans a run made, as data: listed, shown, replayed, planned anew, compared,
// exported; and what would be planned now. What a verb needs is loaded when it runs.
import { Option, type Command } from 'commander';
import { addGroup, addLeaf, type OptionValues, type ProgramContext } from '../command.ts';
import { CliError } from '../errors.ts';
import { countOption, listOf, listOption, textOf } from '../options.ts';
import { OUTPUT_FORMATS } from '../output.ts';
import type { Place } from '../plans/places.ts';
import { FROM_OPTION, RUN_ARGUMENT, withPlans, withPlansNamed } from '../plans/source.ts';

/** Adds the group. */
export function addPlanCommands(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'plan', 'See what was planned, and why.');
  addList(group, context);
  addShow(group, context);
  addExplain(group, context);
  addReplay(group, context);
  addWhatIf(group, context);
  addDiff(group, context);
  addExport(group, context);
}

function addList(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'list',
    summary: 'List every plan of a run: what it chose, why, and what came of it.',
    args: [RUN_ARGUMENT],
    options: [FROM_OPTION],
    examples: ['tileloom plan list RUN', 'tileloom plan list RUN -o jsonl | grep failed'],
    run: (action, [runId], options) =>
      withPlans(action, runId, options, async (source) => {
        const { listPlans } = await import('../plans/list.ts');
        await listPlans(action.output, source);
        return undefined;
      }),
  });
}

function addShow(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'show',
    summary: 'Show one plan in full: inputs, pins, reasons, candidates, outcome.',
    args: [
      ['<run>', 'run id; with --from the chunk may stand alone'],
      ['[chunk]', 'shard/chunk as plan list shows it; the chunk alone means shard 0'],
    ],
    options: [FROM_OPTION],
    examples: [
      'tileloom plan show RUN 0/3',
      'tileloom plan show RUN 3 -o json',
      'tileloom plan show --from plans.jsonl 0/3',
    ],
    run: async (action, args, options) => {
      const { parsePlace } = await import('../plans/places.ts');
      const isAlone = textOf(options, 'from') !== undefined && args.length === 1;
      const [runId, place] = isAlone ? [undefined, args[0]] : args;
      const where = parsePlace(requireChunk(place));
      return withPlans(action, runId, options, async (source) => {
        const { showPlans } = await import('../plans/show.ts');
        await showPlans(action.output, source, where);
        return undefined;
      });
    },
  });
}

function requireChunk(place: string | undefined): string {
  if (place !== undefined) return place;
  throw new CliError(
    'CLI_USAGE',
    'no chunk is named: expected shard/chunk such as 0/3 after the run, got none; see tileloom plan list',
  );
}

function addExplain(group: Command, context: ProgramContext): void {
  const command = addLeaf(group, context, {
    name: 'explain',
    summary: 'Plan a pipeline on this host without running it: decision, reasons, time, memory.',
    args: [['<spec>', 'YAML or JSON file']],
    options: [
      listOption('--pin <aspect=value>', 'plan under this pin; may be repeated'),
      countOption('--threads <n>', 'plan as for a worker with so many threads'),
      ['--reason <text>', 'why the pins are set'],
    ],
    examples: [
      'tileloom plan explain pipeline.yaml',
      'tileloom plan explain pipeline.yaml --pin variant=assign/grid-scalar@1 -o json',
      'tileloom plan explain pipeline.yaml -o mermaid',
    ],
    run: async (action, [path = ''], options) => {
      const { explainPlan } = await import('../plans/explain.ts');
      await explainPlan(action, path, options);
      return undefined;
    },
  });
  command.options.find(({ long }) => long === '--output')?.choices([...OUTPUT_FORMATS, 'mermaid']);
}

function addReplay(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'replay',
    summary: 'Recompute every plan of a run from its record; exit code 8 when one differs.',
    args: [RUN_ARGUMENT],
    options: [FROM_OPTION],
    examples: ['tileloom plan replay RUN', 'tileloom plan replay --from plans.jsonl -o json'],
    run: (action, [runId], options) =>
      withPlans(action, runId, options, async (source) => {
        const { replayPlans } = await import('../plans/replay.ts');
        return replayPlans(action.output, source, action.io.now);
      }),
  });
}

function addWhatIf(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'whatif',
    summary: "Plan a run's recorded inputs under other circumstances; nothing runs or is written.",
    args: [RUN_ARGUMENT],
    options: [
      FROM_OPTION,
      ['--policy <id>', 'another policy: an id, or a .json file of policy data'],
      listOption('--pin <aspect=value>', 'a pin that wins over the recorded ones; may be repeated'),
      ['--no-pins', 'leave the recorded pins out'],
      new Option('--mode <mode>', 'where to run').choices(['auto', 'cpu', 'gpu']),
      new Option('--precision <precision>', 'precision to compute in').choices([
        'auto',
        'fp32',
        'fp64',
      ]),
      ['--memory <size>', 'another memory budget, such as 512MiB'],
      ['--registry <file>', 'a stored registry, or variants of an external library'],
      listOption(
        '--set <path=value>',
        'edit a field of each input, such as snapshot.cores=64; may be repeated',
      ),
    ],
    examples: [
      'tileloom plan whatif RUN --pin variant=assign/grid-scalar@1',
      'tileloom plan whatif RUN --policy probe-first@1 --no-pins',
      'tileloom plan whatif RUN --memory 512MiB --set snapshot.devices.0.memFreeBytes=1GiB -o json',
    ],
    run: (action, [runId], options) =>
      withPlans(action, runId, options, async (source) => {
        const { whatIfPlans } = await import('../plans/what-if.ts');
        await whatIfPlans(action.io, action.output, source, options);
        return undefined;
      }),
  });
}

function addDiff(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'diff',
    summary:
      'Compare two runs, two chunks, or an explanation with a run; exit code 8 on differences.',
    args: [
      ['<run>', 'run id, export file or sink'],
      ['[other]', 'run id, export file or sink to compare it with'],
    ],
    options: [
      listOption('--chunks <place>', 'compare two chunks of the run: --chunks 0/3 0/9'),
      ['--explain <spec>', 'compare what plan explain says of this pipeline with the run'],
    ],
    examples: [
      'tileloom plan diff RUN OTHER',
      'tileloom plan diff RUN --chunks 0/3 0/9',
      'tileloom plan diff RUN --explain pipeline.yaml',
    ],
    run: async (action, [run = '', other], options) => {
      const chunks = await chunksOf(options, other);
      const spec = textOf(options, 'explain');
      return withPlansNamed(action, run, async (source) => {
        const { diffChunks, diffRuns } = await import('../plans/diff.ts');
        if (chunks !== null) return diffChunks(action.output, source, chunks);
        if (spec !== undefined) {
          const { explain } = await import('../plans/explain.ts');
          const { diffExplanation } = await import('../plans/diff-explain.ts');
          const { explanation } = await explain(action, spec, {});
          return diffExplanation(action.output, source, explanation);
        }
        if (other === undefined) throw nothingToCompare();
        return withPlansNamed(action, other, (right) => diffRuns(action.output, source, right));
      });
    },
  });
}

/**
 * The two chunks that are named: `--chunks 0/3 0/9` puts the second where another run would stand.
 *
 * @throws {CliError} `CLI_USAGE`
 */
async function chunksOf(
  options: OptionValues,
  other: string | undefined,
): Promise<readonly [Place, Place] | null> {
  const named = listOf(options, 'chunks');
  if (named.length === 0) return null;
  const { parsePlace } = await import('../plans/places.ts');
  const [left, right, ...more] = [...named, ...(other === undefined ? [] : [other])];
  if (left !== undefined && right !== undefined && more.length === 0) {
    return [parsePlace(left), parsePlace(right)];
  }
  throw new CliError(
    'CLI_USAGE',
    `chunks ${named.join(' ')} cannot be compared: expected two such as --chunks 0/3 0/9, got ` +
      String(named.length),
  );
}

function nothingToCompare(): CliError {
  return new CliError(
    'CLI_USAGE',
    'nothing to compare with: expected another run, --chunks or --explain, got none; add --help to ' +
      'see how it is used',
  );
}

function addExport(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'export',
    summary: 'Write the plans of a run, with the policies and registries they need, as one file.',
    args: [RUN_ARGUMENT],
    options: [FROM_OPTION, ['--to <file>', 'write here, whole or not at all (default: stdout)']],
    examples: [
      'tileloom plan export RUN --to plans.jsonl',
      'tileloom plan export RUN > plans.jsonl',
      'tileloom plan export --from ./out --to plans.jsonl',
    ],
    run: (action, [runId], options) =>
      withPlans(action, runId, options, async (source) => {
        const { exportPlans } = await import('../plans/export.ts');
        await exportPlans(action.io, action.output, source, textOf(options, 'to'));
        return undefined;
      }),
  });
}
