// Owns how the answers of a run and of its open shards become one report. Pure.
//
// I1 counts of tiles always add up to the total, or are null as a whole
// I2 time in which the run was paused counts neither for the rate nor for the time left
import { pauseSentence, type Pause } from '../../operator/index.ts';
import type { LaneStatus, RunStatus, ShardStatus, TileCounts } from '../../workflows/messages.ts';
import {
  NO_FACTS,
  type Facts,
  type LaneReport,
  type PauseReport,
  type WaitingFor,
} from './report.ts';

export const NO_WORKER = 'no worker answers; start one with `tileloom worker start`';

const CLOSED_PHASES: readonly string[] = ['finished', 'partial', 'failed', 'cancelled'];

/** Joins the run's answer with its shards' answers; null where a shard did not answer. */
export function combine(
  status: RunStatus,
  answers: readonly (ShardStatus | null)[],
  nowMs: number,
  known: Facts = NO_FACTS,
): Facts {
  const shards = answers.filter((answer) => answer !== null);
  const sum = (value: (shard: ShardStatus) => number): number =>
    shards.reduce((total, shard) => total + value(shard), 0);
  const counts = countsOf(status, sum);
  const rows = status.closed.rowsDone + sum((shard) => shard.counts.rowsDone);
  const open = !CLOSED_PHASES.includes(status.phase);
  const times = timesOf(status, nowMs, rows, open);
  const lanes = shards.flatMap((shard) =>
    shard.lanes.map((lane) => ({ ...lane, shard: shard.shard })),
  );
  const { operator } = status;
  const pause = open && operator.pause !== null ? pauseReport(operator.pause, answers) : null;
  const waits = open ? waitingOf(status, answers, lanes, pause) : NOTHING;
  return {
    ...known,
    name: status.name,
    phase: status.phase,
    open,
    counts,
    rows,
    rowsTotal: status.rows,
    hits: status.published?.hits ?? null,
    outside: status.published?.outside ?? null,
    invalid: status.published?.invalid ?? null,
    chunks: sum((shard) => shard.counts.chunks),
    ...times,
    startedAt: status.startedAt,
    epoch: status.epoch,
    pause,
    pins: operator.pins.length,
    limits: operator.limits,
    digest: status.published?.runDigest ?? null,
    sink: status.sink,
    result: status.published?.result ?? null,
    ...waits,
    silentShards: answers.length - shards.length,
    lanes,
    error: status.error,
  };
}

function countsOf(
  { closed, tiles }: RunStatus,
  sum: (value: (shard: ShardStatus) => number) => number,
): TileCounts {
  const done = closed.tilesDone + sum((shard) => shard.counts.tilesDone);
  const parked = closed.parked + sum((shard) => shard.parked);
  const skipped = closed.skipped + sum((shard) => shard.skipped);
  const left = Math.max(0, tiles - done - parked - skipped);
  const running = Math.min(
    sum((shard) => shard.tilesRunning),
    left,
  );
  return { total: tiles, pending: left - running, running, done, parked, skipped };
}

function timesOf(
  status: RunStatus,
  nowMs: number,
  rows: number,
  open: boolean,
): Pick<Facts, 'rowsPerSecond' | 'etaSeconds' | 'elapsedSeconds' | 'pausedSeconds'> {
  const endedAt = status.finishedAt ?? nowMs;
  const { pause } = status.operator;
  const pausedNow = pause === null ? 0 : Math.max(0, endedAt - pause.since);
  const elapsedMs = Math.max(1, endedAt - status.startedAt);
  const pausedMs = Math.min(elapsedMs, status.pausedMs + pausedNow);
  const rate = rows / (Math.max(1, elapsedMs - pausedMs) / 1000);
  return {
    rowsPerSecond: rate,
    etaSeconds: open && rate > 0 && rows > 0 ? (status.rows - rows) / rate : null,
    elapsedSeconds: elapsedMs / 1000,
    pausedSeconds: pausedMs / 1000,
  };
}

function pauseReport(pause: Pause, answers: readonly (ShardStatus | null)[]): PauseReport {
  const acknowledged = answers.filter((shard) => shard !== null && shard.epoch >= pause.epoch);
  const chunksInFlight = answers
    .flatMap((shard) => shard?.lanes ?? [])
    .filter(({ state }) => state === 'executing').length;
  const drained = acknowledged.length === answers.length && chunksInFlight === 0;
  const { mode, by, reason, epoch, since, until } = pause;
  return {
    state: drained ? 'drained' : 'pausing',
    ...{ mode, by, reason, epoch, since, until },
    shards: answers.length,
    acknowledged: acknowledged.length,
    chunksInFlight,
  };
}

/** `pausing (3 of 16 shards acknowledged, 5 chunks in flight)`, or `drained`. */
export function pauseProgress(pause: PauseReport): string {
  const { state, acknowledged, shards, chunksInFlight: chunks } = pause;
  return state === 'drained'
    ? 'drained'
    : `pausing (${String(acknowledged)} of ${String(shards)} shards acknowledged, ` +
        `${String(chunks)} chunk${chunks === 1 ? '' : 's'} in flight)`;
}

interface Waits {
  readonly waiting: string | null;
  readonly waitingFor: WaitingFor;
}

const NOTHING: Waits = { waiting: null, waitingFor: 'nothing' };

const BY_STATE: Readonly<Record<LaneStatus['state'], WaitingFor>> = {
  idle: 'other',
  claiming: 'host',
  planning: 'nothing',
  executing: 'nothing',
  holding: 'plan',
  'backing-off': 'back-off',
};

function waitingOf(
  { waiting, operator }: RunStatus,
  answers: readonly (ShardStatus | null)[],
  lanes: readonly LaneReport[],
  pause: PauseReport | null,
): Waits {
  if (pause !== null && operator.pause !== null) {
    const sentence = `${pauseSentence(operator.pause)} · ${pauseProgress(pause)}`;
    return { waiting: sentence, waitingFor: 'operator' };
  }
  if (waiting !== null) {
    return { waiting, waitingFor: 'other' };
  }
  if (lanes.some((lane) => BY_STATE[lane.state] === 'nothing')) {
    return NOTHING;
  }
  const held = lanes.find((lane) => lane.waiting !== null);
  if (held !== undefined) {
    return { waiting: held.waiting, waitingFor: BY_STATE[held.state] };
  }
  const silent = answers.filter((answer) => answer === null).length;
  return silent === 0
    ? NOTHING
    : {
        waiting: `${String(silent)} open shard(s) do not answer: ${NO_WORKER}`,
        waitingFor: 'worker',
      };
}
