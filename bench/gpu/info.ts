// Owns what is known of the machine: processor, devices, driver, clocks, tools.
// Clocks come from nvidia-smi, NVML's own command: it is installed with the driver.
import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { NativeError, type GpuListing } from '../../native/index.ts';
import { fakeReason, Missing, openLibraries } from './device.ts';
import type { Place } from './place.ts';
import { findSanitizer } from './sanitizer.ts';

export interface HostFacts {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly node: string;
  readonly glibc: string;
}

/** Readings of one GPU; null where nvidia-smi does not tell. */
export interface ClockReading {
  readonly smMhz: number | null;
  readonly memoryMhz: number | null;
  readonly smMhzMax: number | null;
  readonly memoryMhzMax: number | null;
  readonly powerWatts: number | null;
  readonly temperatureC: number | null;
}

export function hostFacts(): HostFacts {
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    node: process.version,
    glibc: report.header?.glibcVersionRuntime ?? 'unknown',
  };
}

const FIELDS = [
  'clocks.sm',
  'clocks.mem',
  'clocks.max.sm',
  'clocks.max.mem',
  'power.draw',
  'temperature.gpu',
];

/** Reads clocks now, of the device with this UUID, or null with the reason. */
export function readClocks(uuid: string): ClockReading | { readonly unread: string } {
  try {
    const words = [`--query-gpu=${FIELDS.join(',')}`, '--format=csv,noheader,nounits', '-i', uuid];
    const line = execFileSync('nvidia-smi', words, {
      ...{ encoding: 'utf8', timeout: 10_000, stdio: ['ignore', 'pipe', 'ignore'] },
    });
    const values = line.trim().split(/,\s*/u).map(Number);
    const at = (index: number): number | null => {
      const value = values[index] ?? Number.NaN;
      return Number.isFinite(value) ? value : null;
    };
    return {
      ...{ smMhz: at(0), memoryMhz: at(1), smMhzMax: at(2), memoryMhzMax: at(3) },
      ...{ powerWatts: at(4), temperatureC: at(5) },
    };
  } catch (error) {
    return { unread: `nvidia-smi: ${(error as Error).message.split('\n')[0]}` };
  }
}

/** Prints what a reader of a failed run would ask for. Never fails for what is missing. */
export function printInfo(place: Place): void {
  const say = (name: string, value: string): void =>
    void process.stdout.write(`${name.padEnd(16)} ${value}\n`);
  const host = hostFacts();
  say('tileloom', `${place.pack?.version ?? 'checkout'}, commit ${place.commit}`);
  say('host', `${host.cpu}, ${host.cores} cores, ${(host.memoryBytes / 2 ** 30).toFixed(0)} GiB`);
  say('node, glibc', `${host.node}, ${host.glibc}`);
  say('sanitizer', findSanitizer() ?? 'not present');
  try {
    const libraries = openLibraries(place);
    say('libraries', place.libraries);
    say('kernel sources', libraries.device.sourcesDigest);
    printListing(libraries.device.listDevices(), say);
  } catch (error) {
    if (!(error instanceof Missing) && !(error instanceof NativeError)) throw error;
    say('missing', error.message);
  }
}

function printListing(listing: GpuListing, say: (name: string, value: string) => void): void {
  say('driver', `CUDA ${listing.driverVersion}`);
  for (const gpu of listing.gpus) {
    const memory = `${(gpu.memTotalBytes / 2 ** 30).toFixed(0)} GiB`;
    say(`device ${gpu.ordinal}`, `${gpu.name}, sm_${gpu.capability}, ${memory}, ${gpu.uuid}`);
    const fake = fakeReason(gpu);
    if (fake !== null) say('', `FAKE: ${fake}; nothing here says anything about a device`);
  }
}
