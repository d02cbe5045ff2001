// Owns opening a dataset folder: dataset.json, the tile table and the sizes of all files are
// checked before the first tile is resolved. Checksums of tiles are checked by whoever reads them.
import { createHash } from 'node:crypto';
import { readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { DatasetError, fileError } from './errors.ts';
import { DATASET_FILE, UNFINISHED_FILE, datasetSchema, type DatasetManifest } from './format.ts';
import { readTileTable, type TileTable } from './tile-table.ts';
import { createTileSource, type TileColumns, type TileSource } from './tile-source.ts';

export interface Dataset {
  /** Real absolute path of the folder. */
  readonly path: string;
  readonly manifest: DatasetManifest;
  /** SHA-256 of dataset.json, the dataset's identity: it names the tile table's digest. */
  readonly digest: string;
  readonly table: TileTable;
  /**
   * Resolves tiles to the byte ranges of some columns.
   *
   * @throws {DatasetError} `COLUMN_MISSING`
   */
  tileSource(columns: TileColumns): TileSource;
}

/**
 * Opens a dataset.
 *
 * @throws {DatasetError} `DATASET_NOT_FOUND`, `DATASET_UNFINISHED`, `DATASET_INVALID`,
 *   `DATASET_FILE_MISSING`, `DATASET_FILE_SIZE`, `TILE_TABLE_CORRUPT`, `ARROW_…`
 */
export async function openDataset(folder: string): Promise<Dataset> {
  const real = await realpath(folder).catch(() => null);
  if (real === null) throw notFound(folder);
  const bytes = await readManifestBytes(real);
  const manifest = parseManifest(real, bytes);
  await checkFiles(real, manifest);
  const table = await readTileTable(path.join(real, manifest.tileTable.file), {
    sha256: manifest.tileTable.sha256,
    tiles: manifest.tiles,
    columns: manifest.columns.map((column) => column.name),
  });
  checkTable(real, manifest, table);
  return {
    path: real,
    manifest,
    digest: createHash('sha256').update(bytes).digest('hex'),
    table,
    tileSource: (columns) => createTileSource({ path: real, manifest, table }, columns),
  };
}

async function readManifestBytes(folder: string): Promise<Uint8Array> {
  const file = path.join(folder, DATASET_FILE);
  try {
    return await readFile(file);
  } catch (error) {
    const errno = (error as { code?: unknown }).code;
    if (errno !== 'ENOENT' && errno !== 'ENOTDIR') throw fileError(error, 'reading', file);
    const unfinished = await stat(path.join(folder, UNFINISHED_FILE)).catch(() => null);
    if (unfinished === null) throw notFound(folder);
    throw new DatasetError(
      'DATASET_UNFINISHED',
      `the dataset ${folder} is unfinished: expected ${DATASET_FILE}, got only ` +
        `${UNFINISHED_FILE}; ` +
        'it is still being written, or make it again with --force',
      { details: { path: folder } },
    );
  }
}

function parseManifest(folder: string, bytes: Uint8Array): DatasetManifest {
  const file = path.join(folder, DATASET_FILE);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid(file, 'JSON', error instanceof Error ? error.message : String(error), error);
  }
  const parsed = datasetSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue === undefined ? '' : issue.path.join('.');
    throw invalid(
      file,
      `a valid field "${field}"`,
      issue?.message ?? 'another value',
      parsed.error,
    );
  }
  const manifest = parsed.data;
  const names = manifest.columns.map((column) => column.name);
  if (new Set(names).size !== names.length)
    throw invalid(file, 'distinct columns', names.join(', '));
  for (const name of [manifest.coordinates.x, manifest.coordinates.y]) {
    const column = manifest.columns.find((candidate) => candidate.name === name);
    if (column?.type !== 'float64') {
      throw invalid(
        file,
        `a float64 coordinate column "${name}"`,
        column?.type ?? 'no such column',
      );
    }
  }
  const inFiles = manifest.files.reduce((sum, item) => sum + item.tiles, 0);
  if (inFiles !== manifest.tiles)
    throw invalid(file, `${manifest.tiles} tiles in files`, `${inFiles}`);
  return manifest;
}

async function checkFiles(folder: string, manifest: DatasetManifest): Promise<void> {
  for (const { name, bytes } of manifest.files) {
    const file = path.join(folder, name);
    const found = await stat(file).catch(() => null);
    if (found === null) {
      throw new DatasetError(
        'DATASET_FILE_MISSING',
        `${file} is missing: expected ${bytes} bytes, got no file; restore it or make the ` +
          'dataset again',
        { details: { path: file } },
      );
    }
    if (found.size !== bytes) {
      throw new DatasetError(
        'DATASET_FILE_SIZE',
        `${file} has another size than when it was written: expected ${bytes} bytes, ` +
          `got ${found.size}; restore it or make the dataset again`,
        { details: { path: file, expected: bytes, got: found.size } },
      );
    }
  }
}

/**
 * Counts of the table must add up to those of dataset.json, whose digest covers the table's bytes.
 */
function checkTable(folder: string, manifest: DatasetManifest, table: TileTable): void {
  const file = path.join(folder, DATASET_FILE);
  let rows = 0;
  for (let tile = 0; tile < table.tiles; tile += 1) {
    rows += table.rows[tile] ?? 0;
    const known = (table.file[tile] ?? 0) < manifest.files.length;
    if (!known) throw invalid(file, `a file for tile ${tile}`, `file number ${table.file[tile]}`);
    if ((table.rows[tile] ?? 0) > manifest.tileRows) {
      throw invalid(
        file,
        `at most ${manifest.tileRows} rows in tile ${tile}`,
        `${table.rows[tile]}`,
      );
    }
  }
  if (rows !== manifest.rows) throw invalid(file, `${manifest.rows} rows in all tiles`, `${rows}`);
}

function notFound(folder: string): DatasetError {
  return new DatasetError(
    'DATASET_NOT_FOUND',
    `${folder} is not a dataset: expected a folder with ${DATASET_FILE}, got none; ` +
      'make one with `tileloom dataset make` or `tileloom dataset convert`',
    { details: { path: folder } },
  );
}

function invalid(file: string, expected: string, got: string, cause?: unknown): DatasetError {
  return new DatasetError(
    'DATASET_INVALID',
    `${file} is not valid: expected ${expected}, got ${got}; restore it or make the dataset again`,
    { details: { path: file, expected, got }, cause },
  );
}
