// The run-time compiler itself: NVRTC of the pinned wheels makes machine code of the embedded sources,
// on a host where no source lies. The driver is the fake one: it takes any cubin of CUDA.
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDeviceLibrary } from '../../native/index.ts';
import { fakeGpus, fakeImage, type FakeGpus } from './helpers/fake-gpu.ts';
import {
  LOCK_WAIT_MS,
  ROOT,
  buildCuda,
  cudaTools,
  entriesOf,
  fakeNvrtc,
  openElsewhere,
  openHere,
} from './helpers/images.ts';

const ELF_MACHINE_CUDA = 190;
const tools = cudaTools();
const nvrtcPath = typeof tools === 'string' ? '' : tools.nvrtc;

let gpus: FakeGpus;
let cache: string;
let leave: () => void;

beforeAll(() => {
  const script = join(ROOT, 'scripts', 'build-native.mjs');
  execFileSync(process.execPath, [script, 'test-kernels'], { stdio: 'ignore' });
}, 120_000);

function begin(capability = 90): void {
  gpus = fakeGpus({ devices: [{ capability }] });
  rmSync(gpus.imagePath);
  cache = join(gpus.folder, 'cache');
  leave = gpus.enter();
}

function end(): void {
  leave();
  gpus.remove();
}

beforeEach(() => begin());
afterEach(end);

const entry = (): string => join(cache, entriesOf(cache)[0] ?? '');

test('nvcc and NVRTC are given the same options, but for the architecture', () => {
  const nvrtc = fakeNvrtc(gpus.folder);
  Object.assign(process.env, nvrtc.environment);
  expect(openHere().image).toBe('compiled');
  const given = (nvrtc.compilations()[0] ?? '').split('| ')[1]?.split(' ') ?? [];
  const exact = [
    '--std=c++17',
    '--fmad=false',
    '--ftz=false',
    '--prec-div=true',
    '--prec-sqrt=true',
  ];
  expect(given).toEqual([...exact, '--gpu-architecture=sm_90']);

  const bin = join(gpus.folder, 'bin');
  const log = join(gpus.folder, 'nvcc.txt');
  execFileSync('mkdir', [bin]);
  const script = `#!/bin/sh
case "$1" in
  --list-gpu-code) echo sm_90 ;;
  --version) echo 'release 13.0, V13.0.88' ;;
  *) echo "$@" >> ${log}; exit 9 ;;
esac
`;
  for (const name of ['nvcc', 'cuobjdump', 'fatbinary']) {
    writeFileSync(join(bin, name), script, { mode: 0o755 });
  }
  const path = process.env['PATH'];
  process.env['PATH'] = `${bin}:${path}`;
  const built = buildCuda(['--offline', '--arch', '90', '--out', gpus.folder]);
  process.env['PATH'] = path;
  expect(built.stderr).toMatch(/^CUDA_BUILD_FAILED: nvcc for sm_90 ended with 9:/);
  const words = readFileSync(log, 'utf8').split(' ');
  expect(words.slice(0, exact.length)).toEqual(exact);
  const contradicting = /^(?:-fmad|--fmad|-ftz|--ftz|-use_fast_math|--use_fast_math|-prec|--prec)/;
  expect(words.slice(exact.length).filter((word) => contradicting.test(word))).toEqual([]);
});

const reason = typeof tools === 'string' ? ` (skipped: ${tools})` : '';

describe.skipIf(reason !== '')(`NVRTC${reason}`, { timeout: 300_000 }, () => {
  beforeEach(() => {
    process.env['TILELOOM_NVRTC'] = nvrtcPath;
  });

  test.each([75, 90, 120])(
    'compiles the embedded sources for sm_%i without a file on disk',
    (capability) => {
      end();
      begin(capability);
      process.env['TILELOOM_NVRTC'] = nvrtcPath;
      const before = process.cwd();
      process.chdir(gpus.folder);
      try {
        const opened = openHere(cache);
        expect(opened).toMatchObject({ image: 'compiled', imageNote: 'does not exist' });
        const payload = readFileSync(entry()).subarray(40);
        expect(payload.subarray(0, 4).toString('latin1')).toBe('\u007fELF');
        expect(payload.readUInt16LE(18)).toBe(ELF_MACHINE_CUDA);
        expect(openDeviceLibrary().hash128(payload)).toBe(opened.imageDigest);
      } finally {
        process.chdir(before);
      }
    },
  );

  test('makes kernels that keep to the limits, without fused multiply-adds', () => {
    expect(openHere(cache).image).toBe('compiled');
    const { status, stdout, stderr } = buildCuda(['--offline', '--inspect', entry()]);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/tl_assign_grid_fp64: \d+ registers, .* 0 fused multiply-adds\n/);
    expect(status).toBe(0);
  });

  test('compiles once for two processes that open the device at once', async () => {
    const environment = { ...gpus.environment, TILELOOM_NVRTC: nvrtcPath };
    const children = [openElsewhere(cache, environment), openElsewhere(cache, environment)];
    const opened = await Promise.all(children.map((child) => child.opened));
    const images = new Set(opened.map(({ image }) => image));
    const slowestMs = Math.max(...opened.map(({ openMs }) => openMs));
    // Who waits that long for the other compiles too: so slow a host shows nothing of the lock.
    if (images.has('cached') || slowestMs <= LOCK_WAIT_MS) {
      expect(images).toEqual(new Set(['cached', 'compiled']));
    }
    expect(opened[0]?.imageDigest).toBe(opened[1]?.imageDigest);
    expect(entriesOf(cache)).toHaveLength(1);
  });

  test('compiles again, to the same bytes, what was damaged', () => {
    const first = openHere(cache);
    const path = entry();
    const good = readFileSync(path);
    writeFileSync(path, good.subarray(0, good.length / 2));
    expect(openHere(cache)).toMatchObject({ image: 'compiled', imageDigest: first.imageDigest });
    expect(readFileSync(path).equals(good)).toBe(true);
    expect(openHere(cache).image).toBe('cached');
  });

  test('takes over from an image of another architecture', () => {
    writeFileSync(gpus.imagePath, fakeImage([75]));
    const note = 'is refused in cuModuleLoadData: CUDA_ERROR_NO_BINARY_FOR_GPU (209)';
    expect(openHere(cache)).toMatchObject({ image: 'compiled', imageNote: note });
  });

  test('takes over from PTX that is too new for the driver', () => {
    writeFileSync(gpus.imagePath, fakeImage([90]));
    gpus.control(['fail cuModuleLoadData 222 times 1']);
    const note = 'is refused in cuModuleLoadData: CUDA_ERROR_UNSUPPORTED_PTX_VERSION (222)';
    expect(openHere(cache)).toMatchObject({ image: 'compiled', imageNote: note });
  });

  test('refuses an architecture that it does not know, by name', () => {
    end();
    begin(990);
    process.env['TILELOOM_NVRTC'] = nvrtcPath;
    const { code, message } = openHere(cache);
    expect(code).toBe('IMAGE_UNUSABLE');
    expect(message).toMatch(
      /no kernels for sm_990: .*NVRTC refuses the kernels: nvrtc: error: inv/,
    );
    expect(entriesOf(cache)).toEqual([]);
  });
});

describe('NVRTC of the usual places', () => {
  // Only one of the two is NVRTC, so what opening tells shows which was taken.
  test.each([
    ['13.0', '13', 'driver 13000'],
    ['12.4', '12', 'driver 12040'],
  ])('is that of the CUDA of a driver of %s', async (_, version, line) => {
    end();
    gpus = fakeGpus({ devices: [{ capability: 90 }], lines: [line] });
    rmSync(gpus.imagePath);
    leave = gpus.enter();
    const nvrtc = fakeNvrtc(gpus.folder);
    const other = version === '12' ? '13' : '12';
    symlinkSync(
      nvrtc.environment['TILELOOM_NVRTC'] ?? '',
      join(gpus.folder, `libnvrtc.so.${version}`),
    );
    symlinkSync(gpus.driverPath, join(gpus.folder, `libnvrtc.so.${other}`));
    const environment = {
      ...gpus.environment,
      ...nvrtc.environment,
      TILELOOM_NVRTC: '',
      LD_LIBRARY_PATH: gpus.folder,
    };
    const { image, message } = await openElsewhere(join(gpus.folder, 'cache'), environment).opened;
    expect(message).toBeUndefined();
    expect(image).toBe('compiled');
    expect(nvrtc.compilations()).toHaveLength(1);
  });
});

describe('NVRTC that is not usable', () => {
  test('is named with what it lacks', () => {
    symlinkSync(gpus.driverPath, join(gpus.folder, 'other.so'));
    process.env['TILELOOM_NVRTC'] = join(gpus.folder, 'other.so');
    expect(openHere(cache).message).toContain('does not exist; NVRTC lacks nvrtcVersion; run');
  });

  test('is named with its place where none was given', () => {
    delete process.env['TILELOOM_NVRTC'];
    const { code, message, image } = openHere(cache);
    // A host with a CUDA toolkit in the loader's path has one.
    expect(image === 'compiled' || code === 'IMAGE_UNUSABLE').toBe(true);
    expect(message ?? 'libnvrtc.so.13').toContain('libnvrtc.so.13');
  });
});
