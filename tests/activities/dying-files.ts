// Owns deaths in the middle of file work: the n-th operation that changes a folder never happens, nor
// does anything after it, as when the process is killed there. No cleanup runs either.
import { createRequire, syncBuiltinESMExports } from 'node:module';

const OPERATIONS = ['open', 'rename', 'link', 'unlink', 'rm', 'mkdir'] as const;

type Files = Record<(typeof OPERATIONS)[number], (...args: unknown[]) => Promise<unknown>>;

/**
 * Runs work whose n-th file operation, from 0, hangs for ever.
 *
 * @returns whether the work died there; false when it ended before
 */
export async function dyingAt(operation: number, work: () => Promise<unknown>): Promise<boolean> {
  const files = createRequire(import.meta.url)('node:fs/promises') as Files;
  const real = { ...files };
  let count = 0;
  let die = (): void => undefined;
  const death = new Promise<true>((resolve) => {
    die = () => resolve(true);
  });
  for (const name of OPERATIONS) {
    files[name] = async (...args) => {
      count += 1;
      if (count <= operation) return real[name](...args);
      die();
      return new Promise(() => undefined);
    };
  }
  syncBuiltinESMExports();
  try {
    return await Promise.race([death, work().then(() => false)]);
  } finally {
    Object.assign(files, real);
    syncBuiltinESMExports();
  }
}
