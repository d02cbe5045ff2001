// Owns `plan list`: a table over chunks, and the bands of chunks that ran the same variant.
import { chunkRows, streamRows, type ChunkRow } from '../history/chunks.ts';
import { formatBytes, formatCount, formatDuration, formatShort, formatTable } from '../format.ts';
import type { Output } from '../output.ts';
import type { PlanSource } from './source.ts';

const ITEM_SCHEMA = 'tileloom.cli.plan-list-item/1';

/** Consecutive chunks of a shard that ran one variant. */
export interface VariantBand {
  readonly shard: number;
  readonly variant: string;
  readonly firstChunk: number;
  readonly lastChunk: number;
  readonly chunks: number;
  readonly rows: number;
  readonly predictedSeconds: number;
  readonly workSeconds: number;
}

/** Prints the plans of a run; one line at a time in jsonl, however many there are. */
export async function listPlans(output: Output, source: PlanSource): Promise<void> {
  if (output.format === 'jsonl') {
    for await (const row of streamRows(source.lines())) {
      output.document(ITEM_SCHEMA, row, () => '');
    }
    return;
  }
  const rows = await chunkRows(source.lines());
  const bands = bandsOf(rows);
  output.document(
    'tileloom.cli.plan-list/1',
    { plans: rows, bands },
    () => `${renderRows(rows)}\n\nvariant bands\n${renderBands(bands)}`,
  );
}

/** Folds rows into bands; plans that were not executed belong to none. */
export function bandsOf(rows: readonly ChunkRow[]): readonly VariantBand[] {
  const bands: VariantBand[] = [];
  for (const row of rows) {
    if (row.variant === null || (row.state !== 'done' && row.state !== 'failed')) {
      continue;
    }
    const last = bands.at(-1);
    const goesOn = last?.shard === row.shard && last.variant === row.variant;
    const band = goesOn
      ? last
      : { ...EMPTY_BAND, shard: row.shard, variant: row.variant, firstChunk: row.chunk };
    const grown = {
      ...band,
      lastChunk: row.chunk,
      chunks: band.chunks + 1,
      rows: band.rows + (row.rows ?? 0),
      predictedSeconds: band.predictedSeconds + (row.predictedSeconds ?? 0),
      workSeconds: band.workSeconds + (row.workSeconds ?? 0),
    };
    bands.splice(goesOn ? -1 : bands.length, goesOn ? 1 : 0, grown);
  }
  return bands;
}

const EMPTY_BAND = { lastChunk: 0, chunks: 0, rows: 0, predictedSeconds: 0, workSeconds: 0 };

const HEADINGS = [
  ...['chunk', 'try', 'tiles', 'variant', 'device', 'state', 'rows', 'predicted', 'took', 'rows/s'],
  ...['peak', 'changed', 'pins', 'why'],
];

function renderRows(rows: readonly ChunkRow[]): string {
  return formatTable(
    HEADINGS,
    rows.map((row) => [
      `${String(row.shard)}/${String(row.chunk)}`,
      String(row.attempt),
      `${String(row.firstTile)}-${String(row.endTile - 1)}`,
      row.variant ?? '-',
      row.deviceId ?? '-',
      row.leasedFrom === null ? row.state : `${row.state} (plan of ${String(row.leasedFrom)})`,
      row.rows === null ? '-' : formatCount(row.rows),
      row.predictedSeconds === null ? '-' : formatDuration(row.predictedSeconds),
      row.workSeconds === null ? '-' : formatDuration(row.workSeconds),
      row.rowsPerSecond === null ? '-' : formatShort(row.rowsPerSecond),
      row.peakBytes === null ? '-' : formatBytes(row.peakBytes),
      row.changes.length === 0 ? '-' : row.changes.join(' '),
      row.pins.length === 0 ? '-' : row.pins.join(' '),
      row.failure ?? row.reasons.join(' '),
    ]),
  );
}

function renderBands(bands: readonly VariantBand[]): string {
  if (bands.length === 0) {
    return '  none: no chunk has run yet';
  }
  return formatTable(
    ['  variant', 'chunks', 'count', 'rows', 'predicted', 'took'],
    bands.map((band) => [
      `  ${band.variant}`,
      `${String(band.shard)}/${String(band.firstChunk)}-${String(band.lastChunk)}`,
      formatCount(band.chunks),
      formatCount(band.rows),
      formatDuration(band.predictedSeconds),
      formatDuration(band.workSeconds),
    ]),
  );
}
