// Owns the recomputation of recorded plans: the recorded input, with the very policy and registry it
// names, must give the recorded decision to the byte.
//
// I1. A recipe (policy or registry) is used only if it has the digest that it is stored under: an
//     edited one is as good as none.
// I2. Nothing but the record and its recipes enters: no clock, no host, no shipped default.
import { fieldDifferences, isSameJson, type FieldDifference } from '../core/index.ts';
import { makeRegistry, type Registry } from '../registry/index.ts';
import { plan, type TextDigest } from './plan.ts';
import { policyFrom } from './policies.ts';
import type { Policy } from './policy.ts';
import type { PlanDecision, PlanInput } from './types.ts';

/** Policies and registries by digest. */
export interface Recipes {
  readonly policies: ReadonlyMap<string, Policy>;
  readonly registries: ReadonlyMap<string, Registry>;
}

export interface UnknownRecipe {
  readonly kind: 'unknown';
  readonly what: 'policy' | 'registry';
  /** Id of a policy. */
  readonly id: string | null;
  readonly digest: string;
}

export type Replay =
  | { readonly kind: 'equal' }
  | UnknownRecipe
  | {
      readonly kind: 'different';
      readonly replayed: PlanDecision | null;
      /** From the recorded (left) to the recomputed decision (right). */
      readonly differences: readonly FieldDifference[];
      /** Why there is no recomputed decision: the planner refuses the input; else null. */
      readonly error: string | null;
    };

/** What one stored recipe turned out to be. */
type Rebuilt<T> = { readonly recipe: T } | { readonly problem: string };

/**
 * Rebuilds policies and registries from stored JSON.
 *
 * @returns the sound ones by digest, and what is wrong with the others
 */
export function rebuildRecipes(stored: {
  readonly policies: readonly unknown[];
  readonly registries: readonly unknown[];
}): { readonly recipes: Recipes; readonly problems: readonly string[] } {
  const policies = stored.policies.map(rebuildPolicy);
  const registries = stored.registries.map(rebuildRegistry);
  const problems = [...policies, ...registries].flatMap((one) =>
    'problem' in one ? [one.problem] : [],
  );
  const sound = <T extends { digest: string }>(all: readonly Rebuilt<T>[]): Map<string, T> =>
    new Map(all.flatMap((one) => ('recipe' in one ? [[one.recipe.digest, one.recipe]] : [])));
  return { recipes: { policies: sound(policies), registries: sound(registries) }, problems };
}

/** Recomputes one plan and compares it with the recorded decision. */
export function replayPlan(
  input: PlanInput,
  recorded: PlanDecision,
  recipes: Recipes,
  digest?: TextDigest,
): Replay {
  const policy = recipes.policies.get(input.policy.digest);
  if (policy === undefined) {
    const { id } = input.policy;
    return { kind: 'unknown', what: 'policy', id, digest: input.policy.digest };
  }
  const registry = recipes.registries.get(input.registry.digest);
  if (registry === undefined) {
    return { kind: 'unknown', what: 'registry', id: null, digest: input.registry.digest };
  }
  let replayed: PlanDecision;
  try {
    replayed = plan(input, policy, registry, digest);
  } catch (error) {
    const { message } = error as Error;
    return { kind: 'different', replayed: null, differences: [], error: message };
  }
  return isSameJson(recorded, replayed)
    ? { kind: 'equal' }
    : {
        kind: 'different',
        replayed,
        differences: fieldDifferences(recorded, replayed),
        error: null,
      };
}

function rebuildPolicy(stored: unknown): Rebuilt<Policy> {
  const given = stored as Partial<Policy> | null;
  try {
    const policy = policyFrom((given as Policy).data);
    return policy.digest === given?.digest && policy.id === given.id
      ? { recipe: policy }
      : { problem: mismatch('policy', given, policy.digest) };
  } catch (error) {
    return { problem: mismatch('policy', given, (error as Error).message) };
  }
}

function rebuildRegistry(stored: unknown): Rebuilt<Registry> {
  const given = stored as Partial<Registry> | null;
  try {
    const { operations, version } = given as Registry;
    const registry = makeRegistry(operations, version);
    return registry.digest === given?.digest
      ? { recipe: registry }
      : { problem: mismatch('registry', given, registry.digest) };
  } catch (error) {
    return { problem: mismatch('registry', given, (error as Error).message) };
  }
}

function mismatch(what: string, given: { digest?: string } | null, got: string): string {
  const digest = String(given?.digest ?? 'without a digest').slice(0, 64);
  return `stored ${what} ${digest} is not what it says: expected that digest, got ${got}`;
}
