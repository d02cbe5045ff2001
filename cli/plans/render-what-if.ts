// Owns a what-if for people: what would change, the totals, and how far they may be trusted.
import { formatBytes, formatCount, formatDuration, formatFacts } from '../format.ts';
import { renderReasons } from './differences.ts';
import { describeError, type PredictionError } from './prediction-error.ts';
import type { Choice, WhatIfItem, WhatIfTotals } from './what-if-report.ts';

/** Renders a what-if. */
export function renderWhatIf(
  runId: string,
  totals: WhatIfTotals,
  error: PredictionError | null,
  changed: readonly WhatIfItem[],
): string {
  const parts = [summary(runId, totals), ...bands(changed).map(renderBand)];
  if (totals.changed > changed.length) {
    parts.push(`… and ${formatCount(totals.changed - changed.length)} more; see -o jsonl`);
  }
  parts.push(
    `totals of the ${formatCount(totals.chunks)} chunks that ran\n${renderTotals(totals)}`,
  );
  parts.push(
    `How good is this: ${describeError(error)}.\n` +
      'The reservations and the speeds that the run had measured are as recorded; a run that had gone ' +
      'this way would have measured others.',
  );
  return parts.join('\n\n');
}

function summary(runId: string, totals: WhatIfTotals): string {
  const fields = Object.entries(totals.changedFields).map(
    ([field, count]) => `${field} ${formatCount(count)}`,
  );
  const which = fields.length === 0 ? '' : ` (${fields.join(', ')})`;
  return (
    `${formatCount(totals.changed)} of ${formatCount(totals.plans)} plans of run ${runId} ` +
    `would change${which}`
  );
}

interface Band {
  readonly first: WhatIfItem;
  readonly last: WhatIfItem;
  readonly count: number;
  readonly secondsBefore: number;
  readonly secondsAfter: number;
  readonly secondsMeasured: number;
}

/** Neighbours that change from and to the same are shown once, with the reasons of the first. */
function bands(items: readonly WhatIfItem[]): readonly Band[] {
  const found: Band[] = [];
  for (const item of items) {
    const band = found.at(-1);
    if (band !== undefined && isAlike(band.first, item)) {
      found.splice(-1, 1, grown(band, item));
    } else {
      found.push(grown({ ...EMPTY, first: item, last: item }, item));
    }
  }
  return found;
}

const EMPTY = { count: 0, secondsBefore: 0, secondsAfter: 0, secondsMeasured: 0 };

function grown(band: Band, item: WhatIfItem): Band {
  return {
    first: band.first,
    last: item,
    count: band.count + 1,
    secondsBefore: band.secondsBefore + (item.secondsBefore ?? 0),
    secondsAfter: band.secondsAfter + (item.secondsAfter ?? 0),
    secondsMeasured: band.secondsMeasured + (item.secondsMeasured ?? 0),
  };
}

function isAlike(left: WhatIfItem, right: WhatIfItem): boolean {
  const key = ({ shard, before, after, refusedAfter, refusedBefore }: WhatIfItem): string =>
    JSON.stringify([shard, named(before, refusedBefore), named(after, refusedAfter)]);
  return key(left) === key(right);
}

function renderBand({ first, last, count, ...seconds }: Band): string {
  const place = `${String(first.shard)}/${String(first.chunk)}`;
  const chunks = count === 1 ? `chunk ${place}` : `chunks ${place}-${String(last.chunk)}`;
  const head =
    `${chunks}: ${named(first.before, first.refusedBefore)} → ` +
    named(first.after, first.refusedAfter);
  const after = first.refusedAfter === null ? formatDuration(seconds.secondsAfter) : 'nothing';
  const scaled = first.scaled ? ' (scaled to the rows that they had)' : '';
  const facts =
    `  predicted ${formatDuration(seconds.secondsBefore)} → ${after}${scaled}, ` +
    `measured ${formatDuration(seconds.secondsMeasured)}`;
  const reasons = renderReasons(first.reasonsBefore, first.reasonsAfter, 'recorded', 'what if');
  return [head, facts, reasons].join('\n');
}

function named(choice: Choice | null, refused: string | null): string {
  return choice === null
    ? `refused (${refused ?? 'no answer'})`
    : `${choice.variant} ${choice.precision} on ${choice.deviceId}, ` +
        `${formatCount(choice.chunkTiles)} tile(s)`;
}

function renderTotals(totals: WhatIfTotals): string {
  const facts: [string, string][] = [
    [
      'seconds',
      `${formatDuration(totals.secondsBefore)} predicted as recorded, ` +
        `${formatDuration(totals.secondsAfter)} predicted what if, ` +
        `${formatDuration(totals.secondsMeasured)} measured (device work, one chunk after the other)`,
    ],
    [
      'peak memory',
      `${formatBytes(totals.peakBytesBefore)} predicted as recorded, ` +
        `${formatBytes(totals.peakBytesAfter)} predicted what if, ` +
        `${formatBytes(totals.peakBytesMeasured)} measured`,
    ],
  ];
  if (totals.scaled > 0) {
    facts.push([
      'scaled',
      `${formatCount(totals.scaled)} chunk(s) would have had another size: their predictions are ` +
        'scaled to the rows they had, fixed costs of each chunk included',
    ]);
  }
  if (totals.refused > 0) {
    facts.push([
      'refused',
      `${formatCount(totals.refused)} chunk(s) would have no plan and are left out of the seconds ` +
        `what if; the others were predicted ${formatDuration(totals.secondsBeforeComparable)}`,
    ]);
  }
  return formatFacts(facts);
}
