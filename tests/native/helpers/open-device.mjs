// Opens device 0 of the built package in a process of its own: prints `opening`, then one line of
// JSON with what was told or thrown.
import { openDeviceLibrary } from '../../../dist/native/index.js';

const [cacheDir] = process.argv.slice(2);
process.stdout.write('opening\n');
try {
  const library = openDeviceLibrary();
  const device = library.openDevice({ ordinal: 0, slots: 1, cacheDir: cacheDir ?? null });
  process.stdout.write(`${JSON.stringify(device.info)}\n`);
  device.close();
} catch (error) {
  process.stdout.write(`${JSON.stringify({ code: error.code, message: error.message })}\n`);
}
