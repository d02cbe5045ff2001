// Owns the audit as it stays in a sink: `records/audit.jsonl`, one entry a line, written by publish and
// read when the server has forgotten the run.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RECORDS_FOLDER } from '../datasets/index.ts';
import type { AuditEntry } from '../operator/index.ts';
import { HistoryError } from './errors.ts';

/** File of a sink in which the audit stays, one entry a line, when histories are gone. */
export const AUDIT_FILE = 'audit.jsonl';

/** The sealed form of entries: one JSON text a line. */
export function auditText(entries: readonly AuditEntry[]): string {
  return entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
}

/**
 * Reads the entries that publish left in a sink.
 *
 * @returns null when there are none
 * @throws {HistoryError} `HISTORY_INCOMPLETE` when a line is not an entry
 */
export async function sealedAudit(sink: string): Promise<readonly AuditEntry[] | null> {
  const path = join(sink, RECORDS_FOLDER, AUDIT_FILE);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(String((error as { code?: unknown }).code))) return null;
    throw error;
  }
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line, index) => entryOf(line, `${path}:${index + 1}`));
}

function entryOf(line: string, place: string): AuditEntry {
  const entry = parsed(line) as Partial<AuditEntry> | null;
  if (entry?.schema === 'tileloom.audit-entry/1' && isWhole(entry)) return entry;
  throw new HistoryError(
    'HISTORY_INCOMPLETE',
    `${place} is no audit entry: expected a line of tileloom.audit-entry/1, got ` +
      `${JSON.stringify(line.slice(0, 60))}; the file was cut or edited`,
    { details: { place } },
  );
}

function isWhole(entry: Partial<AuditEntry>): entry is AuditEntry {
  const { epoch, at, by, via, verb, reason, before, after } = entry;
  return (
    [epoch, at].every((value) => typeof value === 'number') &&
    [by, via, verb, reason].every((value) => typeof value === 'string') &&
    [before, after].every((value) => typeof value === 'object' && value !== null)
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}
