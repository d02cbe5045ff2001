// Owns the registry a worker plans with: the built-in one, or with an external library's variants.
import { loadExternalRegistry } from '../executor/index.ts';
import type { Registry } from '../registry/index.ts';
import { WorkerError } from './errors.ts';

/** @throws {WorkerError} `EXTERNAL_REGISTRY_UNREADABLE`, and RegistryError for a bad document */
export async function loadRegistry(externalRegistry: string | undefined): Promise<Registry> {
  try {
    return (await loadExternalRegistry(externalRegistry ?? null)).registry;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'EACCES' && code !== 'EISDIR') throw cause;
    throw new WorkerError(
      'EXTERNAL_REGISTRY_UNREADABLE',
      `external registry ${externalRegistry ?? ''} cannot be read: ${message}; check --registry`,
      { cause },
    );
  }
}
