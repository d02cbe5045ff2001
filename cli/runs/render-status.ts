// Owns the text of a run's status. What people wrote is shown escaped.
import { escapeControl } from '../../operator/index.ts';
import {
  formatCount,
  formatDuration,
  formatFacts,
  formatShort,
  formatTable,
  formatTime,
} from '../format.ts';
import { pauseProgress } from './combine.ts';
import type { LaneReport, RunReport } from './report.ts';

/** Renders a status report for a terminal. */
export function renderStatus(report: RunReport): string {
  const facts: [string, string][] = [
    ['run', report.runId],
    ['pipeline', report.name ?? '-'],
    ['phase', phaseLine(report)],
    ['tiles', countsLine(report)],
    ['rows', rowsLine(report)],
    ['started', startedLine(report)],
  ];
  if (report.etaSeconds !== null && report.open) {
    const resumed = report.pause === null ? '' : ' once it is resumed';
    facts.push(['time left', `${formatDuration(report.etaSeconds)}${resumed}`]);
  }
  if ((report.pins ?? 0) > 0 && report.open) {
    facts.push(['pins', `${formatCount(report.pins ?? 0)}: tileloom pin list ${report.runId}`]);
  }
  if (report.digest !== null) {
    facts.push(['digest', report.digest]);
  }
  if (report.sink !== null) {
    facts.push(['sink', report.sink]);
  }
  if (report.open) {
    facts.push(['waiting', waitingLine(report)]);
  }
  if ((report.counts?.parked ?? 0) > 0) {
    facts.push(['parked', `by error: tileloom run errors ${report.runId}`]);
  }
  if (report.error !== null) {
    facts.push(['error', `${report.error.code}: ${escapeControl(report.error.message)}`]);
  }
  const lanes = report.lanes.length === 0 ? '' : `\n\n${lanesTable(report.lanes)}`;
  return `${formatFacts(facts)}${lanes}`;
}

/** `running`, `running, pausing (3 of 16 shards acknowledged, 5 chunks in flight)`. */
function phaseLine({ phase, pause }: RunReport): string {
  return pause === null ? phase : `${phase}, ${pauseProgress(pause)}`;
}

/** One sentence, always. */
export function waitingLine({ waiting, lanes, phase }: RunReport): string {
  if (waiting !== null) {
    return escapeControl(waiting);
  }
  const working = lanes.filter(({ state }) => state === 'executing' || state === 'planning');
  return working.length === 0
    ? `for nothing: ${phase}`
    : `for nothing: ${formatCount(working.length)} lane${working.length === 1 ? ' works' : 's work'}`;
}

function countsLine(report: RunReport): string {
  const { counts } = report;
  if (counts === null) {
    return report.open ? '-' : '- (known while a worker answers: tileloom worker start)';
  }
  return (
    `${formatCount(counts.done)} done, ${formatCount(counts.running)} running, ` +
    `${formatCount(counts.pending)} pending, ${formatCount(counts.parked)} parked` +
    `${counts.skipped === 0 ? '' : `, ${formatCount(counts.skipped)} skipped`} ` +
    `of ${formatCount(counts.total)}`
  );
}

function rowsLine(report: RunReport): string {
  if (report.rows === null) {
    return '-';
  }
  const rate = report.rowsPerSecond === null ? '' : `, ${formatShort(report.rowsPerSecond)} rows/s`;
  const total = report.rowsTotal === null ? '' : ` of ${formatCount(report.rowsTotal)}`;
  return `${formatCount(report.rows)}${total}${rate}`;
}

function startedLine(report: RunReport): string {
  const elapsed =
    report.elapsedSeconds === null ? '' : `, ${formatDuration(report.elapsedSeconds)} ago`;
  const paused = report.pausedSeconds ?? 0;
  const pauses = paused < 1 ? '' : `, paused for ${formatDuration(paused)} of that`;
  return `${formatTime(report.startedAt)}${report.open ? elapsed : elapsed.replace(' ago', '')}${pauses}`;
}

function lanesTable(lanes: readonly LaneReport[]): string {
  return formatTable(
    ['shard', 'lane', 'state', 'tiles', 'variant', 'device', 'host', 'waiting'],
    lanes.map((lane) => [
      String(lane.shard),
      String(lane.lane),
      lane.state,
      tilesOf(lane),
      lane.variant ?? '-',
      lane.deviceId ?? '-',
      lane.host ?? '-',
      escapeControl(lane.waiting ?? ''),
    ]),
  );
}

function tilesOf(lane: LaneReport): string {
  return lane.firstTile === null || lane.endTile === null
    ? '-'
    : `${String(lane.firstTile)}-${String(lane.endTile - 1)}`;
}

/** One line about what runs now: `assign/grid-avx2@1 on cpu, tiles 12-44 (and 1 more lane)`. */
export function currentPlan(report: RunReport): string | null {
  const busy = report.lanes.filter((lane) => lane.state === 'executing' && lane.variant !== null);
  const lane = busy[0];
  if (lane === undefined) {
    return null;
  }
  const more = busy.length - 1;
  return (
    `${lane.variant ?? ''} on ${lane.deviceId ?? '?'} of ${lane.host ?? '?'}, tiles ${tilesOf(lane)}` +
    (more === 0 ? '' : ` (and ${String(more)} more lane${more === 1 ? '' : 's'})`)
  );
}
