// Owns segments: sealed, ordered lists of parts, chained by SHA-256 from a shard's head to its
// first.
// I1 file names carry the digest of their content, so a late attempt of the same seal cannot
//    replace what another one wrote; whichever reference is in durable history decides.
// I2 everything read through a head is verified against the digest that names it.
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { canonicalJson } from '../core/index.ts';
import { writeFileDurable } from './durable.ts';
import { DatasetError, fileError } from './errors.ts';
import { encodeTileRecords, type TileRecord } from './ledger.ts';
import { readRecords, type RecordsReference } from './records.ts';

export const SEGMENTS_FOLDER = 'segments';

const count = z.int().nonnegative();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/u);
const fileName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/u);
const partSchema = z.strictObject({
  firstTile: count,
  endTile: count,
  file: fileName,
  sha256,
  bytes: count,
  rows: count,
});
const parkedSchema = z.strictObject({
  tile: count,
  errorClass: z.string(),
  fingerprint: z.string(),
  input: z.string(),
  planId: z.string(),
  message: z.string(),
});
const segmentSchema = z.strictObject({
  schema: z.literal('tileloom.segment/1'),
  runId: z.string(),
  shard: count,
  sequence: count,
  previousSha256: sha256.nullable(),
  parts: z.array(partSchema),
  parked: z.array(parkedSchema),
  tiles: z.strictObject({ file: fileName, sha256, count }),
  partials: z.strictObject({ file: fileName, sha256 }),
  records: z.strictObject({ file: fileName, sha256, lines: count }),
});

export type Segment = z.infer<typeof segmentSchema>;
export type SegmentPart = Segment['parts'][number];
export type SegmentParkedTile = Segment['parked'][number];

/** Names a segment in durable history. */
export interface SegmentReference {
  readonly file: string;
  readonly sha256: string;
  readonly previousSha256: string | null;
}

export interface SegmentContent {
  readonly runId: string;
  readonly shard: number;
  readonly sequence: number;
  readonly previous: SegmentReference | null;
  readonly parts: readonly SegmentPart[];
  readonly parked: readonly SegmentParkedTile[];
  /** Of all tiles of the parts and the parked ones; sorted here. */
  readonly records: readonly TileRecord[];
  /** Merged TLP1 of the parts. */
  readonly partials: Uint8Array;
  /** Plan records, on disk already. */
  readonly planRecords: RecordsReference;
}

/**
 * Writes a segment's three files durably, its JSON last; writing the same content again is
 * harmless.
 */
export async function writeSegment(
  sink: string,
  content: SegmentContent,
): Promise<SegmentReference> {
  const folder = path.join(sink, SEGMENTS_FOLDER);
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw fileError(error, 'creating the folder', folder);
  });
  const stem = `${content.shard}-${content.sequence}`;
  const records = encodeTileRecords([...content.records].sort((a, b) => a.tile - b.tile));
  const tiles = await writeNamed(folder, stem, 'tiles', records);
  const partials = await writeNamed(folder, stem, 'partials', content.partials);
  const segment: Segment = {
    schema: 'tileloom.segment/1',
    runId: content.runId,
    shard: content.shard,
    sequence: content.sequence,
    previousSha256: content.previous?.sha256 ?? null,
    parts: [...content.parts].sort((a, b) => a.firstTile - b.firstTile),
    parked: [...content.parked].sort((a, b) => a.tile - b.tile),
    tiles: { ...tiles, count: content.records.length },
    partials,
    records: content.planRecords,
  };
  const json = new TextEncoder().encode(`${canonicalJson(segment)}\n`);
  const written = await writeNamed(folder, stem, 'json', json);
  return { ...written, previousSha256: segment.previousSha256 };
}

/**
 * Reads a shard's segments from its head back to its first.
 *
 * @returns oldest first
 * @throws {DatasetError} `SEGMENT_CORRUPT` or `LEDGER_BROKEN`
 */
export async function readSegmentChain(sink: string, head: SegmentReference): Promise<Segment[]> {
  const chain: Segment[] = [];
  let next: { readonly file: string; readonly sha256: string } | null = head;
  while (next !== null) {
    const segment = await readSegment(sink, next);
    const after = chain.at(-1);
    const fits =
      after === undefined ||
      (segment.runId === after.runId &&
        segment.shard === after.shard &&
        segment.sequence === after.sequence - 1);
    const first = segment.sequence === 0;
    if (!fits || first !== (segment.previousSha256 === null)) {
      throw new DatasetError(
        'LEDGER_BROKEN',
        `segment ${next.file} does not continue its chain: expected sequence ` +
          `${(after?.sequence ?? segment.sequence + 1) - 1} of shard ` +
          `${after?.shard ?? segment.shard}, ` +
          `got ${segment.sequence} of shard ${segment.shard}; the run cannot be published`,
        { details: { file: next.file } },
      );
    }
    chain.push(segment);
    next = previousOf(segment);
  }
  return chain.reverse();
}

/** The files of a chain's segments, in the chain's order; `head` names the last one. */
export function chainFiles(
  chain: readonly Segment[],
  head: SegmentReference,
): { file: string; sha256: string }[] {
  return chain.map((_, at) => {
    const after = chain[at + 1];
    const named = after === undefined ? head : previousOf(after);
    return { file: named?.file ?? '', sha256: named?.sha256 ?? '' };
  });
}

/** Encoded tile records of a segment, ascending, verified. */
export async function readSegmentTiles(sink: string, segment: Segment): Promise<Uint8Array> {
  return readNamed(sink, segment.tiles);
}

/** Merged TLP1 of a segment, verified. */
export async function readSegmentPartials(sink: string, segment: Segment): Promise<Uint8Array> {
  return readNamed(sink, segment.partials);
}

/**
 * Plan records of a segment, one JSON text a line, verified.
 *
 * @throws {DatasetError} `RECORDS_CORRUPT`
 */
export async function readSegmentRecords(sink: string, segment: Segment): Promise<string[]> {
  return readRecords(sink, segment.records);
}

/** Parked tiles of a chain as they are in the end: a later record overrides an earlier one. */
export function parkedOf(chain: readonly Segment[]): SegmentParkedTile[] {
  const parked = new Map<number, SegmentParkedTile>();
  for (const segment of chain) {
    for (const part of segment.parts) {
      if (parked.size === 0) break;
      for (let tile = part.firstTile; tile < part.endTile; tile += 1) parked.delete(tile);
    }
    for (const tile of segment.parked) parked.set(tile.tile, tile);
  }
  return [...parked.values()].sort((a, b) => a.tile - b.tile);
}

/** The segment before; its name follows from its place and its digest. */
function previousOf(segment: Segment): { file: string; sha256: string } | null {
  const { shard, sequence, previousSha256 } = segment;
  if (previousSha256 === null) return null;
  return {
    file: fileNameOf(`${shard}-${sequence - 1}`, previousSha256, 'json'),
    sha256: previousSha256,
  };
}

async function readSegment(
  sink: string,
  name: { readonly file: string; readonly sha256: string },
): Promise<Segment> {
  const bytes = await readNamed(sink, name);
  try {
    return segmentSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch (error) {
    throw corrupt(
      name.file,
      'tileloom.segment/1',
      error instanceof Error ? error.name : 'text',
      error,
    );
  }
}

async function writeNamed(
  folder: string,
  stem: string,
  extension: string,
  bytes: Uint8Array,
): Promise<{ file: string; sha256: string }> {
  const digest = createHash('sha256').update(bytes).digest('hex');
  const file = fileNameOf(stem, digest, extension);
  await writeFileDurable(path.join(folder, file), bytes);
  return { file, sha256: digest };
}

function fileNameOf(stem: string, digest: string, extension: string): string {
  return `${stem}-${digest.slice(0, 16)}.${extension}`;
}

async function readNamed(
  sink: string,
  name: { readonly file: string; readonly sha256: string },
): Promise<Uint8Array> {
  const file = path.join(sink, SEGMENTS_FOLDER, path.basename(name.file));
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ENOENT') throw fileError(error, 'reading', file);
    throw corrupt(file, 'a segment file', 'no file', error);
  }
  const digest = createHash('sha256').update(bytes).digest('hex');
  if (digest !== name.sha256) throw corrupt(file, `SHA-256 ${name.sha256}`, digest);
  return bytes;
}

function corrupt(file: string, expected: string, got: string, cause?: unknown): DatasetError {
  return new DatasetError(
    'SEGMENT_CORRUPT',
    `the segment file ${file} cannot be used: expected ${expected}, got ${got}; ` +
      'restore the sink or retry the run',
    { details: { file, expected, got }, cause },
  );
}
