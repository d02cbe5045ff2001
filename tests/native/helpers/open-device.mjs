// Opens device 0 of the built package in a process of its own: prints `opening`, then one line of
// JSON with what was told or thrown, and how long opening took without the start of the process.
import { performance } from 'node:perf_hooks';
import { openDeviceLibrary } from '../../../dist/native/index.js';

const [cacheDir] = process.argv.slice(2);
process.stdout.write('opening\n');
const library = openDeviceLibrary();
const started = performance.now();
try {
  const device = library.openDevice({ ordinal: 0, slots: 1, cacheDir: cacheDir ?? null });
  const openMs = performance.now() - started;
  process.stdout.write(`${JSON.stringify({ ...device.info, openMs })}\n`);
  device.close();
} catch (error) {
  const openMs = performance.now() - started;
  process.stdout.write(`${JSON.stringify({ code: error.code, message: error.message, openMs })}\n`);
}
