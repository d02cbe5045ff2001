// Owns the short-lived process that asks the driver about GPUs, so that a driver which hangs or crashes
// takes nothing else with it. It prints one JSON line: a DiscoveryAnswer.
import { isEngineError } from '../core/index.ts';
import { openDeviceLibrary, type DeviceLibrary } from '../native/index.ts';
import type { DiscoveryAnswer, DiscoveryRequest } from './discover.ts';

function answer({ open }: DiscoveryRequest): DiscoveryAnswer {
  let library: DeviceLibrary;
  try {
    library = openDeviceLibrary();
    library.dieWithParent();
    if (open === null) return { kind: 'listing', listing: library.listDevices() };
    const device = library.openDevice({ ordinal: open.ordinal, cacheDir: open.imagesDir });
    device.close();
    return { kind: 'opened', info: device.info };
  } catch (error) {
    if (!isEngineError(error)) throw error;
    const { code, message } = error;
    return { kind: 'refused', code, message };
  }
}

const request = JSON.parse(process.argv[2] ?? '{"open":null}') as DiscoveryRequest;
process.stdout.write(`${JSON.stringify(answer(request))}\n`);
