// Owns the history digest: what a run remembers of its own chunks, in bounded space.
//
// I1. At most 6 entries and 768 bytes of canonical JSON, whatever is folded in.
// I2. Entries are ordered by use: the one folded last comes first. What does not fit is dropped from
//     the end; an entry that alone exceeds the bound is not kept.
// I3. Pure and versioned: a running workflow replays it, so a change of behaviour is a new schema.
//
// Rates are weighted by time: an entry weighs as much as the seconds it has seen, at most
// `MEMORY_SECONDS`, so a short probe soon yields to full chunks and old conditions are forgotten.
// Numbers are rounded (seconds to 1 ms, rates to 4 significant digits, ratios to 3).
import { canonicalJson } from '../core/index.ts';
import type { ChunkOutcome, HistoryDigest, HistoryEntry } from './types.ts';

export const HISTORY_ENTRIES_MAX = 6;
export const HISTORY_BYTES_MAX = 768;

const MEMORY_SECONDS = 20;
const RATIO_MAX = 1e6;
const RATE_MAX = 1e13;

/** A digest that remembers nothing. */
export function emptyHistory(): HistoryDigest {
  return { schema: 'tileloom.history/1', entries: [] };
}

/**
 * Folds the outcome of one chunk into the digest.
 *
 * A failure counts but leaves the rates alone; an outcome with numbers that cannot be (not finite,
 * negative) is ignored.
 */
export function foldOutcome(history: HistoryDigest, outcome: ChunkOutcome): HistoryDigest {
  if (!isPlausible(outcome)) {
    return history;
  }
  const known = findHistory(history, outcome.variant, outcome.deviceClass, outcome.shape);
  const folded = outcome.failed
    ? withFailure(known ?? newEntry(outcome))
    : withSuccess(known ?? newEntry(outcome), outcome);
  const others = history.entries.filter((entry) => entry !== known);
  return { schema: 'tileloom.history/1', entries: bounded([folded, ...others]) };
}

/** The entry of one variant@version on one device class for one shape, or null. */
export function findHistory(
  history: HistoryDigest,
  variant: string,
  deviceClass: string,
  shape: string,
): HistoryEntry | null {
  const found = history.entries.find(
    (entry) =>
      entry.variant === variant && entry.deviceClass === deviceClass && entry.shape === shape,
  );
  return found ?? null;
}

function isPlausible(outcome: ChunkOutcome): boolean {
  return [outcome.rows, outcome.seconds, outcome.predictedSeconds].every(
    (value) => Number.isFinite(value) && value >= 0,
  );
}

function newEntry(outcome: ChunkOutcome): HistoryEntry {
  return {
    variant: outcome.variant,
    deviceClass: outcome.deviceClass,
    shape: outcome.shape,
    chunks: 0,
    failures: 0,
    rows: 0,
    seconds: 0,
    rowsPerSecond: null,
    timeRatio: null,
  };
}

function withFailure(entry: HistoryEntry): HistoryEntry {
  return { ...entry, failures: count(entry.failures + 1) };
}

function withSuccess(entry: HistoryEntry, outcome: ChunkOutcome): HistoryEntry {
  const weightBefore = Math.min(entry.seconds, MEMORY_SECONDS);
  const blend = (before: number | null, now: number): number => {
    if (before === null || weightBefore + outcome.seconds === 0) {
      return now;
    }
    return (before * weightBefore + now * outcome.seconds) / (weightBefore + outcome.seconds);
  };
  const rate = outcome.seconds > 0 && outcome.rows > 0 ? outcome.rows / outcome.seconds : null;
  const ratio =
    outcome.predictedSeconds > 0 && outcome.seconds > 0
      ? outcome.seconds / outcome.predictedSeconds
      : null;
  return {
    ...entry,
    chunks: count(entry.chunks + 1),
    rows: count(entry.rows + outcome.rows),
    seconds: Math.min(Math.round((entry.seconds + outcome.seconds) * 1000) / 1000, 1e12),
    rowsPerSecond:
      rate === null
        ? entry.rowsPerSecond
        : Math.min(significant(blend(entry.rowsPerSecond, rate), 4), RATE_MAX),
    timeRatio:
      ratio === null
        ? entry.timeRatio
        : Math.min(significant(blend(entry.timeRatio, ratio), 3), RATIO_MAX),
  };
}

function bounded(entries: readonly HistoryEntry[]): readonly HistoryEntry[] {
  const kept: HistoryEntry[] = [];
  // The digest's own frame, then each entry and the comma before it.
  let bytes = utf8Length(canonicalJson(emptyHistory()));
  for (const entry of entries) {
    const size = utf8Length(canonicalJson(entry)) + (kept.length > 0 ? 1 : 0);
    if (kept.length < HISTORY_ENTRIES_MAX && bytes + size <= HISTORY_BYTES_MAX) {
      kept.push(entry);
      bytes += size;
    }
  }
  return kept;
}

function count(value: number): number {
  return Math.min(Math.round(value), Number.MAX_SAFE_INTEGER);
}

function significant(value: number, digits: number): number {
  return Number(value.toPrecision(digits));
}

/** Bytes of a text as UTF-8; a lone surrogate counts as the three bytes of its replacement. */
function utf8Length(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  }
  return bytes;
}
