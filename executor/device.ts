// Owns the GPU of an executor process: opening it, or saying why it cannot serve, and what its chunks do
// to it: time, resident layers, loss.
import type { DeviceInfo, DeviceLibrary, OpenDevice } from '../native/index.ts';
import { ExecutorError } from './errors.ts';
import type { FromExecutor, GpuOptions } from './protocol.ts';
import { Residency } from './residency.ts';
import { WorkClock } from './work-clock.ts';

/**
 * Opens the device that the options name.
 *
 * @throws {ExecutorError} `DEVICE_SOURCES_DIFFER`, `DEVICE_CHANGED`
 * @throws {NativeError} what `openDevice` throws
 */
export function openGpu(
  library: DeviceLibrary,
  gpu: GpuOptions,
  slots: number,
  sourcesExpected: string,
): OpenDevice {
  if (library.sourcesDigest !== sourcesExpected) {
    throw new ExecutorError(
      'REFUSED',
      'DEVICE_SOURCES_DIFFER',
      `device library ${library.path} was built from other kernel sources than the registry declares: expected digest ${sourcesExpected.slice(0, 12)}, got ${library.sourcesDigest.slice(0, 12)}; run node scripts/build-native.mjs`,
    );
  }
  const device = library.openDevice({
    ordinal: gpu.ordinal,
    slots,
    cacheDir: gpu.imagesDir,
    ...(gpu.memoryBytesMax === null ? {} : { memoryBytesMax: gpu.memoryBytesMax }),
  });
  if (device.info.uuid === gpu.uuid) return device;
  device.close();
  throw new ExecutorError(
    'REFUSED',
    'DEVICE_CHANGED',
    `device ${gpu.ordinal} is another one than before: expected ${gpu.uuid}, got ${device.info.uuid}; start the worker again`,
  );
}

/** A job as its device sees it. */
export interface DeviceJob {
  readonly jobId: string;
  /** Whether calls of it are on the device now. */
  readonly isOnDevice: boolean;
}

export interface DeviceWorkOptions {
  readonly device: OpenDevice;
  readonly send: (message: FromExecutor) => void;
  readonly jobs: () => Iterable<DeviceJob>;
}

/** The open device and what this process knows of it. */
export class DeviceWork {
  readonly info: DeviceInfo;
  readonly clock: WorkClock = new WorkClock();
  readonly #options: DeviceWorkOptions;
  readonly #residency = new Residency();
  #chunks = 0;
  #isLost = false;
  /** Resident layers as the worker knows them. */
  #told = '';

  constructor(options: DeviceWorkOptions) {
    this.#options = options;
    this.info = options.device.info;
  }

  /** Chunks that are open on the device. */
  get chunks(): number {
    return this.#chunks;
  }

  /** Highest device memory held since the device was opened. */
  get peakBytes(): number {
    return this.#options.device.statistics().peakBytes;
  }

  /**
   * Notes that a chunk was opened; the function that is returned notes its end and tells the worker which
   * layers are resident, where that has changed.
   *
   * @param layer key of the index that it uses on the device; null: the layer has no grid there
   */
  chunkOpened(layer: string | null): () => void {
    const release = layer === null ? (): void => undefined : this.#residency.use(layer);
    this.#chunks += 1;
    return () => {
      release();
      this.#chunks -= 1;
      this.#tellResident();
    };
  }

  /**
   * Looks whether what a call threw is the loss of the device. It is then told at once, while it is known
   * which jobs have calls in flight: only one of those can be to blame.
   */
  notice(error: unknown): void {
    const { code, message } = error as { readonly code?: unknown; readonly message?: string };
    if (code !== 'DEVICE_LOST' || this.#isLost) return;
    this.#isLost = true;
    const on = [...this.#options.jobs()].filter(({ isOnDevice }) => isOnDevice);
    const jobId = on.length === 1 ? (on[0]?.jobId ?? null) : null;
    this.#options.send({ kind: 'lost', jobId, code, message: message ?? '' });
  }

  #tellResident(): void {
    const layers = this.#residency.layers(this.#options.device.statistics().residentIndexes);
    const told = layers.join();
    // The worker writes a file for every message; most chunks change nothing.
    if (told === this.#told) return;
    this.#told = told;
    this.#options.send({ kind: 'resident', layers });
  }
}
