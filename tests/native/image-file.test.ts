// The image file: only one of exactly these sources, whole and undamaged, reaches the driver; every
// other is refused with a reason, and the kernels are sought elsewhere.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import xxhash from '@node-rs/xxhash';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDeviceLibrary } from '../../native/index.ts';
import { DEVICE_SOURCES_DIGEST } from '../../registry/index.ts';
import { fakeGpus, fakeImage, type FakeGpus } from './helpers/fake-gpu.ts';
import { ROOT, fakeNvrtc, openElsewhere, openHere, type FakeNvrtc } from './helpers/images.ts';

let gpus: FakeGpus;
let nvrtc: FakeNvrtc;
let leave: () => void;

beforeAll(() => {
  const script = join(ROOT, 'scripts', 'build-native.mjs');
  execFileSync(process.execPath, [script, 'test-kernels'], { stdio: 'ignore' });
}, 120_000);

beforeEach(() => {
  gpus = fakeGpus();
  nvrtc = fakeNvrtc(gpus.folder);
  leave = gpus.enter();
});
afterEach(() => {
  leave();
  gpus.remove();
});

const imagePath = (): string => gpus.imagePath;
const useNvrtc = (): void => void Object.assign(process.env, nvrtc.environment);
afterAll(() => delete process.env['TILELOOM_FAKE_NVRTC']);

function imageOf(payload: string, sources = openDeviceLibrary().sourcesDigest): Buffer {
  const bytes = Buffer.from(payload);
  const digest = xxhash.xxh3.xxh128(bytes).toString(16).padStart(32, '0');
  const head = Buffer.from(sources + digest, 'hex');
  return Buffer.concat([Buffer.from('TLCUDA01'), head, bytes]);
}

describe('the sources digest', () => {
  test('of the library is the one in the registry', () => {
    // If not: node scripts/build-native.mjs && node scripts/update-source-digests.mjs
    expect(openDeviceLibrary().sourcesDigest).toBe(DEVICE_SOURCES_DIGEST);
  });

  test('is told with the device', () => {
    expect(openHere()).toMatchObject({ sourcesDigest: DEVICE_SOURCES_DIGEST });
  });

  test('covers every file that the kernels include, and make knows them', () => {
    const list = readFileSync(join(ROOT, 'native', 'cuda', 'embedded.inc'), 'utf8');
    const rows = [...list.matchAll(/"([^"]+)",\s*"([^"]+)"\)/g)];
    const paths = rows.map(([, , path = '']) => path);
    const names = new Set(rows.map(([, name = '']) => name));
    const included = paths.flatMap((path) =>
      [...readFileSync(join(ROOT, 'native', path), 'utf8').matchAll(/^#include "([^"]+)"/gm)].map(
        (match) => match[1] ?? '',
      ),
    );
    expect(paths.length).toBeGreaterThan(3);
    expect(included.filter((name) => !names.has(name))).toEqual([]);
    const makefile = readFileSync(join(ROOT, 'native', 'Makefile'), 'utf8');
    const rule = /sources\.o:((?:.*\\\n)*.*)/.exec(makefile)?.[1] ?? '';
    expect(paths.filter((path) => !rule.includes(path))).toEqual([]);
  });
});

describe('an image file', () => {
  test('that fits is used, and its payload names it', () => {
    const payload = readFileSync(imagePath()).subarray(40);
    expect(openHere()).toMatchObject({
      image: 'ahead-of-time',
      imageNote: null,
      imageDigest: xxhash.xxh3.xxh128(payload).toString(16).padStart(32, '0'),
    });
  });

  test('is named by the call rather than by the environment', () => {
    const other = join(gpus.folder, 'other.fatbin');
    writeFileSync(other, fakeImage([80, 90]));
    const library = openDeviceLibrary();
    const device = library.openDevice({ ordinal: 0, slots: 1, imagePath: other });
    device.close();
    const payload = Buffer.from('tileloom fake image sm_80 sm_90\n');
    expect(device.info.imageDigest).toBe(library.hash128(payload));
  });

  const damages: [string, () => void, RegExp][] = [
    ['does not exist', () => rmSync(imagePath()), /does not exist/],
    ['is empty', () => writeFileSync(imagePath(), ''), /TLCUDA01/],
    ['is a bare fat binary', () => writeFileSync(imagePath(), '\u0050\u00ed'), /TLCUDA01/],
    ['ends within its head', () => truncateSync(imagePath(), 39), /ends too soon/],
    ['has no payload', () => writeFileSync(imagePath(), imageOf('')), /ends too soon/],
    [
      'lost its last byte',
      () => writeFileSync(imagePath(), readFileSync(imagePath()).subarray(0, -1)),
      /digest/,
    ],
    ['got a byte more', () => writeFileSync(imagePath(), ' ', { flag: 'a' }), /digest/],
    [
      'is of other sources',
      () => writeFileSync(imagePath(), imageOf('x', '0'.repeat(32))),
      /other kernel sources/,
    ],
    [
      'is of another architecture',
      () => writeFileSync(imagePath(), fakeImage([75])),
      /NO_BINARY_FOR_GPU \(209\)/,
    ],
    [
      'is nothing that the driver knows',
      () => writeFileSync(imagePath(), imageOf('text')),
      /INVALID_IMAGE \(200\)/,
    ],
    [
      'is too new as PTX',
      () => gpus.control(['fail cuModuleLoadData 222 times 1']),
      /PTX_VERSION \(222\)/,
    ],
    [
      'is of a compiler that the driver does not know',
      () => gpus.control(['fail cuModuleLoadData 300 times 1']),
      /\(300\)/,
    ],
    [
      'needs a compiler of PTX that does not start',
      () => gpus.control(['fail cuModuleLoadData 303 times 1']),
      /\(303\)/,
    ],
    [
      'lacks a kernel',
      () => gpus.control(['fail cuModuleGetFunction 500 times 1']),
      /tl_assign_grid_fp64: .*\(500\)/,
    ],
    [
      'is a folder',
      () => {
        rmSync(imagePath());
        mkdirSync(imagePath());
      },
      /not a regular file/,
    ],
    [
      'is a pipe without a writer',
      () => {
        rmSync(imagePath());
        execFileSync('mkfifo', [imagePath()]);
      },
      /not a regular file/,
    ],
    ['is absurdly large', () => truncateSync(imagePath(), 2 ** 33), /64 MiB/],
  ];

  test.each(damages)('that %s gives way to NVRTC, with a note', (_, damage, reason) => {
    useNvrtc();
    damage();
    const opened = openHere();
    expect(opened).toMatchObject({ image: 'compiled', imageNote: expect.stringMatching(reason) });
    expect(opened.imageNote).not.toContain(gpus.folder);
    expect(Buffer.byteLength(opened.imageNote ?? '')).toBeLessThan(88);
    expect(gpus.leaks().at(-1)).toMatchObject({ contexts: 0, modules: 0, deviceBytes: 0 });
  });

  test.each(damages)(
    'that %s is told with the other reason where NVRTC is missing',
    (_, damage, reason) => {
      damage();
      const { code, message = '' } = openHere();
      expect(code).toBe('IMAGE_UNUSABLE');
      expect(message).toMatch(/^device 0 has no kernels for sm_90: image /);
      expect(message).toMatch(reason);
      expect(message).toMatch(/; NVRTC is missing: .*no-nvrtc\.so.*No such file/);
      expect(message).toMatch(/; run npm run build:cuda, or install NVRTC$/);
      expect(gpus.leaks().at(-1)).toMatchObject({ contexts: 0, modules: 0, deviceBytes: 0 });
    },
  );

  test('with a changed byte anywhere never reaches the driver', () => {
    useNvrtc();
    const good = readFileSync(imagePath());
    for (let at = 0; at < good.length; at += 1) {
      const bytes = Buffer.from(good);
      bytes[at] = (bytes[at] ?? 0) ^ 0x20;
      writeFileSync(imagePath(), bytes);
      const { image, imageNote } = openHere();
      expect([image, imageNote !== null], `byte ${at}`).toEqual(['compiled', true]);
      expect(imageNote).not.toContain('refused');
    }
  });

  test.each([
    [2, 'OUT_OF_MEMORY'],
    [999, 'DEVICE_FAILED'],
  ])('is not replaced when the driver answers %i: the device is at fault', (result, code) => {
    useNvrtc();
    gpus.control([`fail cuModuleLoadData ${result} times 1`]);
    expect(openHere()).toMatchObject({ code });
    expect(nvrtc.compilations()).toEqual([]);
  });

  test('is not replaced after an error that sticks to the process', async () => {
    gpus.control(['fail cuModuleLoadData 700']);
    const environment = { ...gpus.environment, ...nvrtc.environment };
    const opened = await openElsewhere(gpus.folder, environment).opened;
    expect(opened).toMatchObject({ code: 'DEVICE_LOST' });
    expect(nvrtc.compilations()).toEqual([]);
  });
});

describe('the message', () => {
  test('keeps both reasons where paths are long and not ASCII', () => {
    const deep = join(gpus.folder, ...Array.from({ length: 20 }, () => 'größe-größe'));
    process.env['TILELOOM_CUDA_IMAGE'] = join(deep, 'image.fatbin');
    process.env['TILELOOM_NVRTC'] = join(deep, 'libnvrtc.so');
    const { message = '' } = openHere();
    expect(message).toContain('größe/image.fatbin does not exist; NVRTC is missing: ...');
    expect(message).toContain('größe/libnvrtc.so: cannot open shared object file');
    expect(message).toMatch(/; run npm run build:cuda, or install NVRTC$/);
    expect(message).not.toContain('\ufffd');
  });

  test('keeps the advice where the compiler has much to say', () => {
    useNvrtc();
    nvrtc.control([`refuse kernels.cu(1): error: ${'ä'.repeat(400)}`]);
    rmSync(imagePath());
    const { code, message = '' } = openHere();
    expect(code).toBe('IMAGE_UNUSABLE');
    expect(message).toContain('NVRTC refuses the kernels: kernels.cu(1): error: ää');
    expect(message).toMatch(/ä\.\.\.; run npm run build:cuda, or install NVRTC$/);
    expect(message).not.toContain('\ufffd');
  });

  test('tells when what NVRTC made is refused as well', () => {
    useNvrtc();
    nvrtc.control(['image tileloom fake image sm_75']);
    rmSync(imagePath());
    expect(openHere().message).toMatch(/NVRTC made an image that is refused .*\(209\); run/);
  });
});
