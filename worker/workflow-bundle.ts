// Owns where the workflow code of a worker comes from: the bundle that the build wrote beside the
// compiled product, or one made on the spot when the sources are run.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DefaultLogger, bundleWorkflowCode } from '@temporalio/worker';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Rooms whose sources can end up in the bundle. */
const BUNDLED_ROOMS = ['workflows', 'operator', 'telemetry', 'core'];

/**
 * Path of the workflow bundle. Built products have it at `dist/workflow-bundle.js`; from sources it
 * is bundled once per content of the sources.
 */
export async function workflowBundlePath(): Promise<string> {
  const built = join(ROOT, 'workflow-bundle.js');
  if (existsSync(built)) return built;
  const entry = join(ROOT, 'workflows', 'index.ts');
  const folder = join(tmpdir(), `tileloom-bundles-${String(process.getuid?.() ?? 0)}`);
  const file = join(folder, `${await sourceDigest()}.js`);
  if (existsSync(file)) return file;
  const { code } = await bundleWorkflowCode({
    workflowsPath: entry,
    logger: new DefaultLogger('WARN'),
  });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const partial = `${file}.${String(process.pid)}.tmp`;
  await writeFile(partial, code);
  await rename(partial, file);
  return file;
}

async function sourceDigest(): Promise<string> {
  const hash = createHash('sha256');
  for (const room of BUNDLED_ROOMS) {
    const names = await readdir(join(ROOT, room));
    for (const name of names.filter((other) => other.endsWith('.ts')).toSorted()) {
      hash.update(`${room}/${name}\n`).update(await readFile(join(ROOT, room, name)));
    }
  }
  return hash.digest('hex').slice(0, 24);
}
