// Owns the list of variants that must not run on a device of a host again. It is bounded: forgetting
// the oldest one costs a fault at most, which excludes it again.
import type { Exclusion } from '../planner/index.ts';
import type { Fault } from './bisection.ts';

/** A few hosts with every variant on every device; one entry is about 100 bytes of state. */
export const EXCLUSIONS_MAX = 64;

/** Adds exclusions that are not there yet; the newest stay. */
export function addExclusions(
  excluded: readonly Exclusion[],
  more: readonly Exclusion[],
): readonly Exclusion[] {
  const fresh = more.filter((one) => !excluded.some((other) => isSame(one, other)));
  return fresh.length === 0 ? excluded : [...excluded, ...fresh].slice(-EXCLUSIONS_MAX);
}

/** Removes the exclusions that faults had caused. */
export function liftExclusions(
  excluded: readonly Exclusion[],
  faults: readonly Fault[],
): readonly Exclusion[] {
  return excluded.filter((exclusion) => !faults.some((fault) => isSame(exclusion, fault)));
}

export function exclusionOf({ variant, deviceId, host, code }: Fault): Exclusion {
  return { variant, deviceId, host, failure: code };
}

type Place = Pick<Exclusion, 'variant' | 'deviceId' | 'host'>;

function isSame(one: Place, other: Place): boolean {
  return (
    one.variant === other.variant && one.deviceId === other.deviceId && one.host === other.host
  );
}
