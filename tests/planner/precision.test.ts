import { describe, expect, test } from 'vitest';
import {
  DEFAULT_POLICY_ID,
  choosePrecision,
  needsCentering,
  policyById,
} from '../../planner/index.ts';

const REFERENCE = policyById('probe-first@1').data.precision;
const DEFAULT = policyById(DEFAULT_POLICY_ID).data.precision;

const FACTS = {
  requested: 'auto',
  kernelClass: 'predicate',
  runtime: 'gpu',
  fp64Ratio: 1 / 64,
  maxAbsCoordinate: 180,
  coordinateSpan: 360,
} as const;

describe('choosePrecision', () => {
  test.each([
    ['coarse', 'fp32', 'centered', 'none'],
    ['metric', 'fp32', 'kahan', 'none'],
    ['predicate', 'fp32', 'centered', 'selective-fp64'],
    ['constructive', 'fp64', 'none', 'none'],
  ] as const)(
    '%s work on a GPU with slow fp64 computes in %s',
    (kernelClass, compute, compensation, refinement) => {
      const { plan } = choosePrecision(REFERENCE, { ...FACTS, kernelClass });
      expect(plan).toMatchObject({ storage: 'fp64', compute, compensation, refinement });
    },
  );

  test.each(['coarse', 'metric', 'predicate', 'constructive'] as const)(
    '%s work computes in fp64 on a CPU and where fp64 is fast',
    (kernelClass) => {
      for (const facts of [{ runtime: 'cpu', fp64Ratio: null }, { fp64Ratio: 0.25 }] as const) {
        const { plan } = choosePrecision(REFERENCE, { ...FACTS, kernelClass, ...facts });
        expect(plan).toMatchObject({ compute: 'fp64', compensation: 'none', center: false });
      }
    },
  );

  test('an unknown fp64 ratio is taken for 1/32', () => {
    const { fp64Ratio, plan } = choosePrecision(REFERENCE, { ...FACTS, fp64Ratio: null });
    expect([fp64Ratio, plan.compute]).toEqual([1 / 32, 'fp32']);
  });

  test.each(['fp32', 'fp64'] as const)('an explicit %s wins everywhere', (requested) => {
    for (const facts of [{ runtime: 'cpu' }, { fp64Ratio: 1 }, { fp64Ratio: 1 / 64 }] as const) {
      expect(choosePrecision(REFERENCE, { ...FACTS, ...facts, requested }).plan.compute).toBe(
        requested,
      );
    }
  });

  test('predicates of the default policy are refined until they are exact', () => {
    for (const fp64Ratio of [1, 1 / 64]) {
      expect(choosePrecision(DEFAULT, { ...FACTS, fp64Ratio }).plan.refinement).toBe('exact');
    }
  });
});

describe('needsCentering', () => {
  test.each([
    [1e6, 1e7, true],
    [999_999, 1e7, false],
    [100, 9.9, true],
    [100, 10, false],
    [100, null, false],
    [null, 1, false],
  ])('max |coordinate| %s with span %s: %s', (maxAbs, span, expected) => {
    expect(needsCentering(REFERENCE, maxAbs, span)).toBe(expected);
  });

  test('a metric plan is centred only where coordinates ask for it', () => {
    const metric = { ...FACTS, kernelClass: 'metric' } as const;
    const far = { ...metric, maxAbsCoordinate: 5e6 };
    expect(choosePrecision(REFERENCE, metric).plan.center).toBe(false);
    expect(choosePrecision(REFERENCE, far).plan.center).toBe(true);
  });
});
