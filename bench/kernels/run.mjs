// Compiles and runs the kernel benchmarks: node bench/kernels/run.mjs [--quick].
// Node 20 cannot run TypeScript, so tsc writes them below node_modules/.cache first.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (result.status !== 0) {
    process.exit(result.status ?? 1);
  }
}

run(process.execPath, [join(root, 'scripts', 'build-native.mjs')]);
run(process.execPath, [
  join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
  ...['-p', join(root, 'bench', 'tsconfig.json')],
]);
const entry = ['node_modules', '.cache', 'tileloom-bench', 'bench', 'kernels', 'main.js'];
run(process.execPath, [join(root, ...entry), ...process.argv.slice(2)]);
