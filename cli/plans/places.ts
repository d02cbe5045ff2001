// Owns chunks as people name them: `0/3` is chunk 3 of shard 0, `3` the same.
import { joinRecords, type PlanRecord } from '../../history/index.ts';
import { CliError } from '../errors.ts';
import type { PlanSource } from './source.ts';

export interface Place {
  readonly shard: number;
  readonly chunk: number;
}

/** @throws {CliError} `CLI_USAGE` */
export function parsePlace(place: string): Place {
  const match = /^(?:(\d{1,6})\/)?(\d{1,9})$/.exec(place);
  if (match === null) {
    throw new CliError(
      'CLI_USAGE',
      `chunk ${place} is not valid: expected shard/chunk such as 0/3, got ${JSON.stringify(place)}`,
    );
  }
  return { shard: Number(match[1] ?? 0), chunk: Number(match[2]) };
}

/**
 * Every record of some chunks, in order; reads no further than it must.
 *
 * @throws {CliError} `CLI_CHUNK_UNKNOWN` naming the first that is not there
 */
export async function recordsAt(
  source: PlanSource,
  places: readonly Place[],
): Promise<readonly (readonly PlanRecord[])[]> {
  const found = places.map((): PlanRecord[] => []);
  const lastShard = Math.max(...places.map(({ shard }) => shard));
  for await (const record of joinRecords(source.lines())) {
    if (record.shard > lastShard) break;
    places.forEach(({ shard, chunk }, index) => {
      if (record.shard === shard && record.chunk === chunk) found[index]?.push(record);
    });
  }
  const missing = found.findIndex((records) => records.length === 0);
  const place = places[missing];
  if (place === undefined) return found;
  const name = `${String(place.shard)}/${String(place.chunk)}`;
  throw new CliError(
    'CLI_CHUNK_UNKNOWN',
    `chunk ${name} of run ${source.runId} is unknown: expected a chunk of plan list, got none; ` +
      `see tileloom plan list ${source.runId}`,
    { details: { runId: source.runId, chunk: name } },
  );
}

/** The record of a chunk that counts: the one that ran, else the last. */
export function decisive(records: readonly PlanRecord[]): PlanRecord | null {
  return records.find(({ execution }) => execution !== null) ?? records.at(-1) ?? null;
}
