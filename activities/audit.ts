// Owns the writing of `records/audit.jsonl`: who changed what of a run, one entry a line, by epoch. It
// is written when the run is published; a history that is forgotten or out of reach never keeps it
// from that.
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { isEngineError } from '../core/index.ts';
import { RECORDS_FOLDER, writeFileDurable } from '../datasets/index.ts';
import {
  AUDIT_FILE,
  auditText,
  readAudit,
  runEvents,
  sealedAudit,
  serviceHistory,
  type Audit,
} from '../history/index.ts';
import type { AuditEntry } from '../operator/index.ts';

export interface AuditDependencies {
  readonly client: Client;
  /** Hears why the audit is missing or not whole. */
  readonly warn: (message: string) => void;
}

/** Writes the audit of a run; where histories are forgotten, what was written before stays. */
export async function writeAudit(
  { client, warn }: AuditDependencies,
  sink: string,
  runId: string,
): Promise<void> {
  let audit: Audit;
  try {
    audit = await readAudit(runEvents(serviceHistory(client), runId));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    warn(`the audit of run ${runId} is not written: expected its history, got "${why}"`);
    return;
  }
  const known = await knownEntries(sink, warn);
  if (audit.entries.length === 0 || (!audit.whole && known.length === 0)) {
    warn(`the audit of run ${runId} is not whole: expected its history, got the end of it at most`);
  }
  const entries = joined(known, audit);
  if (entries.length === 0) return;
  await writeFileDurable(join(sink, RECORDS_FOLDER, AUDIT_FILE), auditText(entries));
}

/** Entries of both, by epoch; where history still knows better, it does. */
function joined(known: readonly AuditEntry[], { entries, whole }: Audit): readonly AuditEntry[] {
  const first = entries[0]?.epoch ?? Infinity;
  if (whole) return [...known.filter(({ epoch }) => epoch < first), ...entries];
  // The first entry is then no beginning, only where what is left of the history begins.
  const before = known.filter(({ epoch }) => epoch <= first);
  return [...before, ...(before.length === 0 ? entries : entries.slice(1))];
}

async function knownEntries(
  sink: string,
  warn: AuditDependencies['warn'],
): Promise<readonly AuditEntry[]> {
  try {
    return (await sealedAudit(sink)) ?? [];
  } catch (error) {
    // A file that somebody edited is made anew from history.
    if (!isEngineError(error)) throw error;
    warn(`the audit written before is replaced: ${error.message}`);
    return [];
  }
}
