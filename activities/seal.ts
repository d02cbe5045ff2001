// Owns the sealSegment activity: it verifies the hashes of parts, merges their partials, exports the
// plan records of its own execution and writes the segment, which names them all. It is idempotent:
// the events are bounded on both sides, and file names carry digests.
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { isEngineError } from '../core/index.ts';
import {
  decodePartials,
  emptyPartials,
  encodePartials,
  mergePartials,
  readPart,
  writeRecords,
  writeSegment,
  type Partials,
  type TileRecord,
} from '../datasets/index.ts';
import { fetchLines } from '../history/index.ts';
import type {
  ParkedTile,
  PartRef,
  SealAnswer,
  SealRequest,
  TileInterval,
} from '../workflows/activity-contract.ts';
import { loadContext } from './context.ts';

export interface SealDependencies {
  readonly client: Client;
}

/** Seals up to 128 parts of one shard into a segment. */
export async function sealSegment(
  { client }: SealDependencies,
  request: SealRequest,
): Promise<SealAnswer> {
  const context = await loadContext(request.contextPath, request.contextDigest);
  const lost: TileInterval[] = [];
  const kept: PartRef[] = [];
  const records: TileRecord[] = request.parked.map(parkedRecord);
  let merged: Partials = emptyPartials(context.aggregate ? context.columns.measures.length : 0);
  for (const part of request.parts) {
    const content = await readIfIntact(join(context.sinkPath, 'parts', part.file), part);
    if (content === null) {
      lost.push({ firstTile: part.firstTile, endTile: part.endTile });
      continue;
    }
    kept.push(part);
    merged = mergePartials([merged, decodePartials(content.partials)]);
    for (const { tile, rows, digest } of content.tiles) {
      records.push({ tile, rows, digest, state: 'done' });
    }
  }
  const planRecords = await writeRecords(context.sinkPath, request, exportedLines(client, request));
  const segment = await writeSegment(context.sinkPath, {
    runId: request.runId,
    shard: request.shard,
    sequence: request.sequence,
    previous: request.previous,
    parts: kept,
    parked: request.parked,
    records,
    partials: encodePartials(merged),
    planRecords,
  });
  return { segment, lost };
}

function parkedRecord({ tile }: ParkedTile): TileRecord {
  return { tile, rows: 0, state: 'parked', digest: null };
}

async function readIfIntact(
  file: string,
  part: PartRef,
): Promise<Awaited<ReturnType<typeof readPart>> | null> {
  try {
    return await readPart(file, part.sha256);
  } catch (error) {
    if (isEngineError(error) && error.code === 'PART_CORRUPT') return null;
    throw error;
  }
}

/** The plan lines that closed since the last seal, up to where the request was made. */
async function* exportedLines(client: Client, { workflow }: SealRequest): AsyncGenerator<string> {
  const { id: workflowId, runId, fromEventId, throughEventId } = workflow;
  for await (const line of fetchLines(client, { workflowId, runId }, fromEventId)) {
    if (line.eventId > throughEventId) return;
    yield JSON.stringify(line);
  }
}
