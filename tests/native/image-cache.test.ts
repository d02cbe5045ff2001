// Images compiled here and kept on disk: the compiler runs once per set of inputs, whatever lies in
// the folder, and a folder that is no good costs the cache and nothing else. NVRTC is a fake.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDeviceLibrary } from '../../native/index.ts';
import { fakeGpus, fakeImage, type FakeGpu, type FakeGpus } from './helpers/fake-gpu.ts';
import {
  LOCK_WAIT_MS,
  ROOT,
  entriesOf,
  fakeNvrtc,
  openElsewhere,
  openHere,
  type FakeNvrtc,
} from './helpers/images.ts';

let gpus: FakeGpus;
let nvrtc: FakeNvrtc;
let cache: string;
let leave: () => void;

beforeAll(() => {
  const script = join(ROOT, 'scripts', 'build-native.mjs');
  execFileSync(process.execPath, [script, 'test-kernels'], { stdio: 'ignore' });
}, 120_000);

function begin(devices: readonly Partial<FakeGpu>[] = [{}]): void {
  gpus = fakeGpus({ devices });
  rmSync(gpus.imagePath);
  nvrtc = fakeNvrtc(gpus.folder);
  cache = join(gpus.folder, 'cache');
  const leaveGpus = gpus.enter();
  Object.assign(process.env, nvrtc.environment);
  leave = () => {
    leaveGpus();
    delete process.env['TILELOOM_FAKE_NVRTC'];
  };
}

function end(): void {
  leave();
  gpus.remove();
}

beforeEach(() => begin());
afterEach(end);

const originOf = (folder = cache): unknown => openHere(folder).image;
const compiled = (): number => nvrtc.compilations().length;
const entry = (): string => {
  const names = entriesOf(cache);
  expect(names).toEqual([expect.stringMatching(/^[0-9a-f]{32}\.cubin$/)]);
  return join(cache, names[0] ?? '');
};

describe('the cache', () => {
  test('is a folder that is made, with one image file per key', () => {
    cache = join(gpus.folder, 'not', 'yet');
    expect(originOf()).toBe('compiled');
    expect(readFileSync(entry()).equals(fakeImage([90]))).toBe(true);
    expect(originOf()).toBe('cached');
    expect(compiled()).toBe(1);
  });

  test('serves the next process', async () => {
    const environment = { ...gpus.environment, ...nvrtc.environment };
    expect((await openElsewhere(cache, environment).opened).image).toBe('compiled');
    expect((await openElsewhere(cache, environment).opened).image).toBe('cached');
    expect(compiled()).toBe(1);
  });

  test('is not used where an image ahead of time serves', () => {
    writeFileSync(gpus.imagePath, fakeImage([90]));
    expect(originOf()).toBe('ahead-of-time');
    expect(entriesOf(cache)).toEqual([]);
  });

  test('is left out without a folder', () => {
    expect([openHere(null).image, openHere(null).image]).toEqual(['compiled', 'compiled']);
    expect(compiled()).toBe(2);
  });

  test('compiles anew for another version of NVRTC and for another architecture', () => {
    expect(originOf()).toBe('compiled');
    nvrtc.control(['version 13 1']);
    expect(originOf()).toBe('compiled');
    end();
    begin([{ capability: 80 }]);
    const other = openHere(cache);
    expect(other.image).toBe('compiled');
    expect(nvrtc.compilations()[0]).toContain('--gpu-architecture=sm_80');
  });

  test('has an entry per architecture when devices differ', () => {
    end();
    begin([{ capability: 80 }, { capability: 120 }]);
    const library = openDeviceLibrary();
    for (const ordinal of [0, 1, 0, 1]) {
      library.openDevice({ ordinal, slots: 1, cacheDir: cache }).close();
    }
    expect(nvrtc.compilations().map((line) => /sm_\d+/.exec(line)?.[0])).toEqual([
      'sm_80',
      'sm_120',
    ]);
    expect(entriesOf(cache)).toHaveLength(2);
  });

  test('keeps nothing that the driver refused', () => {
    nvrtc.control(['image tileloom fake image sm_75']);
    expect(openHere(cache).code).toBe('IMAGE_UNUSABLE');
    expect(entriesOf(cache)).toEqual([]);
  });

  test('keeps nothing of a compilation that failed, and the next one may succeed', () => {
    nvrtc.control(['refuse kernels.cu(7): error: expected a ";"']);
    expect(openHere(cache).message).toContain('expected a ";"');
    nvrtc.control([]);
    expect([originOf(), originOf()]).toEqual(['compiled', 'cached']);
  });
});

describe('an entry', () => {
  beforeEach(() => {
    openHere(cache);
    expect(compiled()).toBe(1);
  });

  const fake = (architectures: readonly number[]): void =>
    writeFileSync(entry(), fakeImage(architectures));
  const change = (edit: (bytes: Buffer) => Buffer): void =>
    writeFileSync(entry(), edit(readFileSync(entry())));

  test.each<[string, () => void]>([
    ['is empty', () => writeFileSync(entry(), '')],
    ['ends within its head', () => change((bytes) => bytes.subarray(0, 30))],
    ['ends within its payload', () => change((bytes) => bytes.subarray(0, -5))],
    ['goes on after its payload', () => change((bytes) => Buffer.concat([bytes, bytes]))],
    ['is of another architecture', () => fake([75])],
    ['is some other file', () => copyFileSync(process.execPath, entry())],
    ['is of other sources', () => change((bytes) => bytes.fill(7, 8, 24))],
    [
      'is an empty folder',
      () => {
        const path = entry();
        rmSync(path);
        mkdirSync(path);
      },
    ],
    [
      'is a pipe without a writer',
      () => {
        const path = entry();
        rmSync(path);
        execFileSync('mkfifo', [path]);
      },
    ],
    ['cannot be loaded', () => gpus.control(['fail cuModuleLoadData 200 times 1'])],
    ['lacks a kernel', () => gpus.control(['fail cuModuleGetFunction 500 times 1'])],
  ])('that %s is deleted and compiled once more', (_, damage) => {
    damage();
    expect([originOf(), originOf(), originOf()]).toEqual(['compiled', 'cached', 'cached']);
    expect(compiled()).toBe(2);
    expect(readFileSync(entry()).equals(fakeImage([90]))).toBe(true);
    expect(gpus.leaks().at(-1)).toMatchObject({ contexts: 0, modules: 0 });
  });

  test('with any changed byte is compiled once more', () => {
    const path = entry();
    const good = readFileSync(path);
    for (let at = 0; at < good.length; at += 1) {
      const bytes = Buffer.from(good);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      writeFileSync(path, bytes);
      expect(originOf(), `byte ${at}`).toBe('compiled');
      expect(readFileSync(path).equals(good), `byte ${at}`).toBe(true);
    }
    expect(compiled()).toBe(1 + good.length);
  });

  test('outlives a device that fails while it is loaded', () => {
    gpus.control(['fail cuModuleLoadData 2 times 1']);
    expect(openHere(cache).code).toBe('OUT_OF_MEMORY');
    expect(originOf()).toBe('cached');
  });

  test('is deleted once only: when the fresh image is refused too, that ends it', () => {
    gpus.control(['fail cuModuleLoadData 200']);
    const { code, message = '' } = openHere(cache);
    expect(code).toBe('IMAGE_UNUSABLE');
    expect(message).toMatch(/does not exist; NVRTC made an image that is refused .*\(200\)/);
    expect(compiled()).toBe(2);
    expect(entriesOf(cache)).toEqual([]);
  });
});

describe('two processes at once', () => {
  const holdsLock = (pid: number): boolean =>
    readdirSync(`/proc/${pid}/fd`).some((name) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${name}`).endsWith('.lock');
      } catch {
        return false; // closed in between
      }
    });
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };

  test('compile once: the second waits for the first, not for another key', async () => {
    const go = join(gpus.folder, 'go');
    const environment = { ...gpus.environment, ...nvrtc.environment };
    nvrtc.control([`wait ${go}`]);
    const first = openElsewhere(cache, environment);
    await until(() => compiled() === 1);
    const second = openElsewhere(cache, environment);
    await until(() => holdsLock(second.pid));
    nvrtc.control(['version 12 9']);
    expect(originOf()).toBe('compiled'); // another key, meanwhile
    writeFileSync(go, '');
    expect((await first.opened).image).toBe('compiled');
    expect((await second.opened).image).toBe('cached');
    expect(compiled()).toBe(2);
  });

  test('go on when the first hangs, while somebody still waits for them', async () => {
    const go = join(gpus.folder, 'go');
    const environment = { ...gpus.environment, ...nvrtc.environment };
    nvrtc.control([`wait ${go}`]);
    const first = openElsewhere(cache, environment);
    await until(() => compiled() === 1);
    nvrtc.control([]);
    const second = await openElsewhere(cache, environment).opened;
    expect(second.image).toBe('compiled');
    expect(second.openMs).toBeGreaterThan(LOCK_WAIT_MS);
    // The executor looks at a device for 20 s, in which a process starts as well.
    expect(second.openMs).toBeLessThan(18_000);
    writeFileSync(go, '');
    expect((await first.opened).image).toBe('compiled');
  });

  test('go on when the first is killed in the middle', async () => {
    const go = join(gpus.folder, 'go');
    const environment = { ...gpus.environment, ...nvrtc.environment };
    nvrtc.control([`wait ${go}`]);
    const first = openElsewhere(cache, environment);
    await until(() => compiled() === 1);
    const second = openElsewhere(cache, environment);
    await until(() => holdsLock(second.pid));
    const died = expect(first.opened).rejects.toThrow(/without an answer/);
    process.kill(first.pid, 'SIGKILL');
    await died;
    await until(() => compiled() === 2);
    writeFileSync(go, '');
    expect((await second.opened).image).toBe('compiled');
    expect(originOf()).toBe('cached');
  });
});

describe('a folder', () => {
  // As root does.
  function ignoresPermissions(): boolean {
    const folder = mkdtempSync(join(tmpdir(), 'tileloom-permissions-'));
    chmodSync(folder, 0o555);
    try {
      writeFileSync(join(folder, 'file'), '');
      return true;
    } catch {
      return false;
    } finally {
      chmodSync(folder, 0o755);
      rmSync(folder, { recursive: true });
    }
  }

  test('that cannot be made costs the cache only', () => {
    writeFileSync(join(gpus.folder, 'file'), '');
    for (const folder of ['/proc/no-such-folder', join(gpus.folder, 'file', 'below')]) {
      expect([originOf(folder), originOf(folder)]).toEqual(['compiled', 'compiled']);
    }
  });

  test('that is a file costs the cache only, and the file stays', () => {
    const file = join(gpus.folder, 'file');
    writeFileSync(file, 'mine');
    expect(originOf(file)).toBe('compiled');
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });

  // Permissions bind no root user; a folder in the way of each name does.
  test('in which no lock can be made still keeps images', () => {
    openHere(cache);
    const lock = entry().replace(/cubin$/, 'lock');
    rmSync(lock);
    mkdirSync(lock);
    expect(originOf()).toBe('cached');
    rmSync(entry());
    expect([originOf(), originOf()]).toEqual(['compiled', 'cached']);
  });

  test('in which an entry can neither be read nor replaced is done without', () => {
    openHere(cache);
    const path = entry();
    rmSync(path);
    mkdirSync(join(path, 'full'), { recursive: true });
    expect([originOf(), originOf()]).toEqual(['compiled', 'compiled']);
    expect(statSync(path).isDirectory()).toBe(true);
    expect(readdirSync(cache).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test.skipIf(ignoresPermissions())('that is read-only serves what it has', () => {
    openHere(cache);
    const path = entry();
    chmodSync(cache, 0o555);
    expect(originOf()).toBe('cached');
    chmodSync(path, 0o644);
    writeFileSync(path, 'damaged');
    expect([originOf(), originOf()]).toEqual(['compiled', 'compiled']);
    chmodSync(cache, 0o755);
    expect([originOf(), originOf()]).toEqual(['compiled', 'cached']);
  });
});
