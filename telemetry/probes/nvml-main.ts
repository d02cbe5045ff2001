// Owns the NVML child process: it loads the library, answers readings one after the other, and ends with
// its parent (death signal, closed channel). A driver that hangs, hangs here only.
import { NvmlGoneError, readDevices, reasonOf, type KnownHandles } from './nvml-devices.ts';
import { dieWithParent, messageOf, openNvml, type NvmlLibrary } from './nvml-library.ts';
import type { FromNvml, ToNvml } from './nvml-messages.ts';

function main(): void {
  process.on('disconnect', () => process.exit(0));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
  dieWithParent(Number(process.argv[2]));
  let library: NvmlLibrary;
  try {
    library = openNvml();
  } catch (error) {
    end({ kind: 'unusable', lasting: true, reason: messageOf(error) });
    return;
  }
  const status = library.call('nvmlInit_v2');
  if (status !== 0) {
    end({ kind: 'unusable', lasting: false, reason: `NVML did not start: ${reasonOf(status)}` });
    return;
  }
  const known: KnownHandles = new Map();
  process.on('message', ({ id, devices }: ToNvml) => {
    try {
      process.send?.({ kind: 'reading', id, devices: readDevices(library, devices, known) });
    } catch (error) {
      if (!(error instanceof NvmlGoneError)) throw error;
      end({ kind: 'unusable', lasting: false, reason: error.message });
    }
  });
  process.send?.({ kind: 'ready' } satisfies FromNvml);
}

/** Ends once the message is on its way. */
function end(message: FromNvml): void {
  process.send?.(message, () => process.exit(0));
}

main();
