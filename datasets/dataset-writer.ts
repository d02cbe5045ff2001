// Owns writing a dataset folder: data files of many tiles each, then the tile table, then
// dataset.json.
// I1 dataset.json appears last, so a folder with it is whole; until then _UNFINISHED marks it as
//    ours.
// I2 a failure removes everything that was written here, and the folder if it was made here.
// I3 bytes depend on columns, options and values only.
import { mkdir, readFile, readdir, rm, rmdir, unlink } from 'node:fs/promises';
import path from 'node:path';
import { Field, Float64, Int64, Schema, TimestampMillisecond, type DataType } from 'apache-arrow';
import { ArrowFileWriter, type ArrayData } from './arrow-writer.ts';
import { TEMPORARY_SUFFIX, writeFileDurable, writeFileExclusive } from './durable.ts';
import { DatasetError, fileError } from './errors.ts';
import {
  DATASET_FILE,
  TILES_PER_FILE,
  TILE_TABLE_FILE,
  UNFINISHED_FILE,
  dataFileName,
  type ColumnSpec,
  type ColumnType,
  type DatasetManifest,
  type Provenance,
} from './format.ts';
import { TileTableBuilder, writeTileTable, type TileTable } from './tile-table.ts';
import {
  NO_VALUES,
  mergeStatistics,
  tileStatistics,
  type ColumnStatistics,
  type Tile,
  type TileStatistics,
} from './tile-values.ts';

export interface DatasetOptions {
  readonly name: string;
  readonly crs: string;
  readonly ordered: boolean;
  readonly tileRows: number;
  readonly columns: readonly ColumnSpec[];
  readonly coordinates: { readonly x: string; readonly y: string };
  readonly provenance: Provenance;
  /** Replaces an earlier dataset or the remains of one; never anything else. */
  readonly force: boolean;
  /** Tiles per data file; 1024 unless a test makes it small. */
  readonly tilesPerFile?: number;
}

/** Writes tiles in order; holds one tile at a time and about 100 bytes for each before it. */
export class DatasetWriter {
  readonly folder: string;
  readonly #options: DatasetOptions;
  readonly #types: readonly ColumnType[];
  readonly #created: boolean;
  readonly #table: TileTableBuilder;
  readonly #files: { name: string; bytes: number; tiles: number }[] = [];
  #columns: ColumnStatistics[];
  #file: ArrowFileWriter | null = null;

  private constructor(folder: string, options: DatasetOptions, created: boolean) {
    this.folder = folder;
    this.#options = options;
    this.#types = options.columns.map((column) => column.type);
    this.#created = created;
    this.#columns = options.columns.map(() => NO_VALUES);
    this.#table = new TileTableBuilder(options.columns.map((column) => column.name));
  }

  /**
   * Makes the folder, exclusively.
   *
   * @throws {DatasetError} `DATASET_EXISTS` for a folder that is in use
   */
  static async create(out: string, options: DatasetOptions): Promise<DatasetWriter> {
    const folder = path.resolve(out);
    const created = await claimFolder(folder, options.force);
    return new DatasetWriter(folder, options, created);
  }

  /** Indices of the coordinate columns. */
  get coordinates(): readonly [number, number] {
    const index = (name: string): number =>
      this.#options.columns.findIndex((column) => column.name === name);
    return [index(this.#options.coordinates.x), index(this.#options.coordinates.y)];
  }

  get tiles(): number {
    return this.#table.tiles;
  }

  /** Appends the next tile; statistics are computed here unless a worker did. */
  async append(tile: Tile, known?: TileStatistics): Promise<void> {
    const statistics = known ?? tileStatistics(tile, this.#types, this.coordinates);
    try {
      this.#file ??= await ArrowFileWriter.create(
        path.join(this.folder, dataFileName(this.#files.length)),
        dataSchema(this.#options.columns),
        { digest: false },
      );
      const batch = this.#file.batches;
      await this.#file.append(tile.rows, arraysOf(tile, statistics));
      this.#table.push(this.#files.length, batch, statistics);
      this.#columns = this.#columns.map((column, index) =>
        mergeStatistics(column, statistics.columns[index] ?? NO_VALUES),
      );
      if (batch + 1 >= (this.#options.tilesPerFile ?? TILES_PER_FILE)) await this.#closeFile();
    } catch (error) {
      await this.abort();
      throw fileError(error, 'writing', this.folder);
    }
  }

  /** Writes the tile table and dataset.json. */
  async finish(): Promise<DatasetManifest> {
    try {
      await this.#closeFile();
      const table = this.#table.build();
      const written = await writeTileTable(path.join(this.folder, TILE_TABLE_FILE), table);
      const manifest = this.#manifest(table, written.sha256);
      await writeFileDurable(
        path.join(this.folder, DATASET_FILE),
        `${JSON.stringify(manifest, null, 2)}\n`,
      );
      await unlink(path.join(this.folder, UNFINISHED_FILE));
      return manifest;
    } catch (error) {
      await this.abort();
      throw fileError(error, 'finishing', this.folder);
    }
  }

  /** Removes what was written. */
  async abort(): Promise<void> {
    await this.#file?.abort();
    this.#file = null;
    await removeOurFiles(this.folder);
    if (this.#created) await rmdir(this.folder).catch(() => undefined);
  }

  async #closeFile(): Promise<void> {
    if (this.#file === null) return;
    const tiles = this.#file.batches;
    const { file, bytes } = await this.#file.finish();
    this.#files.push({ name: file, bytes, tiles });
    this.#file = null;
  }

  #manifest(table: TileTable, tableSha256: string): DatasetManifest {
    const { name, crs, ordered, tileRows, columns, coordinates, provenance } = this.#options;
    const rows = table.rows.reduce((sum, value) => sum + value, 0);
    const invalidRows = table.invalid.reduce((sum, value) => sum + value, 0);
    const [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    const bbox: [number, number, number, number] = [
      table.minX.reduce((least, value) => Math.min(least, value), low),
      table.minY.reduce((least, value) => Math.min(least, value), low),
      table.maxX.reduce((most, value) => Math.max(most, value), high),
      table.maxY.reduce((most, value) => Math.max(most, value), high),
    ];
    return {
      schema: 'tileloom.dataset/1',
      name,
      crs,
      ordered,
      tileRows,
      tiles: table.tiles,
      rows,
      invalidRows,
      bbox: invalidRows < rows ? bbox : null,
      coordinates,
      columns: columns.map((column, index) => {
        const { nulls, nans, min, max } = this.#columns[index] ?? NO_VALUES;
        const known = (value: number): number | null => (Number.isFinite(value) ? value : null);
        return { ...column, nulls, nans, min: known(min), max: known(max) };
      }),
      files: this.#files,
      tileTable: { file: TILE_TABLE_FILE, sha256: tableSha256 },
      provenance,
    };
  }
}

function dataSchema(columns: readonly ColumnSpec[]): Schema {
  const typeOf = (type: ColumnType): DataType => {
    if (type === 'float64') return new Float64();
    return type === 'int64' ? new Int64() : new TimestampMillisecond('UTC');
  };
  return new Schema(
    columns.map(({ name, type }) => new Field(name, typeOf(type), true)),
    new Map([['tileloom.data', '1']]),
  );
}

function arraysOf(tile: Tile, statistics: TileStatistics): ArrayData[] {
  return tile.columns.map(({ values, validity }, index) => {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const nulls = statistics.columns[index]?.nulls ?? 0;
    return {
      length: tile.rows,
      nulls,
      buffers: [nulls > 0 && validity !== null ? validity : new Uint8Array(0), bytes],
    };
  });
}

/** @returns whether the folder was made here */
async function claimFolder(folder: string, force: boolean): Promise<boolean> {
  await mkdir(path.dirname(folder), { recursive: true }).catch((error: unknown) => {
    throw fileError(error, 'creating the folder', path.dirname(folder));
  });
  const created = await mkdir(folder).then(
    () => true,
    (error: unknown) => {
      if ((error as { code?: unknown }).code === 'EEXIST') return false;
      throw fileError(error, 'creating the folder', folder);
    },
  );
  if (!created) await clearFolder(folder, force);
  const claimed = await writeFileExclusive(path.join(folder, UNFINISHED_FILE), '');
  if (!claimed) throw existsError(folder, 'a dataset that is being written', 'wait for it');
  return created;
}

async function clearFolder(folder: string, force: boolean): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError(error, 'listing', folder);
  });
  if (names.length === 0) return;
  const foreign = names.filter((name) => !isOurs(name)).sort();
  if (foreign.length > 0) {
    throw existsError(folder, foreign.slice(0, 3).join(', '), 'choose another folder');
  }
  const unfinished = names.includes(UNFINISHED_FILE);
  if (!force) {
    const got = unfinished ? 'an unfinished dataset' : 'a dataset';
    throw existsError(folder, got, 'choose another folder or pass --force to replace it');
  }
  if (!unfinished) await requireDataset(folder);
  await removeOurFiles(folder);
}

/** A folder without the marker is replaced only if its dataset.json is one of ours. */
async function requireDataset(folder: string): Promise<void> {
  const text = await readFile(path.join(folder, DATASET_FILE), 'utf8').catch(() => '');
  if (!text.includes('"tileloom.dataset/')) {
    throw existsError(folder, 'files that are no dataset', 'choose another folder');
  }
}

function isOurs(name: string): boolean {
  const known = [DATASET_FILE, TILE_TABLE_FILE, UNFINISHED_FILE];
  return known.includes(name) || isDataFile(name) || isTemporary(name);
}

function isDataFile(name: string): boolean {
  return /^data-[0-9]{5}\.arrow$/u.test(name);
}

function isTemporary(name: string): boolean {
  return /^(?:data-|tiles|dataset|_UNFINISHED)/u.test(name) && name.endsWith(TEMPORARY_SUFFIX);
}

async function removeOurFiles(folder: string): Promise<void> {
  const names = (await readdir(folder).catch(() => [])).filter(isOurs);
  // dataset.json goes first: a folder that has it must be whole.
  names.sort((a, b) => Number(b === DATASET_FILE) - Number(a === DATASET_FILE));
  for (const name of names) await rm(path.join(folder, name), { force: true });
}

function existsError(folder: string, got: string, remedy: string): DatasetError {
  return new DatasetError(
    'DATASET_EXISTS',
    `${folder} is in use: expected an empty or missing folder, got ${got}; ${remedy}`,
    { details: { path: folder, got } },
  );
}
