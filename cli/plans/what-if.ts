// Owns `plan whatif`: the recorded inputs of a run planned under other circumstances. It reads records
// and prints; it never writes to a run, a sink or the server.
import { joinRecords } from '../../history/index.ts';
import {
  hasField,
  PlannerError,
  policyById,
  policyFrom,
  rebuildRecipes,
  whatIf,
  type InputEdit,
  type Policy,
  type PolicyData,
  type Recipes,
  type RequestedMode,
  type RequestedPrecision,
  type WhatIfChanges,
} from '../../planner/index.ts';
import {
  makeRegistry,
  parseExternalRegistry,
  withExternalVariants,
  type Registry,
  type VariantSpec,
} from '../../registry/index.ts';
import { parseSize } from '../../spec/index.ts';
import type { OptionValues } from '../command.ts';
import { CliError } from '../errors.ts';
import { readUserFile } from '../files.ts';
import type { CommandIo } from '../io.ts';
import { listOf, textOf } from '../options.ts';
import type { Output } from '../output.ts';
import { operatorPins, parsePin } from '../runs/pins.ts';
import { unknownRecipeError } from './recipe-error.ts';
import { nativeDigest } from './replay.ts';
import { renderWhatIf } from './render-what-if.ts';
import type { PlanSource } from './source.ts';
import { WhatIfSum, type WhatIfItem } from './what-if-report.ts';

/** What a command line changes; the registry may depend on the one a plan was made with. */
interface Circumstances {
  readonly changes: Omit<WhatIfChanges, 'policy' | 'registry'>;
  readonly policy: Policy | null;
  readonly registryFor: (recorded: Registry) => Registry;
}

/** Changed chunks that a table or document shows; jsonl shows every chunk. */
const SHOWN_MAX = 50;

/** Plans a run's recorded inputs anew and prints what changes. */
export async function whatIfPlans(
  io: CommandIo,
  output: Output,
  source: PlanSource,
  options: OptionValues,
): Promise<void> {
  const circumstances = await readCircumstances(io, options);
  const { recipes, problems } = rebuildRecipes(await source.recipes());
  for (const problem of problems) output.note(problem);
  const sum = new WhatIfSum();
  const shown: WhatIfItem[] = [];
  const planOne = planner(circumstances, recipes);
  for await (const record of joinRecords(source.lines())) {
    const { input, decision } = record;
    if (input === null || decision === null) continue;
    const item = sum.add(record, planOne.plan({ input, decision }));
    if (output.format === 'jsonl') {
      output.document('tileloom.cli.plan-whatif-item/1', item, () => '');
    } else if (item.changed.length > 0 && shown.length < SHOWN_MAX) {
      shown.push(item);
    }
  }
  planOne.checkEdits(sum.totals.plans);
  const report = {
    runId: source.runId,
    totals: sum.totals,
    predictionError: sum.error,
    ...(output.format === 'jsonl' ? {} : { changed: shown }),
  };
  output.document('tileloom.cli.plan-whatif/1', report, () =>
    renderWhatIf(source.runId, sum.totals, sum.error, shown),
  );
}

/** Plans with the changed policy and registry, or with those of the record; knows which edits applied. */
function planner({ changes, policy, registryFor }: Circumstances, recipes: Recipes) {
  const applied = new Set<InputEdit>();
  const edits = changes.edits ?? [];
  return {
    plan: (recorded: Parameters<typeof whatIf>[0]) => {
      const { input } = recorded;
      const usedPolicy = policy ?? recipes.policies.get(input.policy.digest);
      const recordedRegistry = recipes.registries.get(input.registry.digest);
      if (usedPolicy === undefined) throw unknownRecipeError('policy', input.policy.digest, null);
      if (recordedRegistry === undefined) {
        throw unknownRecipeError('registry', input.registry.digest, null);
      }
      // Hosts differ: an edit of a second GPU concerns those that have one.
      const here = edits.filter(({ path }) => hasField(input, path));
      for (const edit of here) applied.add(edit);
      const used = { policy: usedPolicy, registry: registryFor(recordedRegistry) };
      return whatIf(recorded, { ...changes, edits: here }, used, nativeDigest);
    },
    checkEdits: (plans: number): void => {
      const idle = edits.find((edit) => !applied.has(edit));
      if (idle === undefined || plans === 0) return;
      throw new PlannerError(
        'PLAN_EDIT_INVALID',
        `plan input ${idle.path} cannot be edited: expected a field that some plan's input has, got ` +
          'none; see the input of a plan with tileloom plan show -o json',
        { details: { path: idle.path } },
      );
    },
  };
}

async function readCircumstances(io: CommandIo, options: OptionValues): Promise<Circumstances> {
  const policy = textOf(options, 'policy');
  const registry = textOf(options, 'registry');
  const memory = textOf(options, 'memory');
  const reason = 'given to plan whatif';
  const pins = listOf(options, 'pin').map((pin) => parsePin(pin, reason));
  const mode = textOf(options, 'mode') as RequestedMode | undefined;
  const precision = textOf(options, 'precision') as RequestedPrecision | undefined;
  return {
    changes: {
      dropPins: options['pins'] === false,
      pins: operatorPins(pins, 'plan whatif').map((pin) => ({
        ...pin,
        id: `whatif-${pin.aspect}`,
      })),
      edits: listOf(options, 'set').map(parseEdit),
      ...(mode === undefined ? {} : { mode }),
      ...(precision === undefined ? {} : { precision }),
      ...(memory === undefined ? {} : { memoryBytesMax: parseMemory(memory) }),
    },
    policy: policy === undefined ? null : await readPolicy(io, policy),
    registryFor: registry === undefined ? (recorded) => recorded : await readRegistry(io, registry),
  };
}

function parseMemory(text: string): number {
  const bytes = parseSize(text);
  if (bytes !== null && bytes >= 1) return bytes;
  throw usage(`memory ${text} is not valid: expected a size such as 512MiB, got ${text}`);
}

/** `path=value`; the value is JSON, a size with a unit, or text. */
function parseEdit(text: string): InputEdit {
  const at = text.indexOf('=');
  if (at < 1) {
    throw usage(
      `edit ${text} is not valid: expected path=value such as snapshot.cores=4, got ${text}`,
    );
  }
  const value = text.slice(at + 1);
  return { path: text.slice(0, at), value: parseSize(value) ?? parsedValue(value) };
}

/** JSON, or the text itself. */
function parsedValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** A shipped policy by its id, or a JSON file of policy data. */
async function readPolicy(io: CommandIo, name: string): Promise<Policy> {
  if (!name.endsWith('.json')) return policyById(name);
  const document = jsonOf(await readUserFile(io, name, 'policy'), name);
  const stored = document as { readonly data?: PolicyData; readonly schema?: string } | null;
  const data = stored?.data ?? (document as PolicyData | null);
  if (data?.schema === 'tileloom.policy/1') return policyFrom(data);
  throw usage(`policy ${name} is not valid: expected tileloom.policy/1, got another document`);
}

/** A whole registry as runs store it, or variants that come beside the recorded ones. */
async function readRegistry(
  io: CommandIo,
  name: string,
): Promise<(recorded: Registry) => Registry> {
  const text = await readUserFile(io, name, 'registry');
  const document = jsonOf(text, name) as Partial<Registry> | null;
  if (document?.schema === 'tileloom.registry/1' && Array.isArray(document.operations)) {
    const whole = makeRegistry(document.operations, document.version ?? 1);
    return () => whole;
  }
  const { variants } = parseExternalRegistry(text, name);
  const made = new Map<string, Registry>();
  return (recorded) => {
    const known = made.get(recorded.digest);
    if (known !== undefined) return known;
    const extended = withExternalVariants(recorded, newVariants(recorded, variants));
    made.set(recorded.digest, extended);
    return extended;
  };
}

function newVariants(recorded: Registry, variants: readonly VariantSpec[]): VariantSpec[] {
  const ids = new Set(recorded.operations.flatMap((one) => one.variants.map(({ id }) => id)));
  return variants.filter(({ id }) => !ids.has(id));
}

function jsonOf(text: string, name: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new CliError('CLI_USAGE', `${name} is not JSON: ${(cause as Error).message}`, { cause });
  }
}

function usage(message: string): CliError {
  return new CliError('CLI_USAGE', message);
}
