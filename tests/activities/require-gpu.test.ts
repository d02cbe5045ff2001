import { describe, expect, test } from 'vitest';
import { requireGpuHost, type GpuHosts } from '../../activities/require-gpu.ts';
import type { PipelineSpec, SpecPin } from '../../spec/index.ts';

const spec = (plan: Partial<PipelineSpec['plan']>): PipelineSpec =>
  ({ plan: { mode: 'auto', ifImpossible: 'fail', pins: [], ...plan } }) as unknown as PipelineSpec;
const pin = (ifImpossible: SpecPin['ifImpossible']): SpecPin => ({
  ...{ aspect: 'runtime', value: 'gpu', reason: '' },
  ifImpossible,
});

/** Hosts with a GPU appear at the given look; looks are counted. */
function hosts(all: readonly string[], appearAt = Infinity): GpuHosts & { looks: number } {
  const found = {
    looks: 0,
    all: async () => all,
    withGpu: async () => {
      found.looks += 1;
      return found.looks >= appearAt ? ['gpu-host'] : [];
    },
    pause: async () => undefined,
  };
  return found;
}

describe('a run that must have a GPU', () => {
  test.each([
    ['mode gpu', spec({ mode: 'gpu' }), 'plan.mode gpu'],
    ['a pin that may fail', spec({ pins: [pin('fail')] }), 'pin runtime=gpu'],
  ])('with %s is refused where no host has one', async (_, wanted, wish) => {
    const error = await requireGpuHost(wanted, hosts(['one', 'two'])).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'NO_GPU_HOST', retryable: false });
    expect((error as Error).message).toBe(
      `${wish} asks for a GPU and no host has one in service: expected a worker that polls tileloom.pool.cuda, got one, two, where none is; ` +
        'start a worker on a machine with a GPU (tileloom doctor says there what is missing), ' +
        'let the planner choose (plan.mode: auto), or wait for such a host (plan.ifImpossible: hold)',
    );
  });

  test('says so when there is no worker at all, and names few of many hosts', async () => {
    const none = requireGpuHost(spec({ mode: 'gpu' }), hosts([]));
    await expect(none).rejects.toThrow('got no worker at all;');
    const many = Array.from({ length: 20 }, (_, index) => `h${String(index)}`);
    const shown = requireGpuHost(spec({ mode: 'gpu' }), hosts(many));
    await expect(shown).rejects.toThrow('h6, h7 …, where none is');
  });

  test('goes on when a worker that has just started is seen a moment later', async () => {
    const late = hosts([], 4);
    await requireGpuHost(spec({ mode: 'gpu' }), late);
    expect(late.looks).toBe(4);
  });

  test.each([
    ['the run may hold', spec({ mode: 'gpu', ifImpossible: 'hold' })],
    ['the pin may hold', spec({ pins: [pin('hold')] })],
    ['nothing asks for one', spec({})],
    ['it asks for the CPU', spec({ mode: 'cpu' })],
  ])('is not looked for where %s', async (_, wanted) => {
    const none = hosts([]);
    await requireGpuHost(wanted, none);
    expect(none.looks).toBe(0);
  });
});
