// Owns where the product's own library lies: native/build under the package root, found from the
// sources and from dist/ alike.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const LIBRARY_NAME = 'libtileloom_cpu.so';

/** Nearest folder above this module that holds a package.json. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) {
    folder = dirname(folder);
  }
  return folder;
}

export function defaultLibraryPath(): string {
  return join(packageRoot(), 'native', 'build', LIBRARY_NAME);
}
