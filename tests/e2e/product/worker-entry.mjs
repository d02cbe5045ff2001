// A worker process of the built product for tests: options as JSON in argv, READY on stdout, a clean
// end on SIGTERM. Killing it is the point of many tests.
import { connectionSettings } from '../../../dist/server/index.js';
import { startWorker } from '../../../dist/worker/index.js';

const options = JSON.parse(process.argv[2]);
const settings = await connectionSettings({ startEmbedded: false, report: () => undefined });
const worker = await startWorker({ settings, ...options });
process.on('SIGTERM', () => void worker.shutdown().then(() => process.exit(0)));
process.stdout.write('READY\n');
await worker.run();
