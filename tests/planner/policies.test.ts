import { describe, expect, test } from 'vitest';
import {
  DEFAULT_POLICY_ID,
  POLICIES,
  type PlannerError,
  plan,
  policyById,
  policyFrom,
} from '../../planner/index.ts';
import { REGISTRY } from '../../registry/index.ts';
import { makeInput, planned } from './fixtures.ts';

describe('policies', () => {
  test('a shipped policy never changes: its digest is fixed', () => {
    expect(POLICIES.map((policy) => `${policy.id} ${policy.digest}`)).toMatchInlineSnapshot(`
      [
        "probe-first@1 cf58aaa994e58fdeed6a34167ad819af6a04a233a582e619fc8f5bca1dfcfdc1",
        "probe-first@2 9a65f52ed746f7d6e3aaf4f20211b6051e74633de084166d725927bbd00db8f5",
        "probe-first@3 53f62d17f42eff47da044b50c69a1f63f36746a6c8ac6b80553ef030957f84e5",
      ]
    `);
  });

  test('the default policy ships', () => {
    expect(policyById(DEFAULT_POLICY_ID).id).toBe('probe-first@3');
  });

  test('a policy is data: written down and read again it plans the same', () => {
    const stored = policyFrom(JSON.parse(JSON.stringify(policyById('probe-first@3').data)));
    expect(stored.digest).toBe(policyById('probe-first@3').digest);
    expect(plan(makeInput(), stored, REGISTRY)).toEqual(planned(makeInput()));
  });

  test.each([
    ['probe-frist@2', 'probe-first@2'],
    ['probe-first', 'probe-first@3'],
    ['probe-first@4', 'probe-first@1'],
  ])('"%s" is answered with "%s"', (id, nearest) => {
    expect(() => policyById(id)).toThrow(`did you mean "${nearest}"?`);
  });
});

describe('shipped policies', () => {
  // Recorded plans name a policy by id and digest: other data needs another version, not these lines.
  test.each([
    ['probe-first@1', 'cf58aaa994e58fdeed6a34167ad819af6a04a233a582e619fc8f5bca1dfcfdc1'],
    ['probe-first@2', '9a65f52ed746f7d6e3aaf4f20211b6051e74633de084166d725927bbd00db8f5'],
  ])('%s keeps its data', (id, digest) => {
    expect(policyById(id).digest).toBe(digest);
  });
});

describe('plan input', () => {
  const policy = policyById(DEFAULT_POLICY_ID);

  test.each([
    ['another policy', { policy: { id: 'probe-first@1', digest: 'x' } }, 'PLAN_POLICY_MISMATCH'],
    ['another registry', { registry: { digest: 'x' } }, 'PLAN_REGISTRY_MISMATCH'],
    ['no reserved tiles', { where: { reservedTiles: 0 } }, 'PLAN_INPUT_INVALID'],
    ['rows that are no number', { work: { rows: NaN } }, 'PLAN_INPUT_INVALID'],
    ['negative rows', { work: { rows: -1 } }, 'PLAN_INPUT_INVALID'],
    ['no seconds', { limits: { chunkSecondsTarget: 0 } }, 'PLAN_INPUT_INVALID'],
  ])('with %s is an error, not a plan', (_, changes, code) => {
    expect(() => plan(makeInput(changes), policy, REGISTRY)).toThrow(
      expect.objectContaining({ name: 'PlannerError', code }) as PlannerError,
    );
  });

  test('an unknown operation is an error that names the nearest', () => {
    expect(() => plan(makeInput({ work: { operation: 'asign' } }), policy, REGISTRY)).toThrow(
      'did you mean "assign"?',
    );
  });
});
