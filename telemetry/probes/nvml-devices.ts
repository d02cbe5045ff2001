// Owns what NVML tells of devices: which handle is whose, each metric or the reason why it is missing.
// Layouts and constants are those of nvml.h.
//
// I1. Every metric is read by itself: one that fails takes no other with it.
// I2. A number that cannot be is missing, never shown.
// I3. Of a MIG device, memory is its own; temperature, power, clocks, errors and PCIe are its chip's.
// I4. A device is called lost on its own word. Looking a handle up fails with `gpu-lost` where any GPU of the
//     host has fallen off the bus (nvml.h), so handles that were found before are kept for that.
import { gpuClassOf } from '../index.ts';
import type { NvmlFunction, NvmlLibrary } from './nvml-library.ts';
import {
  nothingRead,
  type NvmlDevice,
  type NvmlDeviceReading,
  type NvmlMetric,
} from './nvml-messages.ts';

type Outcome<T> = { readonly value: T } | { readonly why: string };

const TEXT_BYTES = 96;
const SENSOR_GPU = 0;
const ERRORS_UNCORRECTED = 1;
const COUNTER_VOLATILE = 0;

/** Version and size of a structure: nvmlMemory_v2_t has 40 bytes, nvmlTemperature_v1_t has 12. */
const MEMORY_V2 = (2 << 24) | 40;
const TEMPERATURE_V1 = (1 << 24) | 12;

/** Above it a figure is no power: some drivers count energy there. */
const WATTS_MAX = 5_000;
const CELSIUS_MAX = 200;

const SUCCESS = 0;
const UNINITIALIZED = 1;
const DRIVER_NOT_LOADED = 9;
const GPU_IS_LOST = 15;
const RESET_REQUIRED = 16;
const LIBRARY_MISMATCH = 18;

const REASONS: Readonly<Record<number, string>> = Object.freeze({
  [UNINITIALIZED]: 'uninitialized',
  2: 'invalid-argument',
  3: 'not-supported',
  4: 'no-permission',
  6: 'not-found',
  [DRIVER_NOT_LOADED]: 'driver-not-loaded',
  10: 'driver-timeout',
  13: 'no-symbol',
  14: 'corrupted-inforom',
  [GPU_IS_LOST]: 'gpu-lost',
  [RESET_REQUIRED]: 'reset-required',
  17: 'operating-system',
  [LIBRARY_MISMATCH]: 'library-mismatch',
  20: 'out-of-memory',
  21: 'no-data',
  25: 'version-mismatch',
  27: 'not-ready',
  999: 'unknown',
});

const CLOCK_EVENTS: readonly (readonly [bigint, string])[] = [
  [0x1n, 'idle'],
  [0x2n, 'application-clocks'],
  [0x4n, 'sw-power-cap'],
  [0x8n, 'hw-slowdown'],
  [0x10n, 'sync-boost'],
  [0x20n, 'sw-thermal'],
  [0x40n, 'hw-thermal'],
  [0x80n, 'power-brake'],
  [0x100n, 'display-clocks'],
];
const CLOCK_EVENTS_KNOWN = CLOCK_EVENTS.reduce((bits, [bit]) => bits | bit, 0n);

/** The driver below NVML has gone: nothing but a new start helps. */
export class NvmlGoneError extends Error {}

/** Short name of an nvmlReturn_t. */
export function reasonOf(status: number): string {
  return REASONS[status] ?? `nvml-${String(status)}`;
}

/** Handles by UUID, as they were found last. */
export type KnownHandles = Map<string, Handles>;

/**
 * Reads the given devices, or all that NVML knows.
 *
 * @param known handles of earlier readings; those that are found now are added
 * @throws {NvmlGoneError} when the driver has been unloaded or replaced
 */
export function readDevices(
  library: NvmlLibrary,
  devices: readonly NvmlDevice[] | null,
  known: KnownHandles,
): NvmlDeviceReading[] {
  return devices === null
    ? readAll(library)
    : devices.map((device) => {
        const found = knownDevice(library, device, known);
        return 'why' in found
          ? nothingRead(device.uuid, found.why)
          : readDevice(library, device.uuid, found.value);
      });
}

/** `whole`: the handle is of a GPU that is cut into MIG devices, ours being one of them. */
export interface Handles {
  readonly device: bigint;
  readonly chip: bigint;
  readonly whole: boolean;
}

function knownDevice(
  library: NvmlLibrary,
  device: NvmlDevice,
  known: KnownHandles,
): Outcome<Handles> {
  const found = findDevice(library, device);
  if ('value' in found) {
    known.set(device.uuid, found.value);
    return found;
  }
  if (found.why !== REASONS[GPU_IS_LOST]) return found;
  const before = known.get(device.uuid);
  return before === undefined ? { why: 'some-gpu-lost' } : { value: before };
}

/** By UUID, as a GPU's and as a MIG device's, then by PCI address; never by index. */
function findDevice(library: NvmlLibrary, { uuid, pciBusId }: NvmlDevice): Outcome<Handles> {
  const byText = (name: NvmlFunction, text: string): Outcome<bigint> =>
    handle(library, name, Buffer.from(`${text}\0`));
  const gpu = byText('nvmlDeviceGetHandleByUUID', uuid);
  if ('value' in gpu) return { value: ofGpu(library, gpu.value) };
  const mig = byText('nvmlDeviceGetHandleByUUID', uuid.replace(/^GPU-/u, 'MIG-'));
  if ('value' in mig) {
    const name = 'nvmlDeviceGetDeviceHandleFromMigDeviceHandle';
    const parent = handle(library, name, mig.value);
    const chip = 'value' in parent ? parent.value : mig.value;
    return { value: { device: mig.value, chip, whole: false } };
  }
  const slot = byText('nvmlDeviceGetHandleByPciBusId_v2', pciBusId);
  return 'value' in slot ? { value: ofGpu(library, slot.value) } : slot;
}

function ofGpu(library: NvmlLibrary, device: bigint): Handles {
  const current = new Uint32Array(1);
  const status = library.call('nvmlDeviceGetMigMode', device, current, new Uint32Array(1));
  return { device, chip: device, whole: status === SUCCESS && current[0] === 1 };
}

function handle(
  library: NvmlLibrary,
  name: NvmlFunction,
  key: ArrayBufferView | bigint | number,
): Outcome<bigint> {
  const out = new BigUint64Array(1);
  return checked(library.call(name, key, out), () => out[0] ?? null);
}

function readAll(library: NvmlLibrary): NvmlDeviceReading[] {
  const count = new Uint32Array(1);
  const counted = checked(library.call('nvmlDeviceGetCount_v2', count), () => count[0] ?? 0);
  if ('why' in counted) return [];
  return Array.from({ length: counted.value }, (_, index) => {
    const found = handle(library, 'nvmlDeviceGetHandleByIndex_v2', index);
    if ('why' in found) return nothingRead(`GPU-unknown-${String(index)}`, found.why);
    const uuid = text(library, 'nvmlDeviceGetUUID', found.value);
    return readDevice(library, uuid ?? `GPU-unknown-${String(index)}`, ofGpu(library, found.value));
  });
}

function readDevice(
  library: NvmlLibrary,
  uuid: string,
  { device, chip, whole }: Handles,
): NvmlDeviceReading {
  const unread: Partial<Record<NvmlMetric, string>> = {};
  const known = <T>(metric: NvmlMetric, outcome: Outcome<T>): T | null => {
    if ('value' in outcome) return outcome.value;
    unread[metric] = outcome.why;
    return null;
  };
  // Of a GPU that is cut up, these figures are about its other parts as well.
  const own = <T>(read: () => Outcome<T>): Outcome<T> => (whole ? { why: 'mig-parent' } : read());
  const memory = known(
    'memFreeBytes',
    own(() => readMemory(library, device)),
  );
  return {
    uuid,
    name: text(library, 'nvmlDeviceGetName', device),
    deviceClass: readClass(library, chip),
    memTotalBytes: memory?.total ?? null,
    memFreeBytes: memory?.free ?? null,
    utilizationPct: known(
      'utilizationPct',
      own(() => readUtilization(library, device)),
    ),
    temperatureC: known('temperatureC', readTemperature(library, chip)),
    powerWatts: known('powerWatts', readPower(library, chip)),
    clockEvents: known('clockEvents', readClockEvents(library, chip)),
    eccErrors: known('eccErrors', readEccErrors(library, chip)),
    pcieGeneration: known('pcieGeneration', readPcieGeneration(library, chip)),
    unread,
  };
}

function readUtilization(library: NvmlLibrary, device: bigint): Outcome<number> {
  // The second figure is the share of time in which memory was accessed, not how full it is.
  const rates = new Uint32Array(2);
  return checked(library.call('nvmlDeviceGetUtilizationRates', device, rates), () =>
    within(rates[0], 100),
  );
}

interface Memory {
  readonly total: number;
  readonly free: number;
}

function readMemory(library: NvmlLibrary, device: bigint): Outcome<Memory> {
  const memory = (total: bigint, free: bigint): Memory | null =>
    total > 0n && free <= total && total <= BigInt(Number.MAX_SAFE_INTEGER)
      ? { total: Number(total), free: Number(free) }
      : null;
  return firstOf(
    () => {
      const view = new DataView(new ArrayBuffer(40));
      view.setUint32(0, MEMORY_V2, true);
      return checked(library.call('nvmlDeviceGetMemoryInfo_v2', device, view), () =>
        memory(view.getBigUint64(8, true), view.getBigUint64(24, true)),
      );
    },
    () => {
      const words = new BigUint64Array(3);
      return checked(library.call('nvmlDeviceGetMemoryInfo', device, words), () =>
        memory(words[0] ?? 0n, words[1] ?? 0n),
      );
    },
  );
}

function readTemperature(library: NvmlLibrary, device: bigint): Outcome<number> {
  return firstOf(
    () => {
      const celsius = new Uint32Array(1);
      return checked(library.call('nvmlDeviceGetTemperature', device, SENSOR_GPU, celsius), () =>
        within(celsius[0], CELSIUS_MAX),
      );
    },
    () => {
      const versioned = new Int32Array([TEMPERATURE_V1, SENSOR_GPU, 0]);
      return checked(library.call('nvmlDeviceGetTemperatureV', device, versioned), () =>
        within(versioned[2], CELSIUS_MAX),
      );
    },
  );
}

function readPower(library: NvmlLibrary, device: bigint): Outcome<number> {
  const milliwatts = new Uint32Array(1);
  return checked(library.call('nvmlDeviceGetPowerUsage', device, milliwatts), () =>
    within(Math.round((milliwatts[0] ?? 0) / 1_000), WATTS_MAX),
  );
}

/** The second name is what drivers before 2023 call it. */
function readClockEvents(library: NvmlLibrary, device: bigint): Outcome<readonly string[]> {
  const read = (name: NvmlFunction) => (): Outcome<readonly string[]> => {
    const bits = new BigUint64Array(1);
    return checked(library.call(name, device, bits), () => clockEventsOf(bits[0] ?? 0n));
  };
  return firstOf(
    read('nvmlDeviceGetCurrentClocksEventReasons'),
    read('nvmlDeviceGetCurrentClocksThrottleReasons'),
  );
}

function clockEventsOf(bits: bigint): readonly string[] {
  const names = CLOCK_EVENTS.filter(([bit]) => (bits & bit) !== 0n).map(([, name]) => name);
  return (bits & ~CLOCK_EVENTS_KNOWN) === 0n ? names : [...names, 'other'];
}

function readEccErrors(library: NvmlLibrary, device: bigint): Outcome<number> {
  const count = new BigUint64Array(1);
  return checked(
    library.call(
      'nvmlDeviceGetTotalEccErrors',
      device,
      ERRORS_UNCORRECTED,
      COUNTER_VOLATILE,
      count,
    ),
    () => within(Number(count[0]), Number.MAX_SAFE_INTEGER),
  );
}

function readPcieGeneration(library: NvmlLibrary, device: bigint): Outcome<number> {
  const generation = new Uint32Array(1);
  return checked(library.call('nvmlDeviceGetCurrPcieLinkGeneration', device, generation), () =>
    within(generation[0], 99),
  );
}

function readClass(library: NvmlLibrary, device: bigint): string | null {
  const [major, minor] = [new Int32Array(1), new Int32Array(1)];
  const status = library.call('nvmlDeviceGetCudaComputeCapability', device, major, minor);
  return status === SUCCESS ? gpuClassOf(10 * (major[0] ?? 0) + (minor[0] ?? 0)) : null;
}

function text(library: NvmlLibrary, name: NvmlFunction, device: bigint): string | null {
  const bytes = Buffer.alloc(TEXT_BYTES);
  if (library.call(name, device, bytes, TEXT_BYTES) !== SUCCESS) return null;
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? TEXT_BYTES : end);
}

/** The first way that works; if none does, why the first did not that the library has at all. */
function firstOf<T>(...ways: readonly (() => Outcome<T>)[]): Outcome<T> {
  let failure: { readonly why: string } | null = null;
  for (const way of ways) {
    const outcome = way();
    if ('value' in outcome) return outcome;
    if (failure === null || failure.why === 'no-symbol') failure = outcome;
  }
  return failure ?? { why: 'no-symbol' };
}

function checked<T>(status: number, value: () => T | null): Outcome<T> {
  if (status === UNINITIALIZED || status === DRIVER_NOT_LOADED || status === LIBRARY_MISMATCH) {
    throw new NvmlGoneError(`NVML lost its driver: ${reasonOf(status)}`);
  }
  if (status !== SUCCESS) return { why: reasonOf(status) };
  const found = value();
  return found === null ? { why: 'out-of-range' } : { value: found };
}

function within(value: number | undefined, max: number): number | null {
  return value !== undefined && Number.isInteger(value) && value >= 0 && value <= max
    ? value
    : null;
}
