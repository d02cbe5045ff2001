// Owns where the product's own library lies: native/build under the package root, found from the
// sources and from dist/ alike.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const LIBRARY_NAME = 'libtileloom_cpu.so';
const DEVICE_LIBRARY_NAME = 'libtileloom_cuda.so';

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

export function deviceLibraryPath(): string {
  return join(packageRoot(), 'native', 'build', DEVICE_LIBRARY_NAME);
}
