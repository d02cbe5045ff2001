// Owns the text of a run's status.
import {
  formatCount,
  formatDuration,
  formatFacts,
  formatShort,
  formatTable,
  formatTime,
} from '../format.ts';
import type { LaneReport, RunReport } from './status.ts';

/** Renders a status report for a terminal. */
export function renderStatus(report: RunReport): string {
  const facts: [string, string][] = [
    ['run', report.runId],
    ['pipeline', report.name ?? '-'],
    ['phase', report.phase],
    ['tiles', countsLine(report)],
    ['rows', rowsLine(report)],
    ['started', startedLine(report)],
  ];
  if (report.etaSeconds !== null && report.open) {
    facts.push(['time left', formatDuration(report.etaSeconds)]);
  }
  if (report.digest !== null) {
    facts.push(['digest', report.digest]);
  }
  if (report.sink !== null) {
    facts.push(['sink', report.sink]);
  }
  if (report.waiting !== null) {
    facts.push(['waiting', report.waiting]);
  }
  if ((report.counts?.parked ?? 0) > 0) {
    facts.push(['parked', `each with its error: tileloom plan list ${report.runId}`]);
  }
  if (report.error !== null) {
    facts.push(['error', `${report.error.code}: ${report.error.message}`]);
  }
  const lanes = report.lanes.length === 0 ? '' : `\n\n${lanesTable(report.lanes)}`;
  return `${formatFacts(facts)}${lanes}`;
}

function countsLine(report: RunReport): string {
  const { counts } = report;
  if (counts === null) {
    return report.open ? '-' : '- (known while a worker answers: tileloom worker start)';
  }
  return (
    `${formatCount(counts.done)} done, ${formatCount(counts.running)} running, ` +
    `${formatCount(counts.pending)} pending, ${formatCount(counts.parked)} parked ` +
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
  return `${formatTime(report.startedAt)}${report.open ? elapsed : elapsed.replace(' ago', '')}`;
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
      lane.waiting ?? '',
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
