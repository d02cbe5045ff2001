// Owns the typed facade of libtileloom_cuda.so: which GPUs the driver knows, and the one device that
// a process may open. The structs are those of tileloom_device.h.
import { cText, checkInteger, ErrorSlot, type NativeFunction } from './binding.ts';
import { loadKernels } from './library.ts';
import { deviceLibraryPath } from './paths.ts';
import type {
  DeviceInfo,
  DeviceLibrary,
  DeviceStatistics,
  GpuEntry,
  GpuListing,
  ImageOrigin,
  KernelLibrary,
  OpenDevice,
  OpenDeviceOptions,
} from './types.ts';

const ENTRY_BYTES = 232;
const ENTRIES_MAX = 64;
const INFO_BYTES = 368;
const STATS_BYTES = 120;
const OPTIONS_BYTES = 32;
const ORIGINS: readonly ImageOrigin[] = ['ahead-of-time', 'compiled', 'cached'];

const LIST =
  'int tl_device_list(void *driver_path, void *entries, uint32_t capacity, void *count, ' +
  'void *driver_version, void *error)';
const OPEN =
  'int tl_device_open(void *options, void *driver_path, void *nvrtc_path, void *image_path, ' +
  'void *cache_path, void *info, void *error)';
const CLOSE = 'int tl_device_close(void *error)';
const SOURCES = 'int tl_device_sources(void *digest)';
const STATISTICS = 'int tl_device_statistics(void *stats, void *error)';

type LookUp = (prototype: string) => NativeFunction;

/**
 * Opens the device library for the life of the process; it needs no GPU for that.
 *
 * @param options.path another library with the same ABI; the product's own by default
 * @throws {NativeError} `LIBRARY_MISSING`, `LIBRARY_UNUSABLE`
 */
export function openDeviceLibrary(options: { readonly path?: string } = {}): DeviceLibrary {
  const { kernels, lookUp } = loadKernels(options.path ?? deviceLibraryPath());
  const facade: Omit<DeviceLibrary, keyof KernelLibrary> = {
    sourcesDigest: sourcesDigest(lookUp),
    listDevices: () => listDevices(lookUp),
    openDevice: (wanted) => openDevice(lookUp, wanted),
  };
  return Object.assign(kernels, facade);
}

function sourcesDigest(lookUp: LookUp): string {
  const digest = Buffer.alloc(16);
  new ErrorSlot().check(lookUp(SOURCES).call(digest), 'sources of the device library');
  return digest.toString('hex');
}

function listDevices(lookUp: LookUp): GpuListing {
  const entries = new DataView(new ArrayBuffer(ENTRIES_MAX * ENTRY_BYTES));
  const count = new Uint32Array(1);
  const version = new Uint32Array(1);
  const error = new ErrorSlot();
  const status = lookUp(LIST).call(
    pathFromEnvironment('TILELOOM_CUDA_DRIVER'),
    entries,
    ENTRIES_MAX,
    count,
    version,
    error.bytes,
  );
  error.check(status, 'this host');
  const known = Math.min(count[0] ?? 0, ENTRIES_MAX);
  return {
    gpus: Array.from({ length: known }, (_, index) => unpackEntry(entries, index * ENTRY_BYTES)),
    driverVersion: versionText(version[0] ?? 0),
  };
}

function openDevice(lookUp: LookUp, wanted: OpenDeviceOptions): OpenDevice {
  const options = new DataView(new ArrayBuffer(OPTIONS_BYTES));
  options.setUint32(0, OPTIONS_BYTES, true);
  options.setUint32(4, checkInteger(wanted.ordinal, 0xffff, 'ordinal of the device'), true);
  options.setUint32(8, checkInteger(wanted.slots ?? 0, 64, 'slots of the device'), true);
  setBytes(options, 16, wanted.memoryBytesMax, 'memoryBytesMax');
  setBytes(options, 24, wanted.slotBytes, 'slotBytes');
  const info = new DataView(new ArrayBuffer(INFO_BYTES));
  const error = new ErrorSlot();
  const { imagePath, cacheDir } = wanted;
  const status = lookUp(OPEN).call(
    options,
    pathFromEnvironment('TILELOOM_CUDA_DRIVER'),
    pathFromEnvironment('TILELOOM_NVRTC'),
    imagePath === undefined
      ? pathFromEnvironment('TILELOOM_CUDA_IMAGE')
      : cText(imagePath, 'path of the image'),
    typeof cacheDir === 'string' ? cText(cacheDir, 'folder of images') : null,
    info,
    error.bytes,
  );
  error.check(status, `device ${wanted.ordinal}`);
  return {
    info: unpackInfo(info),
    statistics: () => statistics(lookUp),
    close() {
      const closing = new ErrorSlot();
      closing.check(lookUp(CLOSE).call(closing.bytes), `device ${wanted.ordinal}`);
    },
  };
}

function statistics(lookUp: LookUp): DeviceStatistics {
  const stats = new DataView(new ArrayBuffer(STATS_BYTES));
  const error = new ErrorSlot();
  error.check(lookUp(STATISTICS).call(stats, error.bytes), 'statistics of the device');
  const count = (index: number): number => Number(stats.getBigUint64(index * 8, true));
  const seconds = (index: number): number => stats.getFloat64(index * 8, true);
  return {
    heldBytes: count(0),
    peakBytes: count(1),
    residentBytes: count(2),
    residentIndexes: count(3),
    uploads: count(4),
    evictions: count(5),
    launches: count(6),
    rows: count(7),
    repairedRows: count(8),
    hostTiles: count(9),
    readSeconds: seconds(10),
    uploadSeconds: seconds(11),
    kernelSeconds: seconds(12),
    downloadSeconds: seconds(13),
    writeSeconds: seconds(14),
  };
}

function unpackEntry(view: DataView, at: number): GpuEntry {
  const positive = (offset: number): number | null => view.getUint32(at + offset, true) || null;
  const pciBusId = textAt(view, at + 72, 32);
  const ratio = positive(20);
  const ordinal = view.getUint32(at + 8, true);
  return {
    ordinal,
    uuid: textAt(view, at + 24, 48) || `GPU-${pciBusId || ordinal}`,
    pciBusId,
    name: textAt(view, at + 104, 128),
    capability: view.getUint32(at + 12, true),
    multiprocessors: positive(16),
    memTotalBytes: Number(view.getBigUint64(at, true)) || null,
    fp64Ratio: ratio === null ? null : 1 / ratio,
  };
}

function unpackInfo(view: DataView): DeviceInfo {
  const bytes = (index: number): number => Number(view.getBigUint64(index * 8, true));
  const hex = (at: number): string => Buffer.from(view.buffer, at, 16).toString('hex');
  const pciBusId = textAt(view, 248, 32);
  return {
    name: textAt(view, 72, 128),
    uuid: textAt(view, 200, 48) || `GPU-${pciBusId}`,
    pciBusId,
    capability: view.getUint32(32, true),
    driverVersion: versionText(view.getUint32(28, true)),
    memTotalBytes: bytes(0),
    memoryBytesMax: bytes(1),
    slots: view.getUint32(24, true),
    slotBytes: bytes(2),
    image: ORIGINS[view.getUint32(36, true)] ?? 'compiled',
    imageDigest: hex(40),
    sourcesDigest: hex(56),
    imageNote: textAt(view, 280, 88) || null,
  };
}

function setBytes(view: DataView, at: number, value: number | undefined, what: string): void {
  view.setBigUint64(at, BigInt(checkInteger(value ?? 0, Number.MAX_SAFE_INTEGER, what)), true);
}

function textAt(view: DataView, at: number, size: number): string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + at, size);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(bytes.subarray(0, end < 0 ? size : end));
}

function versionText(version: number): string {
  return `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;
}

/** A path that the environment gives, or null for the usual place. */
export function pathFromEnvironment(variable: string): Uint8Array | null {
  const path = process.env[variable];
  return path === undefined || path === '' ? null : cText(path, variable);
}
