// Owns what is known of a pin that somebody wants to set, and how its refusal is worded.
import type {
  PinAspect,
  PinScope,
  RequestedMode,
  RequestedPrecision,
  WorkloadProfile,
} from './types.ts';

/** A pin that somebody wants to set. */
export interface PinProposal {
  readonly aspect: PinAspect;
  readonly value: string | number;
  readonly scope: PinScope;
  /** Limits in time and in chunks; null: none. */
  readonly ttlMs: number | null;
  readonly ttlChunks: number | null;
}

/** What of the run's work decides whether a variant can do it. */
export type PinnedWork = Pick<
  WorkloadProfile,
  'operation' | 'boundary' | 'overlap' | 'families' | 'mixed' | 'tileRows'
>;

export interface PinCheckContext {
  readonly mode: RequestedMode;
  readonly precision: RequestedPrecision;
  /** Null before the run is prepared. */
  readonly work: PinnedWork | null;
}

/** Words a refusal; the value is cut, since it may be anything. */
export function cannotBeSet(
  pin: { readonly aspect: PinAspect; readonly value: string | number },
  expected: string,
  got: string,
  remedy: string,
): string {
  return `pin ${nameOf(pin)} cannot be set: expected ${expected}, got ${got}; ${remedy}`;
}

/** `aspect=value`. */
export function nameOf(pin: Pick<PinProposal, 'aspect' | 'value'>): string {
  return `${pin.aspect}=${brief(pin.value)}`;
}

const VALUE_CHARACTERS_MAX = 80;

/** A value as messages show it. */
export function brief(value: string | number): string {
  const text = String(value);
  if (text === '') return 'nothing';
  return text.length > VALUE_CHARACTERS_MAX ? `${text.slice(0, VALUE_CHARACTERS_MAX)}…` : text;
}
