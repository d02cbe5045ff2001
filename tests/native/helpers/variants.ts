// Owns the list of assign variants that native tests run: those of the registry that live in this
// library and that the host can run.
import { REGISTRY, variantsOf, type VariantSpec } from '../../../registry/index.ts';

export function variantsOfThisHost(isa: readonly string[]): readonly VariantSpec[] {
  return variantsOf(REGISTRY, 'assign').filter(
    (variant) => variant.library === 'cpu' && variant.isa.every((name) => isa.includes(name)),
  );
}
