// Owns fake GPUs for tests: control files of the fake driver and the fake NVML, an image that the
// fake driver takes, and the environment that makes a process believe in them.
// The fakes are libraries that `npm run build:test-kernels` builds.
// I1 a control file is replaced whole, so a running process never reads half of one.
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openDeviceLibrary } from '../../../native/index.ts';

export interface FakeGpu {
  readonly uuid: string;
  /** As the CUDA driver writes it: `0000:01:00.0`. */
  readonly pciBusId: string;
  /** 90 is compute capability 9.0. */
  readonly capability: number;
  readonly memoryBytes: number;
  readonly name: string;
}

export interface FakeGpuOptions {
  /** How many, or how each differs from the default. One by default. */
  readonly devices?: number | readonly Partial<FakeGpu>[];
  /** More lines of the driver's control file: `fail`, `delay`, `hang`, `driver`. */
  readonly lines?: readonly string[];
  /** More lines of the NVML's control file. */
  readonly nvmlLines?: readonly string[];
  /** Architectures of the image; those of the devices by default. */
  readonly imageArchitectures?: readonly number[];
}

/** What a process that used the fake driver still held when it last told. */
export interface FakeLeaks {
  readonly pid: number;
  readonly contexts: number;
  readonly streams: number;
  readonly events: number;
  readonly modules: number;
  readonly deviceBytes: number;
  readonly hostBytes: number;
  readonly launches: number;
  readonly calls: number;
}

export interface FakeGpus {
  readonly devices: readonly FakeGpu[];
  readonly folder: string;
  /** For a child, beside what it inherits. CUDA_VISIBLE_DEVICES is not part of it. */
  readonly environment: Readonly<Record<string, string>>;
  readonly driverPath: string;
  readonly imagePath: string;
  readonly controlPath: string;
  readonly nvmlControlPath: string;
  /** Replaces the lines beside the devices; running processes see it at their next call. */
  control(lines: readonly string[]): void;
  controlNvml(lines: readonly string[]): void;
  /** The last line of each process, in the order in which the processes began to write. */
  leaks(): readonly FakeLeaks[];
  /** Sets the environment of this process; the function that is returned restores it. */
  enter(): () => void;
  remove(): void;
}

const ROOT = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
const BUILD = join(ROOT, 'native', 'build');
const MAGIC = 'TLCUDA01';
/** Fake GPUs in a new temporary folder. */
export function fakeGpus(options: FakeGpuOptions = {}): FakeGpus {
  const folder = mkdtempSync(join(tmpdir(), 'tileloom-fake-gpu-'));
  const wanted = options.devices ?? 1;
  const changes = typeof wanted === 'number' ? Array.from({ length: wanted }, () => ({})) : wanted;
  const devices = changes.map((change, index) => ({ ...defaultGpu(index), ...change }));
  const at = (name: string): string => join(folder, name);
  const environment = {
    TILELOOM_CUDA_DRIVER: join(BUILD, 'libtileloom_fake_cuda.so'),
    TILELOOM_FAKE_CUDA: at('cuda.txt'),
    TILELOOM_NVML: join(BUILD, 'libtileloom_fake_nvml.so'),
    TILELOOM_FAKE_NVML: at('nvml.txt'),
    TILELOOM_NVRTC: at('no-nvrtc.so'),
    TILELOOM_CUDA_IMAGE: at('image.fatbin'),
  };
  const control = (lines: readonly string[]): void => {
    const described = devices.map(
      (one) =>
        `device ${one.uuid} ${one.pciBusId} ${one.capability} ${one.memoryBytes} ${one.name}`,
    );
    replaceFile(at('cuda.txt'), [...described, `log ${at('log.txt')}`, ...lines]);
  };
  const controlNvml = (lines: readonly string[]): void => {
    const described = devices.map((one) => `device ${one.uuid} 0000${one.pciBusId} ${one.name}`);
    replaceFile(at('nvml.txt'), [...described, ...lines]);
  };
  control(options.lines ?? []);
  controlNvml(options.nvmlLines ?? []);
  const architectures = options.imageArchitectures ?? devices.map((one) => one.capability);
  writeFileSync(environment.TILELOOM_CUDA_IMAGE, fakeImage(architectures));
  return {
    devices,
    folder,
    environment,
    driverPath: environment.TILELOOM_CUDA_DRIVER,
    imagePath: environment.TILELOOM_CUDA_IMAGE,
    controlPath: environment.TILELOOM_FAKE_CUDA,
    nvmlControlPath: environment.TILELOOM_FAKE_NVML,
    control,
    controlNvml,
    leaks: () => readLeaks(at('log.txt')),
    enter: () => enterEnvironment(environment),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** An image file of this library's sources whose payload the fake driver takes. */
export function fakeImage(architectures: readonly number[]): Buffer {
  const library = openDeviceLibrary();
  const list = architectures.map((one) => `sm_${one}`).join(' ');
  const payload = Buffer.from(`tileloom fake image ${list}\n`);
  return Buffer.concat([
    Buffer.from(MAGIC),
    Buffer.from(library.sourcesDigest, 'hex'),
    Buffer.from(library.hash128(payload), 'hex'),
    payload,
  ]);
}

function defaultGpu(index: number): FakeGpu {
  const number = (index + 1).toString(16).padStart(2, '0');
  return {
    uuid: `GPU-00000000-0000-4000-8000-0000000000${number}`,
    pciBusId: `0000:${number}:00.0`,
    capability: 90,
    memoryBytes: 64 * 1024 ** 2,
    name: `Fake GPU ${index}`,
  };
}

function replaceFile(path: string, lines: readonly string[]): void {
  writeFileSync(`${path}.next`, `${lines.join('\n')}\n`);
  renameSync(`${path}.next`, path);
}

function readLeaks(path: string): FakeLeaks[] {
  if (!existsSync(path)) {
    return [];
  }
  const last = new Map<number, FakeLeaks>();
  for (const line of readFileSync(path, 'utf8').trimEnd().split('\n')) {
    const words = line.split(' ');
    const pairs = words.flatMap((word, index) =>
      index % 2 === 0 ? [[word, Number(words[index + 1])] as const] : [],
    );
    const leaks = Object.fromEntries(pairs) as unknown as FakeLeaks;
    last.set(leaks.pid, leaks);
  }
  return [...last.values()];
}

function enterEnvironment(environment: Readonly<Record<string, string>>): () => void {
  const before = Object.keys(environment).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, environment);
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) {
        delete process.env[name];
      } else {
        process.env[name] = value;
      }
    }
  };
}
