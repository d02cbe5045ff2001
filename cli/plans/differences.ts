// Owns how differences of plans and inputs are shown: field by field, reasons side by side.
import type { FieldDifference } from '../../core/index.ts';
import { escapeControl } from '../../operator/index.ts';
import { renderReason, type Reason } from '../../planner/index.ts';

/** A difference as JSON holds it: a side that lacks the field is left out. */
export interface PlainDifference {
  readonly path: string;
  readonly left?: unknown;
  readonly right?: unknown;
}

export function plainDifferences(
  differences: readonly FieldDifference[],
): readonly PlainDifference[] {
  return differences.map(({ path, left, right }) => ({
    path,
    ...(left === undefined ? {} : { left }),
    ...(right === undefined ? {} : { right }),
  }));
}

const VALUE_MAX = 60;

/** `chunkTiles: 4 recorded, 8 recomputed`. */
export function renderDifference(
  { path, left, right }: PlainDifference,
  leftName: string,
  rightName: string,
): string {
  return `${escapeControl(path)}: ${shown(left)} ${leftName}, ${shown(right)} ${rightName}`;
}

function shown(value: unknown): string {
  const text = value === undefined ? 'absent' : JSON.stringify(value);
  const short = text.length > VALUE_MAX ? `${text.slice(0, VALUE_MAX - 1)}…` : text;
  return escapeControl(short);
}

/** Reasons of two decisions side by side: what both give once, then what only one does. */
export function renderReasons(
  left: readonly Reason[],
  right: readonly Reason[],
  leftName: string,
  rightName: string,
): string {
  const english = (reasons: readonly Reason[]): string[] =>
    reasons.map((reason) => escapeControl(renderReason(reason)));
  const [ours, theirs] = [english(left), english(right)];
  const only = (texts: string[], others: string[], sign: string): string[] =>
    texts.filter((text) => !others.includes(text)).map((text) => `    ${sign} ${text}`);
  const lines = [...only(ours, theirs, '-'), ...only(theirs, ours, '+')];
  return lines.length === 0
    ? '  reasons: the same'
    : [`  reasons (- ${leftName}, + ${rightName})`, ...lines].join('\n');
}
