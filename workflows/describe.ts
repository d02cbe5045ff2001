// Owns the English that Temporal's own UI and the status queries show: summaries, details,
// sentences.
import type { TileInterval } from './activity-contract.ts';
import type { RunPhase, ShardCounts } from './messages.ts';
import type { ShardState } from './shard-state.ts';

/** Rows as people say them: `950`, `12 k`, `4.2 M`, `1.3 G`. */
export function shortCount(value: number): string {
  if (value < 1e4) return String(value);
  const [divisor, unit] = value < 1e6 ? [1e3, 'k'] : value < 1e9 ? [1e6, 'M'] : [1e9, 'G'];
  const scaled = value / divisor;
  return `${scaled < 100 ? Math.round(scaled * 10) / 10 : Math.round(scaled)} ${unit}`;
}

/** `tiles 120-183`, or `tile 7`. */
export function tilesOf(range: TileInterval): string {
  const last = range.endTile - 1;
  return last === range.firstTile ? `tile ${last}` : `tiles ${range.firstTile}-${last}`;
}

/** Summary of an execute activity: `tiles 120-183 · assign/grid-avx2@1 · 4.2 M rows`. */
export function executeSummary(range: TileInterval, variant: string, rows: number): string {
  return `${tilesOf(range)} · ${variant} · ${shortCount(rows)} rows`;
}

/** Markdown that a shard shows in the UI. */
export function shardDetails(shard: ShardState): string {
  const { counts, parked, operator } = shard;
  const { range } = shard.input.progress;
  const lanes = [...shard.lanes.values()].map((lane) => {
    const { status } = lane;
    const where = status.firstTile === null ? '' : ` ${tilesOf(laneRange(status))}`;
    const what = status.variant === null ? '' : ` · ${status.variant}`;
    const host = status.host === null ? '' : ` on ${status.host}`;
    const waiting = status.waiting === null ? '' : ` — ${status.waiting}`;
    return `- lane ${lane.index}: ${status.state}${where}${what}${host}${waiting}`;
  });
  const head = `**${tilesOf(range)}**: ${countsOf(counts, range.endTile - range.firstTile)}`;
  const more = `${parked.count} parked · epoch ${operator.epoch}`;
  return [head, more, '', ...lanes].join('\n');
}

function laneRange(status: { firstTile: number | null; endTile: number | null }): TileInterval {
  return { firstTile: status.firstTile ?? 0, endTile: status.endTile ?? 0 };
}

function countsOf(counts: ShardCounts, tiles: number): string {
  return `${counts.tilesDone} of ${tiles} tiles, ${shortCount(counts.rowsDone)} rows, ${counts.chunks} chunks, ${counts.failures} failures`;
}

/** Markdown that a run shows in the UI. */
export function runDetails(run: {
  readonly name: string;
  readonly phase: RunPhase;
  readonly tiles: number;
  readonly tilesDone: number;
  readonly shards: number;
  readonly open: number;
  readonly waiting: string | null;
  readonly error: string | null;
}): string {
  const lines = [
    `**${run.name}** · ${run.phase}`,
    `${run.shards} shards, ${run.open} open; ${run.tilesDone} of ${run.tiles} tiles in closed shards`,
  ];
  if (run.waiting !== null) lines.push(`waiting: ${run.waiting}`);
  if (run.error !== null) lines.push(`error: ${run.error}`);
  return lines.join('\n\n');
}
