// Builds the CUDA kernels ahead of time: native/build/tileloom_cuda.fatbin (machine code for each
// architecture, and PTX for later ones), and a report of what the compiler made of each kernel.
//
// nvcc comes from PATH, or from the PyPI wheels pinned below, which pip installs once into a cache.
//   --offline      fetch nothing: fail with CUDA_TOOLS_MISSING when neither is at hand
//   --arch 80,90   only these architectures
//   --out DIR      write elsewhere
//   --locate       only say which nvcc would be used
//
// I1 a kernel that spills, uses local memory or holds fused multiply-adds beyond what the table in
//    native/cuda/tuning.hpp declares fails the build.
// I2 the library does not need what is built here: without it, it compiles at run time with NVRTC.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

// 13.0 emits PTX that a driver of the 13.0 line accepts; its wheels carry no cuobjdump.
const WHEELS = [
  'nvidia-cuda-nvcc==13.0.88',
  'nvidia-nvvm==13.0.88',
  'nvidia-cuda-crt==13.0.88',
  'nvidia-cuda-runtime==13.0.96',
  'nvidia-cuda-cuobjdump==13.2.51',
  'nvidia-cuda-nvdisasm==13.2.51',
];
const ARCHITECTURES = ['75', '80', '86', '89', '90', '100', '120'];
const PTX_ARCHITECTURE = '75';
// The flags on which exactness depends; NVRTC gets the same (native/cuda/image.cpp).
const EXACT = ['--fmad=false', '--ftz=false', '--prec-div=true', '--prec-sqrt=true'];
const FLAGS = ['-std=c++17', '-O3', ...EXACT];

const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), 'native');
const source = join(folder, 'cuda', 'kernels.cu');
const sha256 = (content) => createHash('sha256').update(content).digest('hex');

function fail(lines) {
  process.stderr.write(`${lines.join('\n')}\n`);
  process.exit(1);
}

function run(tool, args, what) {
  const result = spawnSync(tool, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.error !== undefined || result.status !== 0) {
    const reason = result.error?.message ?? `${result.stdout}${result.stderr}`.trim();
    fail([`CUDA_BUILD_FAILED: ${what} ended with ${result.status ?? 'no status'}:`, reason]);
  }
  return `${result.stdout}${result.stderr}`;
}

function works(tool) {
  const result = spawnSync(tool, ['--version'], { encoding: 'utf8' });
  return result.error === undefined && result.status === 0;
}

/** Folder with the programs of the wheels, or null when they are not installed. */
function wheelPrograms(cache) {
  const found = existsSync(cache)
    ? readdirSync(cache, { recursive: true }).find((name) => /cu13\/bin\/nvcc$/u.test(name))
    : undefined;
  return found === undefined ? null : dirname(join(cache, found));
}

function fetchWheels(cache) {
  const python = ['python3', 'python'].find((name) => works(name));
  if (python === undefined) {
    fail(['CUDA_TOOLS_MISSING: expected nvcc in PATH, or Python to fetch it, got neither.']);
  }
  process.stderr.write(`fetching ${WHEELS.length} CUDA wheels once\n`);
  mkdirSync(dirname(cache), { recursive: true });
  const staging = mkdtempSync(`${cache}-`);
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps'];
  run(python, [...pip, '--target', staging, ...WHEELS], 'pip');
  try {
    renameSync(staging, cache);
  } catch {
    rmSync(staging, { recursive: true, force: true }); // another build was faster
  }
}

function findTools(offline) {
  if (works('nvcc') && works('cuobjdump')) {
    return { nvcc: 'nvcc', fatbinary: 'fatbinary', cuobjdump: 'cuobjdump', from: 'PATH' };
  }
  const home = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const cache = join(home, 'tileloom', `cuda-${sha256(WHEELS.join('\n')).slice(0, 16)}`);
  if (wheelPrograms(cache) === null && !offline) {
    fetchWheels(cache);
  }
  const programs = wheelPrograms(cache);
  if (programs === null) {
    fail([
      'CUDA_TOOLS_MISSING: expected nvcc and cuobjdump in PATH or the pinned wheels in the cache,',
      'got neither; run npm run build:cuda where a package registry can be reached.',
    ]);
  }
  process.env['PATH'] = `${programs}${delimiter}${process.env['PATH'] ?? ''}`;
  const [nvcc, fatbinary, cuobjdump] = ['nvcc', 'fatbinary', 'cuobjdump'].map((name) =>
    join(programs, name),
  );
  return { nvcc, fatbinary, cuobjdump, from: WHEELS[0] };
}

/** Limits by kernel, from the table in tuning.hpp. */
function declaredLimits() {
  const text = readFileSync(join(folder, 'cuda', 'tuning.hpp'), 'utf8');
  const rows = text.matchAll(/^\/\/ (tl_\w+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)$/gmu);
  return new Map(
    [...rows].map(([, name, registers, spills, local, fused]) => [
      name,
      {
        registers: Number(registers),
        spillBytes: Number(spills),
        localBytes: Number(local),
        fused: Number(fused),
      },
    ]),
  );
}

/** What the assembler and the disassembly of one image say, by kernel. */
function inspect(tools, image, assembler) {
  const kernels = new Map();
  const usage = run(tools.cuobjdump, ['--dump-resource-usage', image], 'cuobjdump');
  for (const [, name, registers, stack, local] of usage.matchAll(
    /Function (\w+):\s+REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)/gu,
  )) {
    const localBytes = Number(local) + Number(stack);
    kernels.set(name, { registers: Number(registers), spillBytes: 0, localBytes, fused: 0 });
  }
  const spills =
    /Compiling entry function '(\w+)'[\s\S]*?(\d+) bytes spill stores, (\d+) bytes spill loads/gu;
  for (const [, name, stores, loads] of assembler.matchAll(spills)) {
    const kernel = kernels.get(name);
    if (kernel !== undefined) kernel.spillBytes = Math.max(Number(stores), Number(loads));
  }
  const code = run(tools.cuobjdump, ['--dump-sass', image], 'cuobjdump');
  for (const part of code.split(/Function : /u).slice(1)) {
    const kernel = kernels.get(/^\w+/u.exec(part)?.[0] ?? '');
    // DFMA, FFMA and HFMA2 round once for two operations; IMAD is of integers. HFMA2 over the zero
    // register is how the compiler loads a constant.
    const fused = part.match(/\b(?:[DF]FMA|HFMA2(?!\S* \w+, -RZ, RZ,)).*/gu);
    if (kernel !== undefined) kernel.fused = fused?.length ?? 0;
  }
  return kernels;
}

/** Lines about kernels that exceed their limits. */
function judge(architecture, kernels, limits) {
  const problems = [];
  for (const [name, limit] of limits) {
    const kernel = kernels.get(name);
    if (kernel === undefined) {
      problems.push(`sm_${architecture} ${name}: expected a kernel of this name, got none`);
      continue;
    }
    for (const field of Object.keys(limit)) {
      if (kernel[field] > limit[field]) {
        const bounds = `expected at most ${limit[field]}, got ${kernel[field]}`;
        problems.push(`sm_${architecture} ${name}: ${field}: ${bounds}`);
      }
    }
  }
  return problems;
}

function compile(tools, architecture, work) {
  const image = join(work, `sm_${architecture}.cubin`);
  const target = [`-arch=sm_${architecture}`, '-cubin', '-Xptxas', '-v'];
  const assembler = run(tools.nvcc, [...FLAGS, ...target, '-o', image, source], 'nvcc');
  return { image, kernels: inspect(tools, image, assembler) };
}

const { values } = parseArgs({
  options: {
    offline: { type: 'boolean', default: false },
    locate: { type: 'boolean', default: false },
    arch: { type: 'string', default: ARCHITECTURES.join(',') },
    out: { type: 'string', default: join(folder, 'build') },
  },
});
const tools = findTools(values.offline);
if (values.locate) {
  process.stdout.write(`${tools.from}\n`);
  process.exit(0);
}
const work = mkdtempSync(join(tmpdir(), 'tileloom-cuda-'));
const report = { nvcc: '', flags: FLAGS, kernels: [] };
const problems = [];
const limits = declaredLimits();
const images = [];
for (const architecture of values.arch.split(',')) {
  const { image, kernels } = compile(tools, architecture, work);
  images.push(`--image3=kind=elf,sm=${architecture},file=${image}`);
  problems.push(...judge(architecture, kernels, limits));
  for (const [kernel, facts] of kernels) {
    report.kernels.push({ architecture: `sm_${architecture}`, kernel, ...facts });
    process.stdout.write(
      `sm_${architecture} ${kernel}: ${facts.registers} registers, ${facts.spillBytes} B spilled, ` +
        `${facts.localBytes} B local, ${facts.fused} fused multiply-adds\n`,
    );
  }
}
if (problems.length > 0) {
  fail(['CUDA_KERNEL_REFUSED: a kernel exceeds native/cuda/tuning.hpp:', ...problems]);
}
const ptx = join(work, 'kernels.ptx');
run(tools.nvcc, [...FLAGS, `-arch=compute_${PTX_ARCHITECTURE}`, '-ptx', '-o', ptx, source], 'nvcc');
images.push(`--image3=kind=ptx,sm=${PTX_ARCHITECTURE},file=${ptx}`);
const binary = join(work, 'tileloom_cuda.fatbin');
run(tools.fatbinary, ['-64', `--create=${binary}`, ...images], 'fatbinary');
report.nvcc = /release [\d.]+, V([\d.]+)/u.exec(run(tools.nvcc, ['--version'], 'nvcc'))?.[1] ?? '';
const content = readFileSync(binary);
report.image = sha256(content);
mkdirSync(values.out, { recursive: true });
const target = join(values.out, 'tileloom_cuda.fatbin');
writeFileSync(`${target}.tmp`, content);
renameSync(`${target}.tmp`, target);
writeFileSync(join(values.out, 'tileloom_cuda.json'), `${JSON.stringify(report, null, 2)}\n`);
rmSync(work, { recursive: true, force: true });
process.stdout.write(`${target}: ${content.length} bytes, SHA-256 ${report.image}\n`);
