// Owns what one check of the self-check found, and which variants it is about.
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { isEngineError } from '../../core/index.ts';
import type { KernelLibrary } from '../../native/index.ts';
import { WAITING_VARIANTS, REGISTRY, variantsOf, type VariantSpec } from '../../registry/index.ts';

export interface Check {
  readonly check: 'corpus' | 'layer' | 'leak' | 'waiting';
  readonly subject: string;
  readonly compared: number;
  readonly failed: number;
  readonly seconds: number;
  /** The first differences, or why nothing was compared. */
  readonly notes: readonly string[];
}

/** Nothing compared is a failure, but for a variant that waits for a record and is not built. */
export function isGood(check: Check): boolean {
  return check.failed === 0 && (check.compared > 0 || check.check === 'waiting');
}

/** Times a check; what it throws is a difference with that text. */
export async function guarded(
  check: Check['check'],
  subject: string,
  body: () => Promise<Pick<Check, 'compared' | 'failed' | 'notes'>>,
): Promise<Check> {
  const started = performance.now();
  const found = await body().catch((error: unknown) => {
    if (!isEngineError(error)) throw error;
    return { compared: 0, failed: 1, notes: [`${error.code}: ${error.message}`] };
  });
  return { check, subject, ...found, seconds: (performance.now() - started) / 1000 };
}

export function cudaVariants(): readonly VariantSpec[] {
  return variantsOf(REGISTRY, 'assign').filter(({ library }) => library === 'cuda');
}

/** CUDA variants that wait for a record; one that is registered by now waits no more. */
export function waitingVariants(): readonly VariantSpec[] {
  const registered = new Set(cudaVariants().map(({ id }) => id));
  return WAITING_VARIANTS.filter(({ id, library }) => library === 'cuda' && !registered.has(id));
}

/** Those of the registry, and those that wait and whose symbol stands in the library. */
export function deviceVariants(library: KernelLibrary): readonly VariantSpec[] {
  const symbols = readFileSync(library.path);
  const built = waitingVariants().filter(({ symbol }) => symbols.includes(`${symbol}\0`));
  return [...cudaVariants(), ...built];
}
