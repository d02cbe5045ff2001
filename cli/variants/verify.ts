// Owns the verdict on variants: each one that this host can run is held against answers that were
// computed with exact rationals.
import { isEngineError } from '../../core/index.ts';
import { openKernels, verifyVariant, type ConformanceFailure } from '../../native/index.ts';
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

/** Verifies variants one after the other; `note` hears which one it is at. */
export async function verifyVariants(
  variants: readonly VariantSpec[],
  corpus: string,
  note: (message: string) => void,
): Promise<Verdict[]> {
  const library = openKernels();
  const verdicts: Verdict[] = [];
  for (const variant of variants) {
    const why = whyNot(variant, library.isa);
    if (why !== null) {
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

function whyNot(variant: VariantSpec, isa: readonly string[]): string | null {
  if (variant.library !== 'cpu') {
    return `needs the ${variant.library} library`;
  }
  if (variant.operation !== 'assign') {
    return 'its sums are checked with every assign variant';
  }
  const lacking = variant.isa.filter((name) => !isa.includes(name));
  return lacking.length === 0 ? null : `this host lacks ${lacking.join(', ')}`;
}
