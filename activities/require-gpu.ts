// Owns the refusal of a run that must run on a GPU while no host has one: before any work is begun, unless
// the run is to wait for one.
import type { PipelineSpec } from '../spec/index.ts';
import { QUEUES } from '../workflows/activity-contract.ts';
import { ActivityError } from './activity-error.ts';

export interface GpuHosts {
  /** Hosts that a worker serves now. */
  readonly all: () => Promise<readonly string[]>;
  /** Those with a GPU in service. */
  readonly withGpu: () => Promise<readonly string[]>;
  /** Waits between two looks; default: a timer. */
  readonly pause?: () => Promise<void>;
}

/** A worker that has just started is seen by its first poll, a moment after it takes this up. */
const LOOKS = 6;
const LOOK_MS = 500;
const HOSTS_NAMED = 8;

/** @throws {ActivityError} `NO_GPU_HOST` where the run would wait for a GPU, and was not asked to */
export async function requireGpuHost(spec: PipelineSpec, hosts: GpuHosts): Promise<void> {
  const wish = gpuWish(spec);
  if (wish !== null) await lookForGpuHost(wish, hosts);
}

/**
 * Looks for a host with a GPU in service, for some seconds.
 *
 * @param wish what asks for it, in the words of the spec
 * @throws {ActivityError} `NO_GPU_HOST`
 */
export async function lookForGpuHost(wish: string, hosts: GpuHosts): Promise<void> {
  const pause =
    hosts.pause ?? ((): Promise<void> => new Promise((resolve) => setTimeout(resolve, LOOK_MS)));
  for (let look = 0; look < LOOKS; look += 1) {
    if (look > 0) await pause();
    if ((await hosts.withGpu()).length > 0) return;
  }
  const all = await hosts.all();
  const named = all.slice(0, HOSTS_NAMED).join(', ');
  const more = all.length > HOSTS_NAMED ? ' …' : '';
  const got = all.length === 0 ? 'no worker at all' : `${named}${more}, where none is`;
  throw new ActivityError(
    'NO_GPU_HOST',
    `${wish} asks for a GPU and no host has one in service: expected a worker that polls ${QUEUES.poolCuda}, got ${got}; ` +
      'start a worker on a machine with a GPU (tileloom doctor says there what is missing), ' +
      'let the planner choose (plan.mode: auto), or wait for such a host (plan.ifImpossible: hold)',
  );
}

/** What in a spec fixes the whole run to GPUs, and forbids to wait for one; null: nothing does. */
function gpuWish({ plan }: PipelineSpec): string | null {
  if (plan.ifImpossible === 'hold') return null;
  if (plan.mode === 'gpu') return 'plan.mode gpu';
  const pinned = plan.pins.some(
    ({ aspect, value, ifImpossible }) =>
      aspect === 'runtime' && value === 'gpu' && ifImpossible === 'fail',
  );
  return pinned ? 'pin runtime=gpu' : null;
}
