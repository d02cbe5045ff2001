// Owns the collection of findings: everything is counted, samples are bounded, all errors of a layer are
// reported at once.
import { LayerError, type LayerFinding, type LayerFindingCode } from './errors.ts';

/** Features listed per code; the rest is summed up in one finding. */
const SAMPLES_PER_CODE = 20;
const LISTED_IN_MESSAGE = 8;

const WARNINGS: ReadonlySet<LayerFindingCode> = new Set<LayerFindingCode>([
  'LAYER_GEOMETRY_EMPTY',
  'LAYER_RING_ZERO_AREA',
  'LAYER_RING_SELF_INTERSECTS',
  'LAYER_RING_SELF_TOUCHES',
  'LAYER_RING_SPANS_WORLD',
  'LAYER_ANTIMERIDIAN_SPLIT',
  'LAYER_EVEN_ODD_DIFFERS',
  'LAYER_BORDER_UNMATCHED',
  'LAYER_CHECK_INCOMPLETE',
]);

interface CodeTally {
  readonly samples: Map<string | null, { count: number; message: string }>;
  readonly others: Set<string | null>;
  total: number;
}

export class Findings {
  readonly #tallies = new Map<LayerFindingCode, CodeTally>();
  errors = 0;

  /** @param message begins with what is wrong; the feature's id is put before it */
  add(code: LayerFindingCode, feature: string | null, message: string, count = 1): void {
    let tally = this.#tallies.get(code);
    if (tally === undefined) {
      tally = { samples: new Map(), others: new Set(), total: 0 };
      this.#tallies.set(code, tally);
    }
    tally.total += count;
    if (!WARNINGS.has(code)) this.errors += count;
    const sample = tally.samples.get(feature);
    if (sample !== undefined) sample.count += count;
    else if (tally.samples.size < SAMPLES_PER_CODE) tally.samples.set(feature, { count, message });
    else tally.others.add(feature);
  }

  /** All findings of one severity, by code, then in order of appearance. */
  list(severity: LayerFinding['severity']): LayerFinding[] {
    const found: LayerFinding[] = [];
    for (const code of [...this.#tallies.keys()].toSorted()) {
      const tally = this.#tallies.get(code);
      if (tally === undefined || WARNINGS.has(code) !== (severity === 'warning')) continue;
      let listed = 0;
      for (const [feature, { count, message }] of tally.samples) {
        const subject = feature === null ? '' : `feature ${feature}: `;
        found.push({ code, severity, feature, count, message: `${subject}${message}` });
        listed += count;
      }
      if (tally.others.size > 0) {
        const message = `and ${tally.others.size} more features (${tally.total} in all)`;
        found.push({ code, severity, feature: null, count: tally.total - listed, message });
      }
    }
    return found;
  }

  /** @throws {LayerError} `LAYER_INVALID` with every error, if there is one */
  throwIfErrors(path: string): void {
    const findings = this.list('error');
    if (findings.length === 0) return;
    const totals = new Map<string, number>();
    for (const { code, count } of findings) totals.set(code, (totals.get(code) ?? 0) + count);
    const summary = [...totals].map(([code, count]) => `${code} × ${count}`).join(', ');
    const shown = findings.slice(0, LISTED_IN_MESSAGE).map(({ message }) => `\n  ${message}`);
    const rest = findings.length - shown.length;
    throw new LayerError(
      'LAYER_INVALID',
      `${path} is not a valid layer: expected no errors, got ${summary}; correct these features:` +
        shown.join('') +
        (rest > 0 ? `\n  … and ${rest} more findings` : ''),
      { findings, details: { path, ...Object.fromEntries(totals) } },
    );
  }
}
