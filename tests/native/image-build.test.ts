// The ahead-of-time build: every kernel compiles for the architectures that CI covers, within the
// limits of native/cuda/tuning.hpp; and a kernel that does not is refused, by name.
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDeviceLibrary } from '../../native/index.ts';
import { ROOT, buildCuda, cudaTools } from './helpers/images.ts';

interface Report {
  readonly sources: string;
  readonly image: string;
  readonly kernels: readonly {
    readonly architecture: string;
    readonly kernel: string;
    readonly registers: number;
    readonly spillBytes: number;
    readonly localBytes: number;
    readonly fused: number;
  }[];
}

const ARCHITECTURES = ['sm_80', 'sm_90', 'sm_120'];
const tools = cudaTools();
const reason = typeof tools === 'string' ? ` (skipped: ${tools})` : '';
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tileloom-image-build-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A copy of the sources in which a file below native/ was edited. */
function changed(path: string, edit: (text: string) => string): string {
  const copy = mkdtempSync(join(folder, 'sources-'));
  for (const room of ['core', 'cuda', 'include', 'kernels']) {
    cpSync(join(ROOT, 'native', room), join(copy, room), { recursive: true });
  }
  const text = readFileSync(join(copy, path), 'utf8');
  expect(edit(text)).not.toBe(text);
  writeFileSync(join(copy, path), edit(text));
  return copy;
}

/** A copy with one kernel more, which the table allows 255 registers and nothing else. */
function withProbe(code: string): string {
  const copy = changed('cuda/kernels.cu', (text) => `${text}\n${code}\n`);
  const table = join(copy, 'cuda', 'tuning.hpp');
  writeFileSync(table, `${readFileSync(table, 'utf8')}\n// tl_probe 255 0 0 0\n`);
  return copy;
}

const PROBE = 'extern "C" __global__ void tl_probe';
const buildOf = (sources: string, arch = '90'): ReturnType<typeof buildCuda> =>
  buildCuda(['--offline', '--sources', sources, '--arch', arch]);

const SLOW = { timeout: 300_000 };

describe.skipIf(reason !== '')(`npm run build:cuda${reason}`, SLOW, () => {
  test('compiles every kernel for sm_80, sm_90 and sm_120 within its limits', () => {
    const out = join(folder, 'first');
    const words = ['--offline', '--arch', '80,90,120', '--out'];
    const { status, stdout, stderr } = buildCuda([...words, out]);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    process.stdout.write(stdout.replaceAll(/^(?!sm_).*\n/gm, ''));

    const report = JSON.parse(readFileSync(join(out, 'tileloom_cuda.json'), 'utf8')) as Report;
    const table = readFileSync(join(ROOT, 'native', 'cuda', 'tuning.hpp'), 'utf8');
    const rows = [...table.matchAll(/^\/\/ (tl_\w+) +(\d+) +(\d+) +(\d+) +(\d+)$/gm)];
    expect(rows.length).toBeGreaterThan(1);
    const kernelText = readFileSync(join(ROOT, 'native', 'cuda', 'kernels.cu'), 'utf8');
    const declared = [...kernelText.matchAll(/__global__[^;{]*?(tl_\w+)\(/g)].map(
      ([, name]) => name,
    );
    expect(new Set(rows.map(([, name]) => name))).toEqual(new Set(declared));
    for (const architecture of ARCHITECTURES) {
      for (const [, name, ...limits] of rows) {
        const facts = report.kernels.find(
          (one) => one.kernel === name && one.architecture === architecture,
        );
        const got = [facts?.registers, facts?.spillBytes, facts?.localBytes, facts?.fused];
        got.forEach((value, index) => {
          expect(value, `${architecture} ${name} ${index}`).toBeLessThanOrEqual(
            Number(limits[index]),
          );
        });
      }
    }

    const file = readFileSync(join(out, 'tileloom_cuda.fatbin'));
    expect(file.subarray(0, 8).toString()).toBe('TLCUDA01');
    expect(file.readUInt32LE(40)).toBe(0xba55ed50);
    expect(openDeviceLibrary().hash128(file.subarray(40))).toBe(report.image);

    const again = join(folder, 'second');
    expect(buildCuda([...words, again]).status).toBe(0);
    expect(readFileSync(join(again, 'tileloom_cuda.fatbin')).equals(file)).toBe(true);
  });

  test('makes an image that the library of the same sources accepts', () => {
    const out = join(folder, 'first');
    const report = JSON.parse(readFileSync(join(out, 'tileloom_cuda.json'), 'utf8')) as Report;
    expect(report.sources).toBe(openDeviceLibrary().sourcesDigest);
  });

  test.each<[string, () => string, RegExp]>([
    [
      'kernels that the compiler contracts',
      () => changed('cuda/options.inc', (text) => text.replace('--fmad=false', '--fmad=true')),
      /sm_90 tl_assign_grid_fp64: fused: expected at most 0, got [1-9]/,
    ],
    [
      'a fused multiply-add in the source',
      () => withProbe(`${PROBE}(double *x) { x[0] = __fma_rn(x[1], x[2], x[3]); }`),
      /sm_90 tl_probe: fused: expected at most 0, got 1\n/,
    ],
    [
      'a fused multiply-add in fp32',
      () => withProbe(`${PROBE}(float *x) { x[0] = __fmaf_rn(x[1], x[2], x[3]); }`),
      /sm_90 tl_probe: fused: expected at most 0, got 1\n/,
    ],
    [
      'a spill',
      () =>
        changed('cuda/kernels.cu', (text) =>
          text.replaceAll(/__launch_bounds__\([^)]*\)/g, '__launch_bounds__(1024, 2)'),
        ),
      /sm_90 tl_assign_grid_fp64: spillBytes: expected at most 0, got [1-9]/,
    ],
    [
      'local memory',
      () =>
        withProbe(`${PROBE}(int *x) {
  int kept[64];
  for (int i = 0; i < 64; ++i) kept[i] = 0;
  for (int i = 0; i < 64; ++i) kept[x[i] & 63] += x[i + 64];
  for (int i = 0; i < 64; ++i) x[kept[i]] = kept[i];
}`),
      /sm_90 tl_probe: localBytes: expected at most 0, got 256\n/,
    ],
    [
      'too many registers',
      () =>
        changed('cuda/tuning.hpp', (text) =>
          text.replace(/^(\/\/ tl_assign_grid_fp64 +)\d+/m, '$19'),
        ),
      /sm_90 tl_assign_grid_fp64: registers: expected at most 9, got \d+\n/,
    ],
    [
      'a kernel without a row',
      () => changed('cuda/kernels.cu', (text) => `${text}\n${PROBE}(int *x) { *x = 1; }\n`),
      /sm_90 tl_probe: expected a row in the table, got none\n/,
    ],
    [
      'a row without a kernel',
      () => changed('cuda/tuning.hpp', (text) => `${text}\n// tl_probe 255 0 0 0\n`),
      /sm_90 tl_probe: expected a kernel of this name, got none\n/,
    ],
  ])('refuses %s', (_, edit, message) => {
    const sources = edit();
    const { status, stderr } = buildOf(sources);
    expect(stderr).toMatch(
      /^CUDA_KERNEL_REFUSED: a kernel exceeds native\/cuda\/tuning\.hpp:\nsm_90 /,
    );
    expect(stderr).toMatch(message);
    expect(status).toBe(1);
    expect(existsSync(join(sources, 'build'))).toBe(false);
  });

  test('refuses a fused multiply-add of the uniform datapath, which sm_120 has', () => {
    const code =
      '(int *x, float a, float b, float c) { if (__fmaf_rn(a, b, c) > 0) x[threadIdx.x] = 1; }';
    const { status, stderr } = buildOf(withProbe(`${PROBE}${code}`), '120');
    expect(stderr).toMatch(/hpp:\nsm_120 tl_probe: fused: expected at most 0, got 1\n/);
    expect(status).toBe(1);
  });

  test('refuses PTX that the driver could contract, though no machine code shows it', () => {
    const product = 'asm("mul.f64 %0, %1, %2;" : "=d"(y) : "d"(x[1]), "d"(x[2]));';
    const { status, stderr } = buildOf(
      withProbe(`${PROBE}(double *x) { double y; ${product} x[0] = y; }`),
    );
    expect(stderr).toMatch(/hpp:\nPTX tl_probe: fused: expected at most 0, got 1\n/);
    expect(status).toBe(1);
  });

  test('takes the same additional kernel where it does nothing of that', () => {
    const { status, stderr, stdout } = buildOf(withProbe(`${PROBE}(int *x) { *x = 1; }`));
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^sm_90 tl_probe: \d+ registers, 0 B spilled, 0 B local, 0 fused/m);
    expect(status).toBe(0);
  });

  test("says with the compiler's words what does not compile", () => {
    const { status, stderr } = buildOf(
      changed('cuda/kernels.cu', (text) => `${text}\nint x = y;\n`),
    );
    expect(stderr).toMatch(/^CUDA_BUILD_FAILED: nvcc for sm_90 ended with \d+:\n.*kernels\.cu/);
    expect(stderr).toMatch(/identifier "y" is undefined/);
    expect(status).toBe(1);
  });

  test('refuses with --inspect a cubin that holds what it must not', () => {
    const sources = withProbe(`${PROBE}(double *x) { x[0] = __fma_rn(x[1], x[2], x[3]); }`);
    const cubin = join(sources, 'kernels.cubin');
    const { nvcc } = tools as { nvcc: string };
    const words = ['-arch=sm_90', '--std=c++17', '--fmad=false', '-cubin', '-o', cubin];
    execFileSync(nvcc, [...words, join(sources, 'cuda', 'kernels.cu')]);
    const inspect = (...more: string[]): ReturnType<typeof buildCuda> =>
      buildCuda(['--offline', '--sources', sources, '--inspect', cubin, ...more]);
    expect(inspect().stderr).toMatch(/^CUDA_KERNEL_REFUSED: .*\n.* tl_probe: fused: .* got 1\n/);
    writeFileSync(cubin, 'no image');
    expect(inspect().stderr).toMatch(/^CUDA_(BUILD_FAILED|KERNEL_REFUSED): /);
  });
});

describe('build:cuda', SLOW, () => {
  test('tells its options', () => {
    const { status, stdout } = buildCuda(['--help']);
    expect(status).toBe(0);
    for (const option of ['arch', 'out', 'sources', 'offline', 'locate', 'inspect', 'help']) {
      expect(stdout).toContain(`--${option}`);
    }
  });

  test.each([
    [['--arhc', '90'], /^CUDA_USAGE: Unknown option '--arhc'/],
    [['--arch', 'sm_90'], /^CUDA_USAGE: --arch is not usable: .*got sm_90\n/],
    [['--arch', ''], /^CUDA_USAGE: --arch is not usable/],
    [['90'], /^CUDA_USAGE: /],
  ])('refuses %j with the usage', (words, message) => {
    const { status, stderr } = buildCuda(words);
    expect(stderr).toMatch(message);
    expect(stderr).toContain('--locate');
    expect(status).toBe(2);
  });

  const without = (
    cache: string,
    path: string,
    words: readonly string[] = [],
  ): ReturnType<typeof buildCuda> => {
    const before = { PATH: process.env['PATH'], XDG_CACHE_HOME: process.env['XDG_CACHE_HOME'] };
    Object.assign(process.env, { PATH: path, XDG_CACHE_HOME: cache });
    try {
      return buildCuda(words);
    } finally {
      process.env['PATH'] = before.PATH;
      if (before.XDG_CACHE_HOME === undefined) delete process.env['XDG_CACHE_HOME'];
      else process.env['XDG_CACHE_HOME'] = before.XDG_CACHE_HOME;
    }
  };

  test('names what is missing where there is no compiler and nothing may be fetched', () => {
    const { status, stderr } = without(join(folder, 'empty'), '/no-such-folder', ['--offline']);
    expect(stderr).toMatch(/^CUDA_TOOLS_MISSING: expected nvcc in PATH for sm_75, /);
    expect(status).toBe(1);
  });

  test('names what is missing where there is no pip', () => {
    const { status, stderr } = without(join(folder, 'empty'), '/no-such-folder');
    expect(stderr).toMatch(/^CUDA_TOOLS_MISSING: expected nvcc and cuobjdump in PATH, or Python/);
    expect(status).toBe(1);
  });

  test('names the registry where pip cannot reach one, and leaves nothing half-fetched', () => {
    const bin = join(folder, 'bin');
    const cache = join(folder, 'cache');
    mkdirSync(bin);
    const pip = '#!/bin/sh\ncase "$*" in *--version) exit 0;; esac\necho no route >&2; exit 1\n';
    writeFileSync(join(bin, 'python3'), pip, { mode: 0o755 });
    const { status, stderr } = without(cache, bin);
    expect(stderr).toMatch(
      /\nCUDA_TOOLS_MISSING: the CUDA wheels cannot be fetched: .*\npip .*\nno route\n$/,
    );
    expect(readdirSync(join(cache, 'tileloom'))).toEqual([]);
    expect(status).toBe(1);
  });
});
