// Owns the NVML child's contact with C, through koffi. Only nvml-main.ts imports it: the worker process
// loads no library of a driver.
//
// I1. Calls are synchronous: the child has nothing else to do, and who waits for it has a time limit.
// I2. A function that the library lacks answers FUNCTION_NOT_FOUND, as the library itself might.
import { existsSync } from 'node:fs';
import koffi from 'koffi';
import { NVML_LIBRARY, NVML_PATHS } from './nvml-paths.ts';

/** Parameters of the functions in use, as in nvml.h; pointers are given as memory or as a handle. */
const PARAMETERS = Object.freeze({
  nvmlInit_v2: 'void',
  nvmlDeviceGetCount_v2: 'void *count',
  nvmlDeviceGetHandleByIndex_v2: 'uint32_t index, void *device',
  nvmlDeviceGetHandleByUUID: 'void *uuid, void *device',
  nvmlDeviceGetHandleByPciBusId_v2: 'void *bus_id, void *device',
  nvmlDeviceGetDeviceHandleFromMigDeviceHandle: 'void *mig_device, void *device',
  nvmlDeviceGetMigMode: 'void *device, void *current, void *pending',
  nvmlDeviceGetUUID: 'void *device, void *text, uint32_t length',
  nvmlDeviceGetName: 'void *device, void *text, uint32_t length',
  nvmlDeviceGetCudaComputeCapability: 'void *device, void *major, void *minor',
  nvmlDeviceGetUtilizationRates: 'void *device, void *rates',
  nvmlDeviceGetMemoryInfo_v2: 'void *device, void *memory',
  nvmlDeviceGetMemoryInfo: 'void *device, void *memory',
  nvmlDeviceGetTemperature: 'void *device, uint32_t sensor, void *celsius',
  nvmlDeviceGetTemperatureV: 'void *device, void *temperature',
  nvmlDeviceGetPowerUsage: 'void *device, void *milliwatts',
  nvmlDeviceGetCurrentClocksEventReasons: 'void *device, void *bits',
  nvmlDeviceGetCurrentClocksThrottleReasons: 'void *device, void *bits',
  nvmlDeviceGetTotalEccErrors: 'void *device, uint32_t type, uint32_t counter, void *count',
  nvmlDeviceGetCurrPcieLinkGeneration: 'void *device, void *generation',
} as const);

export type NvmlFunction = keyof typeof PARAMETERS;
export type NvmlArgument = ArrayBufferView | bigint | number;

export interface NvmlLibrary {
  /** @returns an nvmlReturn_t; 0 is success */
  call(name: NvmlFunction, ...args: NvmlArgument[]): number;
}

const FUNCTION_NOT_FOUND = 13;
const SET_PARENT_DEATH_SIGNAL = 1;
const SIGKILL = 9;

/**
 * Opens the library: the one that TILELOOM_NVML names, or the first that loads.
 *
 * @throws {Error} that says in a few words what was looked for
 */
export function openNvml(named = process.env['TILELOOM_NVML']): NvmlLibrary {
  const isNamed = named !== undefined && named !== '';
  // The system finds the plain name by its own search path, whether or not we can see the file.
  const candidates = isNamed ? [named] : [NVML_LIBRARY, ...NVML_PATHS];
  let unusable: string | null = null;
  for (const path of candidates) {
    try {
      return wrap(koffi.load(path));
    } catch (error) {
      if (existsSync(path)) unusable ??= `${path} cannot be loaded: ${messageOf(error)}`;
    }
  }
  const sought = isNamed ? `${named} on this host (TILELOOM_NVML)` : `${NVML_LIBRARY} on this host`;
  throw new Error(unusable ?? `no ${sought}`);
}

/** The kernel kills this process when its parent dies, even while a driver holds it. */
export function dieWithParent(parent: number): void {
  const prctl = koffi
    .load(null)
    .func(
      'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
    );
  prctl(SET_PARENT_DEATH_SIGNAL, SIGKILL, 0, 0, 0);
  if (process.ppid !== parent) process.exit(0);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function wrap(library: ReturnType<typeof koffi.load>): NvmlLibrary {
  type Native = ReturnType<typeof library.func>;
  const functions = new Map<NvmlFunction, Native | null>();
  const find = (name: NvmlFunction): Native | null => {
    const known = functions.get(name);
    if (known !== undefined) return known;
    let found: Native | null;
    try {
      found = library.func(`int ${name}(${PARAMETERS[name]})`);
    } catch {
      found = null;
    }
    functions.set(name, found);
    return found;
  };
  return {
    call(name, ...args) {
      const found = find(name);
      return found === null ? FUNCTION_NOT_FOUND : (found(...args) as number);
    },
  };
}
