// Owns how a pause is told in one sentence.
import { escapeControl } from './escape-control.ts';
import type { Pause } from './types.ts';

/** `paused by ann until 2026-11-23 14:00 UTC: disk is nearly full`; safe to show. */
export function pauseSentence({ by, until, reason }: Pause): string {
  const end = until === null ? '' : ` until ${utcTime(until)}`;
  return `paused by ${escapeControl(by)}${end}${reason === '' ? '' : `: ${escapeControl(reason)}`}`;
}

/** To the minute where the time is one, else to the second. */
function utcTime(ms: number): string {
  const [day = '', time = ''] = new Date(ms).toISOString().split('T');
  return `${day} ${time.slice(0, ms % 60_000 === 0 ? 5 : 8)} UTC`;
}
