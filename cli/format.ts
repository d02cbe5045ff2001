// Owns how numbers, durations and tables look in text output.
import picocolors from 'picocolors';
import type { CommandIo } from './io.ts';

/** `12345678` → `12,345,678`. */
export function formatCount(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** `12_345_678` → `12.3 M`; small numbers as they are. */
export function formatShort(value: number): string {
  const steps = [
    { at: 1e12, unit: ' T' },
    { at: 1e9, unit: ' G' },
    { at: 1e6, unit: ' M' },
    { at: 1e4, unit: ' k', by: 1e3 },
  ];
  for (const step of steps) {
    if (value >= step.at) {
      const scaled = value / (step.by ?? step.at);
      return `${scaled.toFixed(scaled >= 100 ? 0 : 1)}${step.unit}`;
    }
  }
  return formatCount(value);
}

/** Bytes in binary units: `2147483648` → `2.0 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let scaled = bytes;
  let unit = 0;
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || scaled >= 100 ? 0 : 1;
  return `${scaled.toFixed(digits)} ${units[unit] ?? 'B'}`;
}

/** Seconds as people say them: `4.2 ms`, `0.35 s`, `42 s`, `3 min 5 s`, `2 h 14 min`, `3 d 4 h`. */
export function formatDuration(seconds: number): string {
  if (seconds > 0 && seconds < 0.1) {
    const ms = seconds * 1000;
    return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
  }
  if (seconds < 10) {
    return `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`;
  }
  const whole = Math.round(seconds);
  if (whole < 60) {
    return `${String(whole)} s`;
  }
  if (whole < 3600) {
    return `${String(Math.floor(whole / 60))} min ${String(whole % 60)} s`;
  }
  const minutes = Math.floor(whole / 60);
  if (minutes < 48 * 60) {
    return `${String(Math.floor(minutes / 60))} h ${String(minutes % 60)} min`;
  }
  return `${String(Math.floor(minutes / 1440))} d ${String(Math.floor((minutes % 1440) / 60))} h`;
}

/** A point in time, or a dash. */
export function formatTime(msSinceEpoch: number | null): string {
  return msSinceEpoch === null ? '-' : new Date(msSinceEpoch).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** Rows as an aligned table; columns whose cells all look like numbers stand to the right. */
export function formatTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => displayWidth(row[column] ?? ''))),
  );
  const numeric = headings.map((_, column) =>
    rows.every((row) => /^[-+0-9.,]*( [A-Za-z/]+)?$/.test(row[column] ?? '')),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => {
        const room = ' '.repeat(Math.max(0, (widths[column] ?? 0) - displayWidth(cell)));
        return numeric[column] === true ? room + cell : cell + room;
      })
      .join('  ')
      .trimEnd();
  return [line(headings), ...rows.map((row) => line(row))].join('\n');
}

/** `key  value` lines with aligned values. */
export function formatFacts(facts: readonly (readonly [string, string])[]): string {
  const width = Math.max(...facts.map(([key]) => key.length));
  return facts.map(([key, value]) => `${key.padEnd(width)}  ${value}`).join('\n');
}

/** Columns a text takes: combining marks take none. */
function displayWidth(text: string): number {
  return Array.from(text.replace(/\p{M}/gu, '')).length;
}

export type Style = ReturnType<typeof picocolors.createColors>;

/** Colours for stderr or stdout: off without a terminal, with NO_COLOR, or on a dumb terminal. */
export function styleFor(io: CommandIo, stream: 'stdout' | 'stderr'): Style {
  const tty = stream === 'stdout' ? io.stdoutIsTty : io.stderrIsTty;
  const noColor = io.env['NO_COLOR'] !== undefined && io.env['NO_COLOR'] !== '';
  return picocolors.createColors(tty && !noColor && io.env['TERM'] !== 'dumb');
}
