// Owns what is known of the machine: processor, devices, driver, tools.
import { cpus, totalmem } from 'node:os';
import { NativeError, type GpuListing } from '../../native/index.ts';
import { fakeReason, Missing, openLibraries } from './device.ts';
import { readDriverRelease, type DriverRelease } from './nvidia-smi.ts';
import type { Place } from './place.ts';
import { findSanitizer } from './sanitizer.ts';

export interface HostFacts {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly node: string;
  readonly glibc: string;
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

/** Prints what a reader of a failed run would ask for. Never fails for what is missing. */
export async function printInfo(place: Place): Promise<void> {
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
    await printListing(libraries.device.listDevices(), say);
  } catch (error) {
    if (!(error instanceof Missing) && !(error instanceof NativeError)) throw error;
    say('missing', error.message);
  }
}

async function printListing(
  listing: GpuListing,
  say: (name: string, value: string) => void,
): Promise<void> {
  const [first] = listing.gpus;
  const driver = first === undefined ? null : await readDriverRelease(first.uuid);
  say('driver', `CUDA ${listing.driverVersion}${driver === null ? '' : `, ${textOf(driver)}`}`);
  for (const gpu of listing.gpus) {
    const bytes = gpu.memTotalBytes;
    const memory = bytes === null ? 'memory not told' : `${(bytes / 2 ** 30).toFixed(0)} GiB`;
    say(`device ${gpu.ordinal}`, `${gpu.name}, sm_${gpu.capability}, ${memory}, ${gpu.uuid}`);
    const fake = fakeReason(gpu);
    if (fake !== null) say('', `FAKE: ${fake}; nothing here says anything about a device`);
  }
}

const textOf = (driver: DriverRelease): string =>
  driver.release === null ? `release not known: ${driver.unread}` : `release ${driver.release}`;
