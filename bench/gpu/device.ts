// Owns the one device of the process: opening it, saying what is missing, and telling a fake from a
// real one.
// I1 a fake is recognised by the files that this process has opened, whatever they are called, and not by
//    what the driver says of itself alone.
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  NativeError,
  openDeviceLibrary,
  openDeviceMeasure,
  openKernels,
  type DeviceLibrary,
  type DeviceMeasure,
  type GpuEntry,
  type KernelLibrary,
  type OpenDevice,
  type OpenDeviceOptions,
} from '../../native/index.ts';
import type { Place } from './place.ts';

/** Something the host lacks: exit status 4. */
export class Missing extends Error {}

/** What is not done on purpose: exit status 1, without a stack. */
export class Refused extends Error {}

export interface Libraries {
  readonly device: DeviceLibrary;
  readonly measure: DeviceMeasure;
  readonly cpu: KernelLibrary;
}

/** Loads both libraries; no device is needed for that. */
export function openLibraries(place: Place): Libraries {
  const path = join(place.libraries, 'libtileloom_cuda.so');
  try {
    return {
      device: openDeviceLibrary({ path }),
      measure: openDeviceMeasure({ path }),
      cpu: openKernels({ path: join(place.libraries, 'libtileloom_cpu.so') }),
    };
  } catch (error) {
    throw asMissing(error);
  }
}

/** The device of a given number in the driver's order. */
export function findDevice(libraries: Libraries, ordinal: number): GpuEntry {
  let found: readonly GpuEntry[];
  try {
    found = libraries.device.listDevices().gpus;
  } catch (error) {
    throw asMissing(error);
  }
  const entry = found[ordinal];
  if (entry === undefined) {
    throw new Missing(`device ${ordinal} is missing: the driver knows ${found.length}`);
  }
  return entry;
}

export function openDevice(libraries: Libraries, options: OpenDeviceOptions): OpenDevice {
  try {
    return libraries.device.openDevice(options);
  } catch (error) {
    throw asMissing(error);
  }
}

const MISSING_CODES: readonly string[] = [
  'DEVICE_MISSING',
  'IMAGE_UNUSABLE',
  'LIBRARY_MISSING',
  'LIBRARY_UNUSABLE',
];

function asMissing(error: unknown): unknown {
  const missing = error instanceof NativeError && MISSING_CODES.includes(error.code);
  return missing ? new Missing(`${error.code}: ${error.message}`, { cause: error }) : error;
}

/** Stands in the file of the fake driver: the variable that names its control file. */
const FAKE_MARK = 'TILELOOM_FAKE_CUDA';

/** Why the driver is a fake, or null. Certain only once the driver is open, as listing devices does. */
export function fakeReason(entry: Pick<GpuEntry, 'name'>): string | null {
  if (/\bfake\b/iu.test(entry.name)) {
    return `the device calls itself "${entry.name}"`;
  }
  const path = [...namedDriver(), ...mappedCode()].find(isFake);
  return path === undefined ? null : `the driver ${path} is the fake of the tests`;
}

/** A name without a slash is searched for by the dynamic linker; what it finds is mapped. */
function namedDriver(): readonly string[] {
  const path = process.env['TILELOOM_CUDA_DRIVER'] ?? '';
  return path.includes('/') ? [path] : [];
}

/** Files whose code this process has mapped: the driver, and whatever it is linked with. */
function mappedCode(): readonly string[] {
  const maps = readFileSync('/proc/self/maps', 'utf8');
  const paths = [...maps.matchAll(/^\S+ ..x\S* \S+ \S+ \S+ +(\/.+)$/gmu)].map(
    ([, one = '']) => one,
  );
  return [...new Set(paths)].filter((path) => path !== process.execPath);
}

function isFake(path: string): boolean {
  try {
    return statSync(path).isFile() && readFileSync(path).includes(FAKE_MARK);
  } catch {
    // Nothing was opened from a file that is not there.
    return false;
  }
}
