// Owns plan lines from a sink: the records that each seal wrote, through the chains of segments.
//
// I1. Every byte is verified on the way: manifest (or newest segment) → segment chain → records.
// I2. One shard's chain and one segment's records are in memory at a time.
import { createHash } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  RECORDS_FOLDER,
  readManifest,
  readSegmentChain,
  readSegmentRecords,
  type SegmentReference,
} from '../datasets/index.ts';
import type { HistoryLine } from './plan-lines.ts';

export interface SealedShard {
  readonly shard: number;
  readonly head: SegmentReference;
}

const SEGMENTS_FOLDER = 'segments';
const SEGMENT_NAME = /^(\d{1,6})-(\d{1,9})-([0-9a-f]{16})\.json$/;

/**
 * Finds the head of each shard's chain in a sink, ascending: from its manifest, else (not published,
 * or sealed further since) the newest segments of its folder.
 */
export async function sealedShards(sink: string): Promise<readonly SealedShard[]> {
  const heads = new Map<number, SealedShard & { sequence: number }>();
  const manifest = await readManifest(sink);
  for (const { file, sha256 } of manifest?.segments ?? []) offer(heads, file, sha256);
  for (const file of (await namesIn(join(sink, SEGMENTS_FOLDER))).toSorted()) {
    const place = placeOf(file);
    const known = place === null ? undefined : heads.get(place.shard);
    if (place === null || (known !== undefined && known.sequence >= place.sequence)) continue;
    const bytes = await readFile(join(sink, SEGMENTS_FOLDER, file));
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    if (sha256.startsWith(place.digest)) offer(heads, file, sha256);
  }
  return [...heads.values()].toSorted((a, b) => a.shard - b.shard);
}

/**
 * Yields the sealed plan lines of one shard in order.
 *
 * @throws {DatasetError} `SEGMENT_CORRUPT`, `LEDGER_BROKEN` or `RECORDS_CORRUPT`
 */
export async function* sealedLines(
  sink: string,
  { head }: SealedShard,
): AsyncGenerator<HistoryLine> {
  for (const segment of await readSegmentChain(sink, head)) {
    for (const text of await readSegmentRecords(sink, segment)) {
      yield JSON.parse(text) as HistoryLine;
    }
  }
}

/** Policies and registries as a run stored them beside its records; not verified yet. */
export interface StoredRecipes {
  readonly policies: readonly unknown[];
  readonly registries: readonly unknown[];
}

/** Reads the recipes of a sink; none where there is no such folder. */
export async function storedRecipes(sink: string): Promise<StoredRecipes> {
  const folder = join(sink, RECORDS_FOLDER);
  const names = (await namesIn(folder)).toSorted();
  const read = async (pattern: RegExp): Promise<unknown[]> => {
    const texts = names
      .filter((name) => pattern.test(name))
      .map((name) => readFile(join(folder, name), 'utf8'));
    return (await Promise.all(texts)).map(parsedOrNull);
  };
  return {
    policies: await read(/^policy-[0-9a-f]{64}\.json$/),
    registries: await read(/^registry-[0-9a-f]{64}\.json$/),
  };
}

function offer(
  heads: Map<number, SealedShard & { sequence: number }>,
  file: string,
  sha256: string,
): void {
  const place = placeOf(file);
  if (place === null) return;
  const { shard, sequence } = place;
  const known = heads.get(shard);
  if (known !== undefined && known.sequence > sequence) return;
  // What a head continues is read from its own content.
  heads.set(shard, { shard, sequence, head: { file, sha256, previousSha256: null } });
}

function placeOf(file: string): { shard: number; sequence: number; digest: string } | null {
  const match = SEGMENT_NAME.exec(file);
  if (match === null) return null;
  const [, shard, sequence, digest = ''] = match;
  return { shard: Number(shard), sequence: Number(sequence), digest };
}

function parsedOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    if ((error as { code?: unknown }).code === 'ENOENT') return [];
    throw error;
  });
}
