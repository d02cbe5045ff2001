// Owns which files of an unpublished sink a run's ledger names: parts that execute answered with,
// and segments that seal answered with, all read from durable history.
import type { Client } from '@temporalio/client';
import { serviceHistory, runLines, type HistorySource } from '../history/source.ts';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Names of the part files that history knows, and of every segment in the sink. */
export async function keptFiles(client: Client, runId: string, sink: string): Promise<string[]> {
  const parts = await partsInHistory(serviceHistory(client), runId);
  // Segments are small, and a later `run retry` reads them: none is removed before publication.
  const segments = await readdir(join(sink, 'segments')).catch(() => []);
  return [...parts, ...segments];
}

/** Part files that an execute activity answered with. */
export async function partsInHistory(source: HistorySource, runId: string): Promise<string[]> {
  const parts: string[] = [];
  for await (const line of runLines(source, runId)) {
    if (line.kind === 'execute' && line.answer !== null) {
      parts.push(line.answer.part.file);
    }
  }
  return parts;
}
