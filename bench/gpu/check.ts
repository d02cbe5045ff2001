// Owns what one check of the self-check found, and which variants it is about.
import { REGISTRY, variantsOf, type VariantSpec } from '../../registry/index.ts';

export interface Check {
  readonly check: 'corpus' | 'layer' | 'leak' | 'candidate';
  readonly subject: string;
  readonly compared: number;
  readonly failed: number;
  readonly seconds: number;
  /** The first differences, or why nothing was compared. */
  readonly notes: readonly string[];
}

/** Nothing compared is a failure, but for a variant that waits for a record and is not built. */
export function isGood(check: Check): boolean {
  return check.failed === 0 && (check.compared > 0 || check.check === 'candidate');
}

export function cudaVariants(): readonly VariantSpec[] {
  return variantsOf(REGISTRY, 'assign').filter(({ library }) => library === 'cuda');
}
