// Owns the version that the product calls itself: the one in package.json.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Reads the version from the package this file belongs to, in the sources or in dist. */
export function productVersion(): string {
  const text = readFileSync(join(packageRoot(), 'package.json'), 'utf8');
  return String((JSON.parse(text) as { version?: unknown }).version);
}

/** The folder of the package: the nearest one above this file that is not `dist`. */
export function packageRoot(): string {
  const above = dirname(dirname(fileURLToPath(import.meta.url)));
  return above.endsWith('dist') ? dirname(above) : above;
}
