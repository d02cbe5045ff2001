// Builds libtileloom_cpu.so and libtileloom_cuda.so in native/build with make; does nothing when they
// are up to date. The second needs nothing of CUDA either: it opens the driver at run time.
// Plain JavaScript on purpose: it runs during installation, before anything is compiled.
// Arguments are passed on as make targets (`test-kernels`, `clean`).
//
// I1 libraries that were built from exactly these sources and load here are kept, and need no compiler.
//    A stamp of digests beside them tells so: in a package every file has the same time of change.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const GCC_MAJOR_MIN = 12;
const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), 'native');
const libraries = ['libtileloom_cpu.so', 'libtileloom_cuda.so'];
const stampFile = join(folder, 'build', 'libtileloom.json');
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

const sha256 = (content) => createHash('sha256').update(content).digest('hex');

/** Digests of the sources and of each library; null where a file cannot be read. */
function stampNow() {
  try {
    const names = ['core', 'cuda', 'include', 'kernels']
      .flatMap((room) =>
        readdirSync(join(folder, room), { recursive: true }).map((name) => join(room, name)),
      )
      .filter((name) => /\.(?:cpp|cu|hpp|h|inc|map)$/u.test(name))
      .concat('Makefile')
      .toSorted();
    const lines = names.map((name) => `${name}\n${sha256(readFileSync(join(folder, name)))}\n`);
    const built = libraries.map((name) => sha256(readFileSync(join(folder, 'build', name))));
    return { sources: sha256(lines.join('')), libraries: built };
  } catch {
    return null;
  }
}

/** Whether the libraries are those of these sources and this machine can load them. */
function isUsable() {
  const now = stampNow();
  if (now === null) return false;
  try {
    if (readFileSync(stampFile, 'utf8') !== textOf(now)) return false;
  } catch {
    return false;
  }
  const paths = libraries.map((name) => join(folder, 'build', name));
  const code =
    `for (const path of ${JSON.stringify(paths)}) ` +
    `require('koffi').load(path).func('int tl_abi_version(void)')()`;
  const options = { cwd: dirname(folder), stdio: 'ignore' };
  return spawnSync(process.execPath, ['-e', code], options).status === 0;
}

const textOf = (stamp) => `${JSON.stringify(stamp)}\n`;
const targets = process.argv.slice(2);
const goals = targets.length === 0 ? ['all'] : targets;
if (targets.length === 0 && isUsable()) process.exit(0);
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
if (targets.length === 0) {
  writeFileSync(stampFile, textOf(stampNow()));
}
