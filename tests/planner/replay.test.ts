import { describe, expect, test } from 'vitest';
import {
  POLICIES,
  plan,
  policyById,
  policyFrom,
  rebuildRecipes,
  replayPlan,
  type PlanDecision,
} from '../../planner/index.ts';
import { REGISTRY, withExternalVariants, type VariantSpec } from '../../registry/index.ts';
import { GPU_SNAPSHOT, makeInput, makePin, pinned } from './fixtures.ts';

const stored = JSON.parse(JSON.stringify({ policies: POLICIES, registries: [REGISTRY] })) as {
  policies: unknown[];
  registries: unknown[];
};
const { recipes, problems } = rebuildRecipes(stored);

const INPUTS = {
  'a plan on a CPU host': makeInput(),
  'a plan on a GPU host': makeInput({ snapshot: GPU_SNAPSHOT, work: { rows: 1e7 } }),
  'a plan of the reference policy': makeInput({ policyId: 'probe-first@1' }),
  'a refusal': makeInput(pinned(makePin({ aspect: 'runtime', value: 'gpu' }))),
};

const roundTrip = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;
const decide = (input: (typeof INPUTS)[keyof typeof INPUTS]): PlanDecision =>
  plan(input, policyById(input.policy.id), REGISTRY);

describe('rebuildRecipes', () => {
  test('finds every stored recipe by its digest', () => {
    expect(problems).toEqual([]);
    expect([...recipes.policies.keys()]).toEqual(POLICIES.map(({ digest }) => digest));
    expect([...recipes.registries.keys()]).toEqual([REGISTRY.digest]);
  });

  test.each([
    ['an edited policy', { policies: [{ ...POLICIES[1], data: POLICIES[0]?.data }] }, 'policy'],
    ['a renamed policy', { policies: [{ ...POLICIES[1], id: 'other@1' }] }, 'policy'],
    ['an edited registry', { registries: [{ ...REGISTRY, version: 2 }] }, 'registry'],
    ['null', { policies: [null], registries: [null] }, 'policy'],
    ['text', { policies: ['x'], registries: [7] }, 'registry'],
  ])('does not use %s and says so', (_, given, what) => {
    const rebuilt = rebuildRecipes({ policies: [], registries: [], ...given });
    expect(rebuilt.recipes.policies.size + rebuilt.recipes.registries.size).toBe(0);
    expect(rebuilt.problems.join()).toContain(`stored ${what}`);
  });
});

describe('replayPlan', () => {
  test.each(Object.entries(INPUTS))('makes %s again to the byte', (_, input) => {
    expect(replayPlan(roundTrip(input), roundTrip(decide(input)), recipes)).toEqual({
      kind: 'equal',
    });
  });

  test('uses the digest that it is given', () => {
    const input = INPUTS['a plan on a CPU host'];
    const digest = (): string => 'f'.repeat(64);
    expect(replayPlan(input, decide(input), recipes, digest)).toMatchObject({
      kind: 'different',
      differences: [{ path: 'planId', right: 'f'.repeat(64) }],
    });
  });

  test('names the fields of a decision that was edited', () => {
    const input = INPUTS['a plan on a CPU host'];
    const decision = decide(input);
    if (decision.schema !== 'tileloom.plan/1') throw new Error('refused');
    expect(replayPlan(input, { ...decision, chunkTiles: 15 }, recipes)).toMatchObject({
      kind: 'different',
      differences: [{ path: 'chunkTiles', left: 15, right: decision.chunkTiles }],
    });
  });

  test('notices an input that was edited where the decision does not depend on it', () => {
    const input = INPUTS['a plan on a CPU host'];
    const edited = { ...input, snapshot: { ...input.snapshot, load1: 0.25 } };
    const replay = replayPlan(edited, decide(input), recipes);
    expect(replay).toMatchObject({ kind: 'different', differences: [{ path: 'planId' }] });
  });

  test('says why an input that cannot be planned gives no decision', () => {
    const input = makeInput({ where: { reservedTiles: 0 } });
    const replay = replayPlan(input, decide(makeInput()), recipes);
    expect(replay).toMatchObject({ kind: 'different', replayed: null });
    expect((replay as { error: string }).error).toContain('where.reservedTiles');
  });

  test('names a policy and a registry that nobody has', () => {
    const input = makeInput();
    const policy = { id: 'mine@1', digest: 'a'.repeat(64) };
    expect(replayPlan({ ...input, policy }, decide(input), recipes)).toEqual({
      kind: 'unknown',
      what: 'policy',
      ...policy,
    });
    const registry = { digest: 'b'.repeat(64) };
    expect(replayPlan({ ...input, registry }, decide(input), recipes)).toMatchObject({
      kind: 'unknown',
      what: 'registry',
      digest: registry.digest,
    });
  });

  test('replays with a policy and a registry of other people', () => {
    const data = { ...policyById('probe-first@2').data, id: 'mine@3', leaseChunks: 4 };
    const policy = policyFrom(data);
    const [template] = REGISTRY.operations[0]?.variants ?? [];
    const foreign = { ...(template as VariantSpec), id: 'assign/mine@1', name: 'mine' };
    const registry = withExternalVariants(REGISTRY, [{ ...foreign, version: 1 }]);
    const base = makeInput({}, registry);
    const input = { ...base, policy: { id: policy.id, digest: policy.digest } };
    const own = rebuildRecipes(roundTrip({ policies: [policy], registries: [registry] }));
    expect(replayPlan(input, plan(input, policy, registry), own.recipes)).toEqual({
      kind: 'equal',
    });
  });
});
