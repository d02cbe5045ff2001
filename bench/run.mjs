// Builds and runs a benchmark: node bench/run.mjs kernels|planner|replay|pause|end-to-end|gpu [options].
// Node 20 cannot run TypeScript, so tsc writes the benches below node_modules/.cache first.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ENTRIES = {
  kernels: 'kernels/main.js',
  planner: 'planner.js',
  replay: 'replay.js',
  pause: 'pause.js',
  'end-to-end': 'end-to-end/main.js',
  gpu: 'gpu/main.js',
};

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [, , name, ...rest] = process.argv;
const entry = ENTRIES[name];
if (entry === undefined) {
  console.error(`expected one of ${Object.keys(ENTRIES).join(', ')}, got ${name ?? 'nothing'}`);
  process.exit(2);
}

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (result.status !== 0) process.exit(result.status ?? 1);
}

run(process.execPath, [join(root, 'scripts', 'build-native.mjs')]);
run(process.execPath, [
  join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
  ...['-p', join(root, 'bench', 'tsconfig.json')],
]);
const folder = ['node_modules', '.cache', 'tileloom-bench', 'bench'];
run(process.execPath, [join(root, ...folder, entry), ...rest]);
