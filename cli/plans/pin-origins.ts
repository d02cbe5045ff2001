// Owns who set the pins that plans cite, and why. A plan carries the ids only; the rest is in the run's
// audit: read from its history, or from the file that publish sealed.
import { readAudit, sealedAudit, runEvents, serviceHistory } from '../../history/index.ts';
import type { AuditEntry } from '../../operator/index.ts';
import type { Pin } from '../../planner/index.ts';
import type { PlanSource } from './source.ts';

export interface PinOrigin {
  readonly author: string;
  readonly reason: string;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
}

/** Origins by pin id; none when neither server nor sink can tell. */
export async function pinOrigins(source: PlanSource): Promise<ReadonlyMap<string, PinOrigin>> {
  const origins = new Map<string, PinOrigin>();
  for (const { at, after } of await entriesOf(source)) {
    for (const pin of pinsOf(after)) {
      if (!origins.has(pin.id)) {
        origins.set(pin.id, { author: pin.author, reason: pin.reason, at });
      }
    }
  }
  return origins;
}

async function entriesOf(source: PlanSource): Promise<readonly AuditEntry[]> {
  if (source.session !== null) {
    const events = runEvents(serviceHistory(source.session.client), source.runId);
    const { entries } = await readAudit(events);
    if (entries.length > 0) return entries;
  }
  return source.sink === null ? [] : ((await sealedAudit(source.sink)) ?? []);
}

function pinsOf(after: AuditEntry['after']): readonly Pin[] {
  return after.pins ?? [];
}
