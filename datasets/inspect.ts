// Owns `dataset inspect`: what a dataset says of itself, and on request whether its values still
// hash to the checksums of the tile table.
import { open, type FileHandle } from 'node:fs/promises';
import { columnChecksum } from './checksum.ts';
import { openDataset, type Dataset } from './dataset.ts';
import { isEngineError } from '../core/index.ts';
import type { ColumnInput } from '../native/index.ts';
import { createTileSource, type TileSource } from './tile-source.ts';
import type { DatasetManifest } from './format.ts';
import { tileChecksum } from './tile-table.ts';
import type { OnProgress } from './make-dataset.ts';

export interface TileProblem {
  readonly tile: number;
  readonly file: string;
  readonly column: string | null;
  readonly code: string;
  readonly message: string;
}

export interface Inspection {
  readonly schema: 'tileloom.inspection/1';
  readonly path: string;
  /** SHA-256 of dataset.json. */
  readonly digest: string;
  readonly manifest: DatasetManifest;
  readonly bytes: number;
  readonly rowsPerTile: { readonly min: number; readonly max: number } | null;
  readonly tilesWithInvalidRows: number;
  /** Null unless asked for. */
  readonly verified: {
    readonly tiles: number;
    readonly columns: number;
    readonly bytes: number;
    /** The first hundred of them. */
    readonly problems: readonly TileProblem[];
    readonly problemCount: number;
  } | null;
}

const PROBLEMS_MAX = 100;

/**
 * Describes a dataset.
 *
 * @param options verify: reads everything and recomputes all checksums; problems are listed, not
 *   thrown
 * @throws {DatasetError} as `openDataset` does
 */
export async function inspectDataset(
  folder: string,
  options: { readonly verify?: boolean } = {},
  onProgress: OnProgress = () => undefined,
): Promise<Inspection> {
  const dataset = await openDataset(folder);
  const { manifest, table } = dataset;
  const rowsPerTile =
    table.tiles === 0
      ? null
      : {
          min: table.rows.reduce((least, rows) => Math.min(least, rows)),
          max: table.rows.reduce((most, rows) => Math.max(most, rows)),
        };
  return {
    schema: 'tileloom.inspection/1',
    path: dataset.path,
    digest: dataset.digest,
    manifest,
    bytes: manifest.files.reduce((sum, file) => sum + file.bytes, 0),
    rowsPerTile,
    tilesWithInvalidRows: table.invalid.reduce((sum, rows) => sum + (rows > 0 ? 1 : 0), 0),
    verified: options.verify === true ? await verifyTiles(dataset, onProgress) : null,
  };
}

async function verifyTiles(
  dataset: Dataset,
  onProgress: OnProgress,
): Promise<NonNullable<Inspection['verified']>> {
  const { manifest, table } = dataset;
  const { x, y } = manifest.coordinates;
  const names = manifest.columns.map((column) => column.name);
  const measures = names.filter((name) => name !== x && name !== y);
  const source = createTileSource(dataset, { measures });
  const problems: TileProblem[] = [];
  let [problemCount, bytes, rowsDone] = [0, 0, 0];
  const report = (problem: TileProblem): void => {
    problemCount += 1;
    if (problems.length < PROBLEMS_MAX) problems.push(problem);
  };
  const files = new FileCache();
  try {
    for (let tile = 0; tile < table.tiles; tile += 1) {
      bytes += await verifyTile({ dataset, source, files }, tile, report);
      rowsDone += table.rows[tile] ?? 0;
      onProgress({ rowsDone, rowsTotal: manifest.rows, tilesDone: tile + 1 });
    }
  } finally {
    source.close();
    await files.close();
  }
  return { tiles: table.tiles, columns: names.length, bytes, problems, problemCount };
}

interface Verification {
  readonly dataset: Dataset;
  readonly source: TileSource;
  readonly files: FileCache;
}

/** @returns bytes read */
async function verifyTile(
  { dataset, source, files }: Verification,
  tile: number,
  report: (problem: TileProblem) => void,
): Promise<number> {
  const file = dataset.manifest.files[dataset.table.file[tile] ?? 0]?.name ?? '';
  let bytes = 0;
  try {
    const input = source.resolve(tile);
    const handle = await files.get(input.path);
    for (const column of [input.x, input.y, ...input.measures]) {
      const got = await checksumOf(handle, column, input.rows);
      bytes += 8 * input.rows;
      const expected = tileChecksum(dataset.table, column.name, tile);
      if (got === expected) continue;
      const message =
        `tile ${tile} of ${file}, column "${column.name}", was changed: ` +
        `expected XXH3-128 ${expected ?? 'none'}, got ${got}; restore the file`;
      report({ tile, file, column: column.name, code: 'TILE_CORRUPT', message });
    }
  } catch (error) {
    if (!isEngineError(error)) throw error;
    report({ tile, file, column: null, code: error.code, message: error.message });
  }
  return bytes;
}

async function checksumOf(handle: FileHandle, column: ColumnInput, rows: number): Promise<string> {
  const values = new Uint8Array(8 * rows);
  await handle.read(values, 0, values.length, column.dataOffset);
  if (column.validityOffset === null) return columnChecksum(null, values);
  const validity = new Uint8Array(Math.ceil(rows / 8));
  await handle.read(validity, 0, validity.length, column.validityOffset);
  return columnChecksum(validity, values);
}

/** Keeps the last file open: tiles come in file order. */
class FileCache {
  #path = '';
  #handle: FileHandle | null = null;

  async get(path: string): Promise<FileHandle> {
    if (this.#handle !== null && this.#path === path) return this.#handle;
    await this.close();
    this.#handle = await open(path, 'r');
    this.#path = path;
    return this.#handle;
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = null;
  }
}
