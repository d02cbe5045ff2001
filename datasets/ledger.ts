// Owns tile records and the run digest: one fixed-width record per tile, in tile order, then the
// run's aggregate. The digest is the run's answer; it must not depend on plans, parts, hosts or
// time.
import { createHash } from 'node:crypto';
import { DatasetError } from './errors.ts';

export const TILE_RECORD_BYTES = 32;

export interface TileRecord {
  readonly tile: number;
  readonly rows: number;
  readonly state: 'done' | 'parked';
  /** 32 hex digits; null when parked. */
  readonly digest: string | null;
}

/** Fixed-width form: u64 tile, u32 rows, u32 state (0 done, 1 parked), 16 bytes digest. */
export function encodeTileRecords(records: readonly TileRecord[]): Uint8Array {
  const out = Buffer.alloc(TILE_RECORD_BYTES * records.length);
  records.forEach((record, index) => {
    const at = TILE_RECORD_BYTES * index;
    out.writeUInt32LE(record.tile % 2 ** 32, at);
    out.writeUInt32LE(Math.floor(record.tile / 2 ** 32), at + 4);
    out.writeUInt32LE(record.rows, at + 8);
    out.writeUInt32LE(record.state === 'parked' ? 1 : 0, at + 12);
    if (record.digest !== null && record.state === 'done') out.write(record.digest, at + 16, 'hex');
  });
  return new Uint8Array(out.buffer, out.byteOffset, out.byteLength);
}

/** @throws {DatasetError} `SEGMENT_CORRUPT` when the bytes are no whole records */
export function decodeTileRecords(bytes: Uint8Array): TileRecord[] {
  if (bytes.length % TILE_RECORD_BYTES !== 0) {
    throw new DatasetError(
      'SEGMENT_CORRUPT',
      `tile records are torn: expected a multiple of ${TILE_RECORD_BYTES} bytes, got ` +
        `${bytes.length}`,
    );
  }
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / TILE_RECORD_BYTES }, (_, index): TileRecord => {
    const at = TILE_RECORD_BYTES * index;
    const parked = view.readUInt32LE(at + 12) === 1;
    return {
      tile: view.readUInt32LE(at) + view.readUInt32LE(at + 4) * 2 ** 32,
      rows: view.readUInt32LE(at + 8),
      state: parked ? 'parked' : 'done',
      digest: parked ? null : view.toString('hex', at + 16, at + TILE_RECORD_BYTES),
    };
  });
}

/**
 * Collects the records of a run in 36 bytes per tile and proves that each tile is covered once.
 *
 * A parked tile that was retried has a second record, in a later segment of its own shard: that one
 * overrides. Nothing overrides a tile that is done, and no shard overrides another's.
 */
export class TileLedger {
  readonly tiles: number;
  readonly #records: Uint8Array;
  /** By tile: the shard whose record it is, plus one; 0 while there is none. */
  readonly #owners: Uint32Array;

  constructor(tiles: number) {
    this.tiles = tiles;
    this.#records = new Uint8Array(TILE_RECORD_BYTES * tiles);
    this.#owners = new Uint32Array(tiles);
  }

  /**
   * Adds the records of one segment in their encoded form, in any order; the segments of one shard
   * must come in the order of their chain.
   *
   * @throws {DatasetError} `LEDGER_BROKEN` for a tile outside the run or covered before
   */
  add(encoded: Uint8Array, shard: number): void {
    const parkedHere = new Set<number>();
    for (const record of decodeTileRecords(encoded)) {
      const { tile } = record;
      if (tile >= this.tiles) throw this.#wrong(tile, 'a tile outside the run');
      const owner = this.#owners[tile] ?? 0;
      if (owner !== 0) {
        if (owner !== shard + 1) throw this.#wrong(tile, 'one more record, of another shard');
        if (!this.isParked(tile) || parkedHere.has(tile)) {
          throw this.#wrong(tile, 'one more record of it');
        }
      }
      if (record.state === 'parked') parkedHere.add(tile);
      this.#owners[tile] = shard + 1;
      this.#records.set(encodeTileRecords([record]), TILE_RECORD_BYTES * tile);
    }
  }

  /** Whether the tile's record, the latest one, says that it is parked. */
  isParked(tile: number): boolean {
    return this.#owners[tile] !== 0 && this.#records[TILE_RECORD_BYTES * tile + 12] === 1;
  }

  #wrong(tile: number, got: string): DatasetError {
    return new DatasetError(
      'LEDGER_BROKEN',
      `tile ${tile} is in the ledger wrongly: expected exactly one record of each of ` +
        `${this.tiles} tiles, got ${got}; the run cannot be published`,
      { details: { tile } },
    );
  }

  /** Tiles without a record, as half-open ranges. */
  missing(): { firstTile: number; endTile: number }[] {
    const ranges: { firstTile: number; endTile: number }[] = [];
    for (let tile = 0; tile < this.tiles; tile += 1) {
      if (this.#owners[tile] !== 0) continue;
      const last = ranges.at(-1);
      if (last?.endTile === tile) last.endTile = tile + 1;
      else ranges.push({ firstTile: tile, endTile: tile + 1 });
    }
    return ranges;
  }

  /**
   * The run digest.
   *
   * @throws {DatasetError} `LEDGER_BROKEN` while tiles are missing
   */
  digest(partials: Uint8Array): string {
    const first = this.missing()[0];
    if (first !== undefined) {
      throw new DatasetError(
        'LEDGER_BROKEN',
        `the ledger is not complete: expected ${this.tiles} tiles, got none for ` +
          `${first.firstTile} to ${first.endTile - 1}; the run cannot be published`,
        { details: { tile: first.firstTile } },
      );
    }
    return runDigest(this.#records, partials);
  }
}

/** SHA-256 over all tile records in tile order, then the run's TLP1 bytes: 64 hex digits. */
export function runDigest(
  records: Uint8Array | readonly TileRecord[],
  partials: Uint8Array,
): string {
  const bytes = records instanceof Uint8Array ? records : encodeTileRecords(records);
  return createHash('sha256').update(bytes).update(partials).digest('hex');
}
