// Owns what `run wait` can wait for, and when a report shows that it has come.
import type { RunReport } from './report.ts';

export const GOALS = ['finished', 'drained', 'paused', 'parked'] as const;
export type Goal = (typeof GOALS)[number];

/** The goal of that name; `finished` when none is given. */
export function goalOf(text: string | undefined): Goal {
  return GOALS.find((goal) => goal === text) ?? 'finished';
}

/**
 * Whether a report shows the goal: `paused` once each open shard obeys a pause, `drained` once no chunk
 * is in flight either, `parked` once a tile is parked, `finished` once the run has ended.
 */
export function isReached(goal: Goal, { open, pause, counts }: RunReport): boolean {
  switch (goal) {
    case 'finished':
      return !open;
    case 'paused':
      return pause !== null && pause.acknowledged === pause.shards;
    case 'drained':
      return pause?.state === 'drained';
    case 'parked':
      return counts !== null && counts.parked > 0;
  }
}
