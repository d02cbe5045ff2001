// Owns parts, the immutable files in which executors leave what they computed: per tile its counts,
// its digest and (with rows) its output, and once the chunk's merged aggregate. Format:
// docs/formats.md.
// I1 a part is written once under a name of its own; nothing is overwritten.
// I2 nothing of a part is used before its SHA-256 was compared with the one in durable history.
import { createHash } from 'node:crypto';
import { access, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import {
  Binary,
  Field,
  FixedSizeBinary,
  Int32,
  List,
  Schema,
  Uint32,
  tableFromIPC,
} from 'apache-arrow';
import { ArrowFileWriter, type ArrayData, type WrittenFile } from './arrow-writer.ts';
import { DatasetError, fileError } from './errors.ts';

export interface PartTile {
  readonly tile: number;
  readonly rows: number;
  readonly hits: number;
  readonly outside: number;
  readonly invalid: number;
  /** XXH3-128 of the tile's output bytes: 32 hex digits. */
  readonly digest: string;
  /** Ids per row (docs/formats.md, "Tile output"); null unless the run keeps rows. */
  readonly output: Int32Array | null;
}

export interface PartContent {
  /** Ascending, at least one; consumed once, a bounded number of tiles is held. */
  readonly tiles: Iterable<PartTile> | AsyncIterable<PartTile>;
  /** The chunk's merged TLP1, asked for when the last tile was consumed. */
  readonly partials: Uint8Array | (() => Uint8Array);
}

export interface Part {
  readonly tiles: readonly PartTile[];
  readonly partials: Uint8Array;
}

const BATCH_TILES = 1024;
const BATCH_BYTES = 8 << 20;
const DIGEST_BYTES = 16;

/** `parts/` file name; `token` makes it unique among attempts. */
export function partFileName(
  shard: number,
  firstTile: number,
  endTile: number,
  token: string,
): string {
  return `${shard}-${firstTile}-${endTile - 1}-${token}.arrow`;
}

/** A part being written; nothing of it is visible before `finish`. */
export interface PartWriter {
  /** Appends tiles in ascending order; a bounded number is held in memory. */
  append(tiles: readonly PartTile[]): Promise<void>;
  /**
   * Adds the chunk's merged TLP1 and makes the part durable under its name.
   *
   * @throws {DatasetError} `PART_CORRUPT` without any tile, `DISK_FULL`, `IO_FAILED`
   */
  finish(partials: Uint8Array): Promise<WrittenFile>;
  /** Removes what was written; harmless after `finish`. */
  abandon(): Promise<void>;
}

/**
 * Starts a part; the folder is made where missing.
 *
 * @throws {DatasetError} `PART_EXISTS`, `DISK_FULL`, `IO_FAILED`
 */
export async function createPartWriter(file: string): Promise<PartWriter> {
  await mkdir(path.dirname(file), { recursive: true }).catch((error: unknown) => {
    throw fileError(error, 'creating the folder', path.dirname(file));
  });
  if (await exists(file)) {
    throw new DatasetError(
      'PART_EXISTS',
      `the part ${file} exists already: expected an unused name, got a file; use another token`,
      { details: { path: file } },
    );
  }
  const writer = await ArrowFileWriter.create(file, PART_SCHEMA);
  let batch: PartTile[] = [];
  let bytes = 0;
  let last = -1;
  const take = async (tile: PartTile): Promise<void> => {
    if (tile.tile <= last) throw corrupt(file, `a tile after ${last}`, `tile ${tile.tile}`);
    last = tile.tile;
    // A full batch is held back until another tile follows: the last row carries the aggregate.
    if (batch.length >= BATCH_TILES || bytes >= BATCH_BYTES) {
      await writer.append(batch.length, arraysOf(batch, null));
      [batch, bytes] = [[], 0];
    }
    batch.push(tile);
    bytes += tile.output?.byteLength ?? 0;
  };
  return {
    append: async (tiles) => {
      for (const tile of tiles) await take(tile);
    },
    finish: async (partials) => {
      if (batch.length === 0) throw corrupt(file, 'at least 1 tile', 'none');
      await writer.append(batch.length, arraysOf(batch, partials));
      return writer.finish();
    },
    abandon: () => writer.abort(),
  };
}

/**
 * Writes a whole part durably.
 *
 * @throws {DatasetError} as `createPartWriter` does; the temporary file is removed
 */
export async function writePart(file: string, content: PartContent): Promise<WrittenFile> {
  const writer = await createPartWriter(file);
  try {
    for await (const tile of content.tiles) await writer.append([tile]);
    const { partials } = content;
    return await writer.finish(typeof partials === 'function' ? partials() : partials);
  } finally {
    await writer.abandon();
  }
}

/**
 * Reads a whole part and verifies it.
 *
 * @param expectedSha256 from durable history; null skips the comparison
 * @throws {DatasetError} `PART_CORRUPT` when it is missing, changed or not a part
 */
export async function readPart(file: string, expectedSha256: string | null): Promise<Part> {
  const bytes = await readVerified(file, expectedSha256);
  try {
    return decodePart(file, bytes);
  } catch (error) {
    if (error instanceof DatasetError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw corrupt(file, 'a readable Arrow file', message, error);
  }
}

/** Compares a part's bytes with its SHA-256 without decoding it. */
export async function verifyPart(file: string, expectedSha256: string): Promise<void> {
  await readVerified(file, expectedSha256);
}

async function readVerified(file: string, expectedSha256: string | null): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ENOENT') throw fileError(error, 'reading', file);
    throw corrupt(file, 'a part', 'no file', error);
  }
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (expectedSha256 !== null && sha256 !== expectedSha256) {
    throw corrupt(file, `SHA-256 ${expectedSha256}`, sha256);
  }
  return bytes;
}

const PART_SCHEMA = new Schema(
  [
    ...['tile', 'rows', 'hits', 'outside', 'invalid'].map(
      (name) => new Field(name, new Uint32(), false),
    ),
    new Field('digest', new FixedSizeBinary(DIGEST_BYTES), false),
    new Field('output', new List(new Field('item', new Int32(), false)), true),
    new Field('partials', new Binary(), true),
  ],
  new Map([['tileloom.part', '1']]),
);

function arraysOf(tiles: readonly PartTile[], partials: Uint8Array | null): ArrayData[] {
  const numbers = (pick: (tile: PartTile) => number): ArrayData =>
    required(tiles.length, Uint32Array.from(tiles, pick));
  const digests = Buffer.concat(tiles.map((tile) => Buffer.from(tile.digest, 'hex')));
  return [
    numbers((tile) => tile.tile),
    numbers((tile) => tile.rows),
    numbers((tile) => tile.hits),
    numbers((tile) => tile.outside),
    numbers((tile) => tile.invalid),
    required(tiles.length, digests),
    ...outputArrays(tiles),
    partialsArray(tiles.length, partials),
  ];
}

/** The list array and its child: offsets, then all ids of the batch. */
function outputArrays(tiles: readonly PartTile[]): ArrayData[] {
  const offsets = new Int32Array(tiles.length + 1);
  tiles.forEach((tile, index) => {
    offsets[index + 1] = (offsets[index] ?? 0) + (tile.output?.length ?? 0);
  });
  const ids = new Int32Array(offsets[tiles.length] ?? 0);
  tiles.forEach((tile, index) => {
    if (tile.output !== null) ids.set(tile.output, offsets[index]);
  });
  const validity = bitmap(tiles.map((tile) => tile.output !== null));
  return [
    { length: tiles.length, nulls: validity.nulls, buffers: [validity.bits, bytesOf(offsets)] },
    required(ids.length, ids),
  ];
}

/** Null in each row but the last one of the part. */
function partialsArray(length: number, partials: Uint8Array | null): ArrayData {
  const offsets = new Int32Array(length + 1);
  offsets[length] = partials?.length ?? 0;
  const isSet = Array.from({ length }, (_, index) => partials !== null && index === length - 1);
  const validity = bitmap(isSet);
  const values = partials ?? new Uint8Array(0);
  return { length, nulls: validity.nulls, buffers: [validity.bits, bytesOf(offsets), values] };
}

function bitmap(isSet: readonly boolean[]): { bits: Uint8Array; nulls: number } {
  const nulls = isSet.filter((set) => !set).length;
  if (nulls === 0) return { bits: new Uint8Array(0), nulls };
  const bits = new Uint8Array(Math.ceil(isSet.length / 8));
  isSet.forEach((set, index) => {
    if (set) bits[index >> 3] = (bits[index >> 3] ?? 0) | (1 << (index & 7));
  });
  return { bits, nulls };
}

function required(length: number, values: ArrayBufferView): ArrayData {
  return { length, nulls: 0, buffers: [new Uint8Array(0), bytesOf(values)] };
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function decodePart(file: string, bytes: Uint8Array): Part {
  const table = tableFromIPC(bytes);
  const version = table.schema.metadata.get('tileloom.part');
  if (version !== '1') throw corrupt(file, 'part format 1', version ?? 'no part');
  const tiles: PartTile[] = [];
  let partials: Uint8Array | null = null;
  for (const batch of table.batches) {
    const column = (name: string): { get(index: number): unknown } => {
      const found = batch.getChild(name);
      if (found === null) throw corrupt(file, `a column "${name}"`, 'none');
      return found;
    };
    const [tile, rows, hits] = [column('tile'), column('rows'), column('hits')];
    const [outside, invalid, digest] = [column('outside'), column('invalid'), column('digest')];
    const [output, merged] = [column('output'), column('partials')];
    for (let row = 0; row < batch.numRows; row += 1) {
      const ids = output.get(row) as { toArray(): Int32Array } | null;
      tiles.push({
        tile: tile.get(row) as number,
        rows: rows.get(row) as number,
        hits: hits.get(row) as number,
        outside: outside.get(row) as number,
        invalid: invalid.get(row) as number,
        digest: Buffer.from(digest.get(row) as Uint8Array).toString('hex'),
        output: ids === null ? null : ids.toArray(),
      });
      partials = (merged.get(row) as Uint8Array | null) ?? partials;
    }
  }
  if (partials === null) throw corrupt(file, 'an aggregate in the last row', 'none');
  return { tiles, partials };
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

function corrupt(file: string, expected: string, got: string, cause?: unknown): DatasetError {
  return new DatasetError(
    'PART_CORRUPT',
    `the part ${file} cannot be used: expected ${expected}, got ${got}; its tiles are ` +
      'computed again',
    { details: { path: file, expected, got }, cause },
  );
}
