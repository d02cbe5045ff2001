// Owns the crossover: from how many work units on an operation pays off on a GPU.
import type { OperationSpec } from '../registry/index.ts';
import type { CrossoverPolicy } from './policy.ts';
import type { WorkloadShape } from './types.ts';

/**
 * Least work units for a GPU.
 *
 * The policy's own entry for the operation goes first, then the registry's, then the class default.
 * Broadcast and scalar shapes have the lower threshold: one side stays in the caches.
 */
export function crossoverUnits(
  policy: CrossoverPolicy,
  operation: OperationSpec,
  shape: WorkloadShape,
): number {
  const override = policy.operations[operation.name];
  if (override !== undefined) {
    return shape === 'pairwise' ? override : Math.floor(override / policy.broadcastDivisor);
  }
  const spec = operation.crossover ?? policy.classes[operation.kernelClass];
  return shape === 'pairwise' ? spec.pairwiseMinRows : spec.broadcastMinRows;
}
