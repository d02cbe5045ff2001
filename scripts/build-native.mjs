// Builds native/build/libtileloom_cpu.so with make; does nothing when it is up to date.
// Plain JavaScript on purpose: it runs during installation, before anything is compiled.
// Arguments are passed on as make targets (`test-kernels`, `clean`).
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const GCC_MAJOR_MIN = 12;
const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), 'native');
const compiler = process.env['CXX'] ?? 'g++';

function fail(lines) {
  process.stderr.write(`${lines.join('\n')}\n`);
  process.exit(1);
}

function versionOf(tool) {
  const result = spawnSync(tool, ['--version'], { encoding: 'utf8' });
  return result.error === undefined && result.status === 0 ? result.stdout : null;
}

function requireTools() {
  const missing = ['make', compiler].filter((tool) => versionOf(tool) === null);
  if (missing.length > 0) {
    fail([
      `NATIVE_TOOLS_MISSING: the native kernels cannot be built: expected make and a C++17 compiler, missing ${missing.join(' and ')}.`,
      'Install them, then run this again (npm rebuild, or node scripts/build-native.mjs):',
      '  Debian, Ubuntu:  apt-get install g++ make',
      '  Fedora, RHEL:    dnf install gcc-c++ make',
    ]);
  }
  if (process.arch !== 'x64') {
    fail([
      `NATIVE_ARCH_UNSUPPORTED: the native kernels need an x86-64 processor, got ${process.arch}.`,
    ]);
  }
  const dump = spawnSync(compiler, ['-dumpversion'], { encoding: 'utf8' });
  const major = Number.parseInt(dump.stdout, 10);
  const isClang = /clang/i.test(versionOf(compiler) ?? '');
  if (!isClang && major < GCC_MAJOR_MIN) {
    fail([
      `NATIVE_COMPILER_TOO_OLD: ${compiler} is too old: expected at least g++ ${GCC_MAJOR_MIN}, got ${dump.stdout.trim()}.`,
      'Install a newer one and name it:  CXX=g++-12 node scripts/build-native.mjs',
    ]);
  }
}

const targets = process.argv.slice(2);
const goals = targets.length === 0 ? ['all'] : targets;
requireTools();
const base = ['--silent', '-C', folder, `CXX=${compiler}`];
if (spawnSync('make', [...base, '-q', ...goals]).status !== 0) {
  const started = Date.now();
  process.stderr.write(`building native kernels (${goals.join(', ')})\n`);
  const jobs = String(Math.max(1, Math.min(8, cpus().length)));
  const result = spawnSync('make', [...base, '-j', jobs, ...goals], { stdio: 'inherit' });
  if (result.status !== 0) {
    fail([
      `NATIVE_BUILD_FAILED: make ended with ${result.status ?? result.signal}; the compiler's messages are above.`,
    ]);
  }
  process.stderr.write(`built native kernels in ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
}
