// Owns the registry as one frozen value, its digest, and look-ups in it.
//
// I1. A registry never changes: adding variants makes a new registry with a new digest.
// I2. The digest is SHA-256 of the canonical JSON of the registry without `digest`.
// I3. Variant ids are unique and equal `operation/name@version`.
import { digestOf } from '../core/index.ts';
import { AGGREGATE } from './aggregate.ts';
import { ASSIGN } from './assign.ts';
import { RegistryError } from './errors.ts';
import { didYouMean } from './nearest-name.ts';
import type { OperationSpec, Registry, VariantId, VariantSpec } from './types.ts';

/** Builds a frozen registry from operations and computes its digest. */
export function makeRegistry(operations: readonly OperationSpec[], version: number): Registry {
  const seen = new Set<string>();
  for (const operation of operations) {
    for (const variant of operation.variants) {
      checkVariant(operation, variant, seen);
    }
  }
  const content = { schema: 'tileloom.registry/1', version, operations } as const;
  return deepFreeze({ ...structuredCopy(content), digest: digestOf(content) });
}

/** Every operation and variant that ships with the product. */
export const REGISTRY: Registry = makeRegistry([ASSIGN, AGGREGATE], 1);

/** Variants of one operation in order of registration; throws REGISTRY_OPERATION_UNKNOWN. */
export function variantsOf(registry: Registry, operation: string): readonly VariantSpec[] {
  return findOperation(registry, operation).variants;
}

/** The operation of a given name; throws REGISTRY_OPERATION_UNKNOWN with the nearest known name. */
export function findOperation(registry: Registry, operation: string): OperationSpec {
  const found = registry.operations.find((candidate) => candidate.name === operation);
  if (found === undefined) {
    const names = registry.operations.map((candidate) => candidate.name);
    throw new RegistryError(
      'REGISTRY_OPERATION_UNKNOWN',
      `operation "${operation}" is not in the registry: expected one of ${names.join(', ')}` +
        didYouMean(operation, names),
      { details: { operation } },
    );
  }
  return found;
}

/** The variant of a given id; throws REGISTRY_VARIANT_UNKNOWN with the nearest known id. */
export function findVariant(registry: Registry, id: VariantId): VariantSpec {
  const ids: VariantId[] = [];
  for (const operation of registry.operations) {
    for (const variant of operation.variants) {
      if (variant.id === id) {
        return variant;
      }
      ids.push(variant.id);
    }
  }
  throw new RegistryError(
    'REGISTRY_VARIANT_UNKNOWN',
    `variant "${id}" is not in registry ${registry.digest.slice(0, 12)}: expected one of ` +
      `${ids.join(', ')}${suggestVariant(id, ids)}`,
    { details: { variant: id, registry: registry.digest } },
  );
}

/**
 * Returns a registry that also holds variants of other libraries: test kernels, third parties.
 *
 * @param variants each must belong to an operation of the registry; they come after the built-in
 *   ones, so that ties still go to the product's own
 * @throws {RegistryError} on an unknown operation, a duplicate id or an id that does not match
 */
export function withExternalVariants(
  registry: Registry,
  variants: readonly VariantSpec[],
): Registry {
  if (variants.length === 0) {
    return registry;
  }
  for (const variant of variants) {
    findOperation(registry, variant.operation);
  }
  const operations = registry.operations.map((operation) => ({
    ...operation,
    variants: [
      ...operation.variants,
      ...variants.filter((variant) => variant.operation === operation.name),
    ],
  }));
  return makeRegistry(operations, registry.version);
}

function checkVariant(operation: OperationSpec, variant: VariantSpec, seen: Set<string>): void {
  const expected = `${operation.name}/${variant.name}@${String(variant.version)}`;
  if (variant.id !== expected || variant.operation !== operation.name) {
    throw new RegistryError(
      'REGISTRY_DOCUMENT_INVALID',
      `variant "${variant.id}" has the wrong id: expected "${expected}"; correct id, operation, ` +
        'name or version',
      { details: { variant: variant.id } },
    );
  }
  if (seen.has(variant.id)) {
    throw new RegistryError(
      'REGISTRY_VARIANT_DUPLICATE',
      `variant "${variant.id}" is registered twice: expected unique ids; raise the version`,
      { details: { variant: variant.id } },
    );
  }
  seen.add(variant.id);
}

/** People leave out the operation or the version more often than they mistype a letter. */
function suggestVariant(id: string, known: readonly string[]): string {
  const byPart = known.find((candidate) => {
    const [operation = '', rest = ''] = candidate.split('/');
    const name = rest.split('@')[0] ?? '';
    return id === name || id === rest || id === `${operation}/${name}`;
  });
  return byPart === undefined ? didYouMean(id, known) : `; did you mean "${byPart}"?`;
}

function structuredCopy<T>(value: T): T {
  if (Array.isArray(value)) {
    return value.map((item: unknown) => structuredCopy(item)) as T;
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([key, item]) => [key, structuredCopy(item)]);
    return Object.fromEntries(entries) as T;
  }
  return value;
}

function deepFreeze<T extends object>(value: T): T {
  for (const item of Object.values(value) as unknown[]) {
    if (typeof item === 'object' && item !== null) {
      deepFreeze(item);
    }
  }
  return Object.freeze(value);
}
