// Records the golden histories of the workflows anew (docs/replay.md), all of them or one behaviour:
// `npm run record:histories [-- pin]`. It starts a Temporal server of its own, as the e2e tests do.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest')), 'vitest.mjs');
const words = ['run', '--project', 'e2e', 'tests/workflows/golden-record.e2e.test.ts'];
const { status } = spawnSync(process.execPath, [vitest, ...words], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, TILELOOM_RECORD_HISTORIES: process.argv[2] ?? 'all' },
});
process.exitCode = status ?? 1;
