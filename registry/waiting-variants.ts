// Owns variants that wait for a device record: they are built and tested, but no plan chooses them until
// a record under bench/record shows them faster than what is registered. Self-check and benchmarks run
// them beside the registry's; tests plan with them through `withWaitingVariants`.
//
// Declared numbers are estimates: fp64 grid's rates, since nothing says that fp32 is faster.
import { GRID_CUDA } from './assign.ts';
import { withExternalVariants } from './registry.ts';
import { SOURCE_DIGESTS } from './source-digests.ts';
import type { Registry, VariantSpec } from './types.ts';
import { NO_SOURCES_DIGEST } from './variant-sources.ts';

const gridCudaFp32: VariantSpec = {
  ...GRID_CUDA,
  id: 'assign/cuda-grid-fp32@1',
  name: 'cuda-grid-fp32',
  summary:
    'The labelled grid on a CUDA device: cell-relative fp32 filter, exact repair of the rest.',
  precisionModes: ['fp32'],
  // An fp32 block of four edges takes 80 bytes, an fp64 block 128.
  memory: { ...GRID_CUDA.memory, indexFactor: 0.73 },
  symbol: 'tl_assign__grid__fp32__cuda',
  sourceDigest: SOURCE_DIGESTS['assign/cuda-grid-fp32@1'] ?? NO_SOURCES_DIGEST,
};

/** Variants that wait for a device record. */
export const WAITING_VARIANTS: readonly VariantSpec[] = Object.freeze([gridCudaFp32]);

/** A registry that also has the variants that wait, after its own. */
export function withWaitingVariants(registry: Registry): Registry {
  return withExternalVariants(registry, WAITING_VARIANTS);
}
