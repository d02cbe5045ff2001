// Owns the English that Temporal's own UI and the status queries show: summaries, details,
// sentences.
import { escapeControl, pauseSentence, type OperatorState } from '../operator/index.ts';
import type { Pin, PinScope } from '../planner/index.ts';
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
  return [head, more, ...operatorLines(operator, shard.pinUses), '', ...lanes].join('\n\n');
}

/** Pins that are shown one by one; a run may hold 32. */
const PINS_SHOWN = 8;

/** Lines about a pause and the pins in force, for those who look at Temporal's own UI. */
function operatorLines(
  { pause, pins, cancel }: OperatorState,
  uses: Readonly<Record<string, number>>,
): readonly string[] {
  const lines: string[] = [];
  if (cancel !== null) lines.push(`**cancelled by ${escapeControl(cancel.by)}**`);
  if (pause !== null) lines.push(`**${pauseSentence(pause)}** (${pause.mode})`);
  for (const pin of pins.slice(0, PINS_SHOWN)) {
    const used = uses[pin.id];
    const chunks = pin.chunksLeft === null ? '' : `, ${used ?? 0} of ${pin.chunksLeft} chunks used`;
    lines.push(`- ${pinWords(pin)}${scopeWords(pin.scope)}${chunks}`);
  }
  if (pins.length > PINS_SHOWN) lines.push(`- and ${pins.length - PINS_SHOWN} more pins`);
  return lines;
}

/** `pin-3 (variant = assign/grid-avx2@1 by ann: to compare)`. */
export function pinWords({ id, aspect, value, author, reason }: Pin): string {
  const why = reason === '' ? '' : `: ${escapeControl(reason)}`;
  return `${id} (${aspect} = ${escapeControl(String(value))} by ${escapeControl(author)}${why})`;
}

function scopeWords(scope: PinScope): string {
  switch (scope.kind) {
    case 'run':
      return '';
    case 'operation':
      return `, for ${scope.operation}`;
    case 'tiles':
      return `, for ${tilesOf({ firstTile: scope.firstTile, endTile: scope.lastTile + 1 })}`;
    case 'chunks':
      return `, for ${scope.count} chunks of each shard`;
  }
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
  readonly parked: number;
  readonly skipped: number;
  readonly operator: OperatorState;
  readonly waiting: string | null;
  readonly error: string | null;
}): string {
  const lines = [
    `**${run.name}** · ${run.phase}`,
    `${run.shards} shards, ${run.open} open; ${run.tilesDone} of ${run.tiles} tiles in closed shards`,
  ];
  if (run.parked + run.skipped > 0) {
    lines.push(`${run.parked} tiles parked, ${run.skipped} more skipped`);
  }
  lines.push(...operatorLines(run.operator, {}));
  if (run.waiting !== null) lines.push(`waiting: ${run.waiting}`);
  if (run.error !== null) lines.push(`error: ${run.error}`);
  return lines.join('\n\n');
}
