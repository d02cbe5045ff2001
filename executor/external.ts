// Owns the registry of this process: the built-in one, plus the variants of an external kernel library
// when the host was started with one.
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import {
  parseExternalRegistry,
  REGISTRY,
  withExternalVariants,
  type Registry,
} from '../registry/index.ts';

export interface ExternalRegistry {
  readonly registry: Registry;
  /** Path of the library that exports a variant's symbol; null for built-in variants. */
  libraryOf(variantId: string): string | null;
}

/**
 * Loads the registry.
 *
 * @param path JSON document of external variants, or null for the built-in ones alone
 * @throws {RegistryError} `REGISTRY_DOCUMENT_INVALID`
 */
export async function loadExternalRegistry(path: string | null): Promise<ExternalRegistry> {
  if (path === null) return { registry: REGISTRY, libraryOf: () => null };
  const document = parseExternalRegistry(await readFile(path, 'utf8'), path);
  const library = resolve(dirname(path), document.libraryPath);
  const external = new Set(document.variants.map((variant) => variant.id));
  return {
    registry: withExternalVariants(REGISTRY, document.variants),
    libraryOf: (variantId) => (external.has(variantId) ? library : null),
  };
}
