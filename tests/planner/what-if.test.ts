import { describe, expect, test } from 'vitest';
import {
  DEFAULT_POLICY_ID,
  changedFields,
  changedReasons,
  hasField,
  plan,
  policyById,
  whatIf,
  type PlanInput,
  type WhatIfChanges,
} from '../../planner/index.ts';
import { REGISTRY, findVariant } from '../../registry/index.ts';
import { GIB, GPU_SNAPSHOT, makeInput, makePin, pinned } from './fixtures.ts';

const SCALAR = 'assign/grid-scalar@1';
const AVX2 = 'assign/grid-avx2@1';

function ask(input: PlanInput, changes: WhatIfChanges, policyId = input.policy.id) {
  const policy = policyById(policyId);
  const decision = plan(input, policyById(input.policy.id), REGISTRY);
  return whatIf({ input, decision }, changes, { policy, registry: REGISTRY });
}

describe('whatIf', () => {
  test('changes nothing when nothing is asked', () => {
    const input = makeInput();
    const result = ask(input, {});
    expect(result.changed).toEqual([]);
    expect(result.decision).toEqual(plan(input, policyById(input.policy.id), REGISTRY));
    expect(result.secondsAfter).toBe(result.secondsBefore);
  });

  test('predicts a pinned variant from its declared speed, scaled to the recorded rows', () => {
    // 16 tiles of 65,536 rows are reserved on two cores; both probes take 4 tiles at most.
    const result = ask(makeInput(), { pins: [makePin({ aspect: 'variant', value: SCALAR })] });
    expect(result.changed).toContain('variant');
    const { rowsPerSecondOrdered, fixedSeconds } = findVariant(REGISTRY, SCALAR).throughput;
    const rows = 4 * 65_536;
    expect(result.rowsAfter).toBe(rows);
    const expected = fixedSeconds + rows / (2 * rowsPerSecondOrdered);
    expect(result.secondsAfter).toBeCloseTo((expected / rows) * result.rowsBefore, 5);
    expect(result.input.pins.winners).toMatchObject([{ value: SCALAR }]);
  });

  test('puts a pin above every recorded one of its aspect, narrow ones too', () => {
    const narrow = makePin({
      id: 'narrow',
      aspect: 'variant',
      value: AVX2,
      scope: { kind: 'tiles', firstTile: 0, lastTile: 99 },
    });
    const input = makeInput(pinned(narrow, makePin({ aspect: 'chunkRows', value: 65_536 })));
    const { input: asked } = ask(input, { pins: [makePin({ aspect: 'variant', value: SCALAR })] });
    expect(asked.pins.winners.map(({ id }) => id)).toEqual(['pin-variant', 'pin-chunkRows']);
    expect(asked.pins.losers).toEqual(['narrow']);
  });

  test('leaves recorded pins out, with the borders they drew', () => {
    const input = {
      ...makeInput(),
      pins: {
        winners: [makePin({ aspect: 'chunkRows', value: 1 })],
        losers: ['x'],
        tilesUntilChange: 2,
      },
    };
    const { input: asked, decision } = ask(input, { dropPins: true });
    expect(asked.pins).toEqual({ winners: [], losers: [] });
    expect(decision).toMatchObject({ chunkTiles: 4 });
  });

  test('plans with another policy, mode, precision and memory', () => {
    const input = makeInput({ snapshot: GPU_SNAPSHOT, work: { rows: 20_000_000 } });
    expect(ask(input, {}, 'probe-first@1').input.policy.id).toBe('probe-first@1');
    expect(ask(input, { mode: 'cpu' }).decision).toMatchObject({ runtime: 'cpu' });
    expect(ask(input, { precision: 'fp32' }).input.requested.precision).toBe('fp32');
    const { decision, changed, secondsAfter } = ask(makeInput(), { memoryBytesMax: 1 });
    expect(decision).toMatchObject({ schema: 'tileloom.plan-refusal/1' });
    expect({ changed, secondsAfter }).toEqual({ changed: ['decision'], secondsAfter: null });
  });

  test('edits fields of the input and nothing else', () => {
    const edits = [
      { path: 'snapshot.cores', value: 64 },
      { path: 'snapshot.devices.0.memFreeBytes', value: 3 * GIB },
      { path: 'limits.chunkSecondsTarget', value: 4 },
      { path: 'snapshot.load1', value: null },
    ];
    const input = makeInput();
    const before = structuredClone(input);
    const { input: asked } = ask(input, { edits });
    expect(asked.snapshot).toMatchObject({ cores: 64, load1: null });
    expect(asked.snapshot.devices[0]?.memFreeBytes).toBe(3 * GIB);
    expect(asked.limits.chunkSecondsTarget).toBe(4);
    expect(input).toEqual(before);
  });

  test.each([
    ['where.shard', 1],
    ['snapshot', {}],
    ['snapshot.nothing', 1],
    ['snapshot.devices.7.memFreeBytes', 1],
    ['snapshot.cores.deep', 1],
    ['snapshot.cores', 'many'],
    ['snapshot.devices', 3],
    ['policy.digest', 'x'],
    ['snapshot.__proto__', 1],
  ])('refuses the edit of %s to %j', (path, value) => {
    expect(() => ask(makeInput(), { edits: [{ path, value }] })).toThrow(
      expect.objectContaining({ code: 'PLAN_EDIT_INVALID' }),
    );
  });

  test('scales a smaller chunk to the rows of the recorded plan', () => {
    const input = makeInput(pinned(makePin({ aspect: 'chunkRows', value: 8 * 65_536 })));
    const result = ask(input, { pins: [makePin({ aspect: 'chunkRows', value: 2 * 65_536 })] });
    expect([result.rowsBefore, result.rowsAfter]).toEqual([8 * 65_536, 2 * 65_536]);
    const { decision } = result;
    if (decision.schema !== 'tileloom.plan/1') throw new Error('refused');
    expect(result.secondsAfter).toBeCloseTo(decision.predicted.seconds * 4, 9);
  });
});

test('hasField looks at own fields only', () => {
  const input = makeInput();
  expect(hasField(input, 'snapshot.devices.0.slots')).toBe(true);
  expect(hasField(input, 'snapshot.devices.1.slots')).toBe(false);
  expect(hasField(input, 'snapshot.constructor')).toBe(false);
});

test('changedFields and changedReasons say what differs and nothing else', () => {
  const before = plan(makeInput(), policyById(DEFAULT_POLICY_ID), REGISTRY);
  const input = makeInput(pinned(makePin({ aspect: 'variant', value: SCALAR })));
  const after = plan(input, policyById(DEFAULT_POLICY_ID), REGISTRY);
  expect(changedFields(before, after)).toContain('variant');
  const reasons = changedReasons(before, after);
  expect(reasons.after.map(({ code }) => code)).toContain('PIN_APPLIED');
  expect(reasons.before.map(({ code }) => code)).not.toContain('NO_GPU');
});
