// Owns reading what a run was started with beside its input: name and sink, for other machines.

/** A text of a run's memo, or null. */
export function memoText(memo: Record<string, unknown> | undefined, key: string): string | null {
  const value = memo?.[key];
  return typeof value === 'string' ? value : null;
}
