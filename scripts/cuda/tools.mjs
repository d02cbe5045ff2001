// Owns where the compilers come from: PATH, or PyPI wheels pinned here, which pip installs once into
// a folder below the user's cache. Nothing else of the host is touched.
//
// I1 the folder of wheels appears by rename, complete or not at all; its name is a digest of the pins.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync } from 'node:fs';
import { renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { CudaBuildError, run } from './failure.mjs';

// 13.0 emits PTX that a driver of the 13.0 line accepts; its wheels carry no cuobjdump.
const WHEELS = [
  'nvidia-cuda-nvcc==13.0.88',
  'nvidia-nvvm==13.0.88',
  'nvidia-cuda-crt==13.0.88',
  'nvidia-cuda-runtime==13.0.96',
  'nvidia-cuda-nvrtc==13.0.88',
  'nvidia-cuda-cuobjdump==13.2.51',
  'nvidia-cuda-nvdisasm==13.2.51',
];
const PROGRAMS = ['nvcc', 'fatbinary', 'cuobjdump'];

function answerOf(tool, args) {
  const result = spawnSync(tool, args, { encoding: 'utf8' });
  return result.error === undefined && result.status === 0 ? result.stdout : null;
}

function wheelFolder() {
  const home = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const pins = createHash('sha256').update(WHEELS.join('\n')).digest('hex').slice(0, 16);
  return join(home, 'tileloom', `cuda-${pins}`);
}

const toolkitOf = (wheels) => join(wheels, 'nvidia', 'cu13');

function fetchWheels(wheels) {
  const install = ['install', '--quiet', '--no-deps', '--only-binary', ':all:', '--target'];
  const installers = [
    ['python3', '-m', 'pip'],
    ['python', '-m', 'pip'],
    ['uv', 'pip'],
  ];
  const installer = installers.find(
    ([program, ...words]) => answerOf(program, [...words, '--version']) !== null,
  );
  if (installer === undefined) {
    throw new CudaBuildError(
      'CUDA_TOOLS_MISSING',
      'expected nvcc and cuobjdump in PATH, or Python with pip to fetch them, got neither;',
      'install one of them. Without the image, the kernels are compiled at run time with NVRTC.',
    );
  }
  process.stderr.write(`fetching ${WHEELS.length} CUDA wheels once, into ${wheels}\n`);
  mkdirSync(dirname(wheels), { recursive: true });
  const staging = mkdtempSync(`${wheels}-`);
  const [program, ...words] = installer;
  try {
    run(program, [...words, ...install, staging, ...WHEELS], 'pip');
    renameSync(staging, wheels);
  } catch (cause) {
    rmSync(staging, { recursive: true, force: true });
    if (existsSync(toolkitOf(wheels))) return; // another build was faster
    throw new CudaBuildError(
      'CUDA_TOOLS_MISSING',
      'the CUDA wheels cannot be fetched: expected a package registry that pip can reach, got:',
      cause instanceof Error ? cause.message : String(cause),
    );
  }
}

/** Whether nvcc of PATH is there with its companions and knows every architecture. */
function pathServes(architectures) {
  const known = answerOf('nvcc', ['--list-gpu-code']);
  return (
    known !== null &&
    architectures.every((architecture) => known.includes(`sm_${architecture}`)) &&
    PROGRAMS.every((program) => answerOf(program, ['--version']) !== null)
  );
}

/** NVRTC in `lib` or `lib64` of a toolkit folder; null when it is not there. */
function nvrtcOf(toolkit) {
  for (const folder of ['lib', 'lib64', join('targets', 'x86_64-linux', 'lib')]) {
    const path = join(toolkit, folder);
    const names = existsSync(path) ? readdirSync(path) : [];
    const name = names.find((one) => /^libnvrtc\.so\.1[23]$/u.test(one));
    if (name !== undefined) return join(path, name);
  }
  return null;
}

function toolkitOfPath() {
  const nvcc = (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'nvcc'))
    .find((path) => existsSync(path));
  return nvcc === undefined ? null : dirname(dirname(realpathSync(nvcc)));
}

/**
 * Programs by name, NVRTC's library or null, and where they are from.
 *
 * @throws {CudaBuildError} `CUDA_TOOLS_MISSING`
 */
export function findTools(architectures, offline) {
  const wheels = wheelFolder();
  if (pathServes(architectures)) {
    const nvrtc = nvrtcOf(toolkitOfPath() ?? '') ?? nvrtcOf(toolkitOf(wheels));
    return { nvcc: 'nvcc', fatbinary: 'fatbinary', cuobjdump: 'cuobjdump', nvrtc, from: 'PATH' };
  }
  const toolkit = toolkitOf(wheels);
  if (!existsSync(toolkit) && !offline) {
    fetchWheels(wheels);
  }
  if (!existsSync(toolkit)) {
    throw new CudaBuildError(
      'CUDA_TOOLS_MISSING',
      `expected nvcc in PATH for ${architectures.map((one) => `sm_${one}`).join(', ')}, or the pinned wheels in`,
      `${wheels}, got neither; run npm run build:cuda where pip can reach a package registry.`,
    );
  }
  const programs = join(toolkit, 'bin');
  process.env['PATH'] = `${programs}${delimiter}${process.env['PATH'] ?? ''}`;
  const [nvcc, fatbinary, cuobjdump] = PROGRAMS.map((name) => join(programs, name));
  return { nvcc, fatbinary, cuobjdump, nvrtc: nvrtcOf(toolkit), from: WHEELS[0] };
}
