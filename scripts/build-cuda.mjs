// Builds the CUDA kernels ahead of time: native/build/tileloom_cuda.fatbin (an image file with
// machine code for each architecture, and PTX for later ones), and a report of what the compiler
// made of each kernel. `--help` lists the options.
//
// I1 a kernel that spills, uses local memory or holds fused multiply-adds beyond what the table in
//    native/cuda/tuning.hpp declares fails the build, and writes nothing.
// I2 the library does not need what is built here: without it, it compiles at run time with NVRTC.
// I3 equal sources and compilers give equal bytes.
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { CudaBuildError, run } from './cuda/failure.mjs';
import { payloadOf, writeImageFile } from './cuda/image-file.mjs';
import { declaredLimits, inspectImage, inspectPtx, judge } from './cuda/inspect.mjs';
import { embeddedFiles, exactOptions, hash128, sourcesDigest } from './cuda/sources.mjs';
import { findTools } from './cuda/tools.mjs';

const ARCHITECTURES = '75,80,86,89,90,100,120';
const PTX_ARCHITECTURE = '75';
const HELP = `Usage: npm run build:cuda -- [options]

Builds native/build/tileloom_cuda.fatbin with nvcc of PATH, or of pinned PyPI wheels, which pip
fetches once into $XDG_CACHE_HOME/tileloom. The package works without it where NVRTC is installed.

  --arch LIST      architectures, by default ${ARCHITECTURES}
  --out DIR        folder to write to, by default build/ of the sources
  --sources DIR    a folder like native/, by default native/
  --offline        fetch nothing: CUDA_TOOLS_MISSING when no compiler is at hand
  --locate         build nothing; print as JSON which nvcc and NVRTC would be used
  --inspect FILE   build nothing; judge the kernels of one architecture in an image file or cubin
  --help           this text
`;

function parseWords() {
  try {
    const { values } = parseArgs({
      options: {
        arch: { type: 'string', default: ARCHITECTURES },
        out: { type: 'string' },
        sources: { type: 'string' },
        offline: { type: 'boolean', default: false },
        locate: { type: 'boolean', default: false },
        inspect: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
    const architectures = values.arch.split(',');
    if (!architectures.every((one) => /^\d{2,3}$/u.test(one))) {
      throw new Error(`--arch is not usable: expected a list such as 80,90, got ${values.arch}`);
    }
    return { ...values, architectures: [...new Set(architectures)] };
  } catch (cause) {
    throw new CudaBuildError('CUDA_USAGE', cause.message, HELP);
  }
}

function refuse(problems) {
  if (problems.length > 0) {
    const head = 'a kernel exceeds native/cuda/tuning.hpp:';
    throw new CudaBuildError('CUDA_KERNEL_REFUSED', head, ...problems);
  }
}

function tell(where, kernels) {
  for (const [kernel, facts] of kernels) {
    const { registers, spillBytes, localBytes, fused } = facts;
    process.stdout.write(
      `${where} ${kernel}: ${registers} registers, ${spillBytes ?? 'unknown'} B spilled, ` +
        `${localBytes} B local, ${fused} fused multiply-adds\n`,
    );
  }
}

/** Machine code of one architecture, and what it is made of. */
function compile(tools, native, architecture, work) {
  const image = join(work, `sm_${architecture}.cubin`);
  const target = [`--gpu-architecture=sm_${architecture}`, '-cubin', '-Xptxas', '-v'];
  const program = join(native, embeddedFiles(native)[0].path);
  const words = [...exactOptions(native), ...target, '-o', image, program];
  const assembler = run(tools.nvcc, words, `nvcc for sm_${architecture}`);
  const kernels = inspectImage(tools.cuobjdump, image, assembler);
  tell(`sm_${architecture}`, kernels);
  return { image, kernels };
}

function compilePtx(tools, native, work) {
  const ptx = join(work, 'kernels.ptx');
  const target = [`--gpu-architecture=compute_${PTX_ARCHITECTURE}`, '-ptx'];
  const program = join(native, embeddedFiles(native)[0].path);
  run(tools.nvcc, [...exactOptions(native), ...target, '-o', ptx, program], 'nvcc for PTX');
  return ptx;
}

function versionOf(nvcc) {
  const text = run(nvcc, ['--version'], 'nvcc');
  return /release [\d.]+, V([\d.]+)/u.exec(text)?.[1] ?? 'unknown';
}

function build(words, tools, native, work) {
  const limits = declaredLimits(native);
  const images = words.architectures.map((architecture) => ({
    architecture,
    ...compile(tools, native, architecture, work),
  }));
  const ptx = compilePtx(tools, native, work);
  refuse([
    ...images.flatMap(({ architecture, kernels }) => judge(`sm_${architecture}`, kernels, limits)),
    ...judge('PTX', inspectPtx(readFileSync(ptx, 'utf8')), limits, ['fused']),
  ]);
  const parts = images.map(
    ({ architecture, image }) => `--image3=kind=elf,sm=${architecture},file=${image}`,
  );
  const binary = join(work, 'tileloom_cuda.fatbin');
  parts.push(`--image3=kind=ptx,sm=${PTX_ARCHITECTURE},file=${ptx}`);
  run(tools.fatbinary, ['-64', `--create=${binary}`, ...parts], 'fatbinary');
  const payload = readFileSync(binary);
  const sources = sourcesDigest(native);
  const out = words.out ?? join(native, 'build');
  mkdirSync(out, { recursive: true });
  const report = {
    nvcc: versionOf(tools.nvcc),
    options: exactOptions(native),
    sources: sources.toString('hex'),
    image: hash128(payload).toString('hex'),
    kernels: images.flatMap(({ architecture, kernels }) =>
      [...kernels].map(([kernel, facts]) => ({
        architecture: `sm_${architecture}`,
        kernel,
        ...facts,
      })),
    ),
  };
  const target = join(out, 'tileloom_cuda.fatbin');
  const reportFile = join(out, 'tileloom_cuda.json');
  writeImageFile(target, sources, payload);
  writeFileSync(`${reportFile}.tmp`, `${JSON.stringify(report, null, 2)}\n`);
  renameSync(`${reportFile}.tmp`, reportFile);
  process.stdout.write(`${target}: ${payload.length} bytes, image ${report.image}\n`);
}

/** The report of ptxas is gone by then; what it spilled shows as local memory. */
function inspect(file, tools, native, work) {
  const bare = join(work, 'image');
  writeFileSync(bare, payloadOf(readFileSync(file)));
  const kernels = inspectImage(tools.cuobjdump, bare, null);
  tell(file, kernels);
  refuse(judge(file, kernels, declaredLimits(native), ['registers', 'localBytes', 'fused']));
}

function main() {
  const words = parseWords();
  if (words.help) {
    process.stdout.write(HELP);
    return;
  }
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const native = resolve(words.sources ?? join(root, 'native'));
  const tools = findTools(words.architectures, words.offline);
  if (words.locate) {
    process.stdout.write(`${JSON.stringify(tools, null, 2)}\n`);
    return;
  }
  const work = mkdtempSync(join(tmpdir(), 'tileloom-cuda-'));
  try {
    if (words.inspect === undefined) {
      build(words, tools, native, work);
    } else {
      inspect(words.inspect, tools, native, work);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

try {
  main();
} catch (error) {
  if (!(error instanceof CudaBuildError)) throw error;
  process.stderr.write(`${error.code}: ${error.message}\n`);
  process.exitCode = error.status;
}
