// Owns the verdict on variants: each one that this host can run is held against answers that were
// computed with exact rationals; those for GPUs on the device that is named.
import { isEngineError } from '../../core/index.ts';
import { discoverGpus } from '../../executor/index.ts';
import {
  openDeviceLibrary,
  openKernels,
  verifyVariant,
  type ConformanceFailure,
  type KernelLibrary,
} from '../../native/index.ts';
import type { VariantSpec } from '../../registry/index.ts';
import { CliError } from '../errors.ts';

export interface Verdict {
  readonly variant: string;
  /** `skipped`: this host cannot run it, or the corpus does not ask for it alone. */
  readonly state: 'agrees' | 'wrong' | 'skipped';
  readonly why: string | null;
  readonly checked: {
    readonly orientation: number;
    readonly points: number;
    readonly sums: number;
  };
  readonly failed: number;
  /** The first of them. */
  readonly failures: readonly ConformanceFailure[];
}

const NOTHING = { orientation: 0, points: 0, sums: 0 };

/** Where variants for GPUs are verified; null: nowhere. */
export interface VerifyDevice {
  /** `GPU-…`, or the beginning of it that names one device only. */
  readonly deviceId: string;
  readonly imagesDir: string;
}

/** Verifies variants one after the other; `note` hears which one it is at. */
export async function verifyVariants(
  variants: readonly VariantSpec[],
  corpus: string,
  device: VerifyDevice | null,
  note: (message: string) => void,
): Promise<Verdict[]> {
  const cpu = openKernels();
  const opened = device === null ? null : await openOn(device);
  try {
    const verdicts: Verdict[] = [];
    for (const variant of variants) {
      const library = variant.library === 'cuda' ? (opened?.library ?? null) : cpu;
      const why = whyNot(variant, cpu.isa, opened !== null);
      if (why !== null || library === null) {
        verdicts.push({
          ...{ variant: variant.id, state: 'skipped', why },
          ...{ checked: NOTHING, failed: 0, failures: [] },
        });
        continue;
      }
      note(`verifying ${variant.id}`);
      const report = await verifyVariant(library, variant, corpus).catch((error: unknown) => {
        throw explainCorpus(corpus, error);
      });
      verdicts.push({ ...report, state: report.failed === 0 ? 'agrees' : 'wrong', why: null });
    }
    return verdicts;
  } finally {
    opened?.close();
  }
}

interface OpenedDevice {
  readonly library: KernelLibrary;
  readonly close: () => void;
}

/** Opens the device in this process, which is a command's and short. */
async function openOn({ deviceId, imagesDir }: VerifyDevice): Promise<OpenedDevice> {
  const { gpus, problem } = await discoverGpus();
  const found = gpus.filter(({ uuid }) => uuid.startsWith(deviceId));
  const [gpu] = found;
  if (gpu === undefined || found.length > 1) {
    const known = gpus.map(({ uuid }) => uuid).join(', ');
    const got = found.length > 1 ? `the beginning of ${String(found.length)}` : deviceId;
    throw new CliError(
      'CLI_USAGE',
      `device ${deviceId} is not one of this machine: expected ${known === '' ? `a GPU (${problem ?? 'none'})` : `one of ${known}`}, got ${got}; see tileloom device list`,
    );
  }
  const library = openDeviceLibrary();
  const device = library.openDevice({ ordinal: gpu.ordinal, cacheDir: imagesDir });
  return { library, close: () => device.close() };
}

/** A corpus that is not there, or whose lines are no JSON, is the user's to put right. */
function explainCorpus(corpus: string, error: unknown): unknown {
  const missing = isEngineError(error) && error.code === 'IO_ERROR';
  if (!missing && !(error instanceof SyntaxError)) {
    return error;
  }
  return new CliError(
    'CLI_FILE_UNREADABLE',
    `corpus ${corpus} cannot be read: expected orientation.jsonl, point-in-polygon.jsonl and ` +
      `sums.jsonl, got ${error.message}; name another with --corpus`,
    { details: { corpus }, cause: error },
  );
}

function whyNot(variant: VariantSpec, isa: readonly string[], hasDevice: boolean): string | null {
  if (variant.library === 'cuda' && !hasDevice) {
    return 'needs a GPU: name one with --device';
  }
  if (variant.library === 'external') {
    return 'needs the external library';
  }
  if (variant.operation !== 'assign') {
    return 'its sums are checked with every assign variant';
  }
  const lacking = variant.isa.filter((name) => !isa.includes(name));
  return lacking.length === 0 ? null : `this host lacks ${lacking.join(', ')}`;
}
