// The pins of a run that is about to start: refused as `pin set` refuses them.
import { describe, expect, test } from 'vitest';
import { parsePin } from '../../cli/runs/pins.ts';
import { checkStartPins } from '../../cli/runs/start-pins.ts';
import { overrideSpec } from '../../cli/runs/start.ts';
import { parseSpec, type PipelineSpec } from '../../spec/index.ts';
import { MINIMAL } from '../spec/fixtures.ts';

type Plan = Partial<Pick<PipelineSpec['plan'], 'mode' | 'precision'>>;

const GPU = 'device=GPU-1c8e27f4-0d2b-4d5e-9a51-6c1f6c1f6c1f';
const { spec: SPEC } = parseSpec(MINIMAL, { file: 'minimal.yaml' });

function check(pins: readonly string[], plan: Plan = {}): void {
  checkStartPins(overrideSpec(SPEC, { ...plan, pins: pins.map((pin) => parsePin(pin, 'why')) }));
}

describe('pins of a new run', () => {
  test.each<[readonly string[], Plan, string]>([
    [['variant=assign/cuda-grid-fp6@1'], {}, 'did you mean assign/cuda-grid-fp64@1?'],
    [['variant=assign/grid-scalra@1'], {}, 'did you mean assign/grid-scalar@1?'],
    [['variant=assign/grid-avvx2@1'], {}, 'did you mean assign/grid-avx2@1?'],
    [[GPU], { mode: 'cpu' }, 'expected runtime cpu, as plan.mode asks, got gpu'],
    [['variant=assign/mine@1', GPU], { mode: 'cpu' }, 'expected runtime cpu, as plan.mode asks'],
    [['variant=assign/grid-avx2@1'], { mode: 'gpu' }, 'expected runtime gpu, as plan.mode asks'],
    [['variant=assign/grid-avx2@1', 'runtime=gpu'], {}, 'ask for one of the two'],
    [['variant=assign/grid-avx2@1'], { precision: 'fp32' }, 'pin precision=fp64 as well'],
    [['variant=assign/grid-avx2@1', 'precision=fp32'], {}, 'ask for one of the two'],
    [['variant=aggregate/fused-exact@1'], {}, 'expected a variant of assign, got one of aggregate'],
    [['device=gpu-0'], {}, 'see tileloom device list'],
  ])('%j with %j are refused', (pins, plan, message) => {
    expect(() => {
      check(pins, plan);
    }).toThrow(
      expect.objectContaining({
        code: 'OPERATOR_PIN_IMPOSSIBLE',
        message: expect.stringMatching(/^pin .* cannot be set: expected .*, got .*; /) as string,
      }),
    );
    expect(() => {
      check(pins, plan);
    }).toThrow(message);
  });

  test.each<[readonly string[], Plan]>([
    [[], { mode: 'gpu', precision: 'fp32' }],
    [['runtime=gpu'], { mode: 'cpu' }],
    [[GPU, 'runtime=gpu'], { mode: 'cpu' }],
    [['variant=assign/grid-avx2@1', 'precision=fp64', 'chunkRows=5000'], { precision: 'fp32' }],
    [['host=nobody'], {}],
  ])('%j with %j are taken', (pins, plan) => {
    expect(() => {
      check(pins, plan);
    }).not.toThrow();
  });

  test.each([
    [['variant=assign/mine@1', 'precision=fp32']],
    [['variant=assign/grid-avx2@2']],
    [['precision=fp32']],
  ])('%j are left to workers, whose registry may be another', (pins) => {
    expect(() => {
      check(pins);
    }).not.toThrow();
  });

  test('those of the spec count only where the command line has none of that aspect', () => {
    const pinned = overrideSpec(SPEC, { pins: [parsePin('runtime=gpu', 'spec')] });
    const words = ['runtime=cpu', 'variant=assign/grid-avx2@1'];
    expect(() => {
      checkStartPins(overrideSpec(pinned, { pins: words.map((pin) => parsePin(pin, 'typed')) }));
    }).not.toThrow();
  });
});
