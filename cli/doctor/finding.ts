// Owns what a check of `doctor` found, and how to put it right.

export interface Finding {
  readonly check: string;
  readonly status: 'ok' | 'warning' | 'failed';
  readonly found: string;
  /** What to do; null when nothing is to be done. */
  readonly fix: string | null;
}
