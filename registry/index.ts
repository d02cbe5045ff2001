export { WAITING_VARIANTS, withWaitingVariants } from './waiting-variants.ts';
export { RegistryError, type RegistryErrorCode } from './errors.ts';
export { parseExternalRegistry, type ExternalRegistry } from './external-registry.ts';
export { alignmentDistance, didYouMean, nearestName } from './nearest-name.ts';
export {
  REGISTRY,
  findOperation,
  findVariant,
  makeRegistry,
  variantsOf,
  withExternalVariants,
} from './registry.ts';
export { DEVICE_SOURCES_DIGEST } from './source-digests.ts';
export { NO_SOURCES_DIGEST, VARIANT_SOURCES } from './variant-sources.ts';
export type {
  BoundaryRule,
  ComputePrecision,
  CrossoverSpec,
  DeclaredMemory,
  DeclaredThroughput,
  GeometryFamily,
  KernelClass,
  NumericClass,
  OperationSpec,
  OverlapRule,
  Registry,
  Residency,
  Runtime,
  VariantId,
  VariantSpec,
} from './types.ts';
