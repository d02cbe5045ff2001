// Owns `dataset convert`: GeoParquet, Parquet, GeoJSON and Arrow files become one tiled dataset.
// I1 memory is bounded: one tile, plus one row group (Parquet), one record batch (Arrow) or one
//    feature (GeoJSON), plus with order `curve` one sorted run or 64 KiB per run; never the input.
// I2 bytes depend on the inputs, their order and the options only.
import path from 'node:path';
import { CRS84, isGeographic, normaliseCrs } from './crs.ts';
import { sortAlongCurve } from './curve-sort.ts';
import { DatasetWriter } from './dataset-writer.ts';
import { temporaryName } from './durable.ts';
import { DatasetError } from './errors.ts';
import { DEFAULT_TILE_ROWS, TILE_ROWS_MAX, type DatasetManifest } from './format.ts';
import { expandGlobs } from './glob.ts';
import { openArrow } from './input-arrow.ts';
import { openGeoJson } from './input-geojson.ts';
import { openParquet } from './input-parquet.ts';
import {
  detectFormat,
  type Block,
  type InputReader,
  type InputRequest,
  type InputSchema,
} from './input.ts';
import { requireInteger, type OnProgress } from './make-dataset.ts';
import { TileAssembler } from './tile-assembler.ts';
import { WORLD } from './cities.ts';

export interface ConvertOptions {
  /** Files or patterns; patterns expand in byte order. */
  readonly inputs: readonly string[];
  readonly out: string;
  /**
   * Names of coordinate columns; found by name (lon/lat, longitude/latitude, x/y …) unless given.
   */
  readonly x?: string;
  readonly y?: string;
  /** Columns to keep besides the coordinates; all numbers and timestamps unless given. */
  readonly columns?: readonly string[];
  /** CRS of the inputs; a file that states another one is refused. */
  readonly crs?: string;
  readonly tileRows?: number;
  /**
   * `curve` sorts rows along a Hilbert curve on disk; `keep` (default) keeps the order of the
   * input.
   */
  readonly order?: 'curve' | 'keep';
  readonly name?: string;
  readonly force?: boolean;
  readonly signal?: AbortSignal;
  /** Rows per sorted run; tests make it small. */
  readonly sortRunRows?: number;
}

/**
 * Converts files to a dataset.
 *
 * @throws {DatasetError} codes of inputs, `DATASET_EXISTS`, `DISK_FULL`; nothing is left behind
 */
export async function convertDataset(
  options: ConvertOptions,
  onProgress: OnProgress = () => undefined,
): Promise<DatasetManifest> {
  const { tileRows = DEFAULT_TILE_ROWS, order = 'keep', force = false } = options;
  requireInteger('tileRows', tileRows, 1, TILE_ROWS_MAX);
  const files = await expandGlobs(options.inputs);
  const request: InputRequest = {
    x: options.x ?? null,
    y: options.y ?? null,
    columns: options.columns ?? null,
    crs: options.crs === undefined ? null : normaliseCrs(options.crs),
  };
  const plan = await planConversion(files, request);
  const writer = await DatasetWriter.create(options.out, {
    name: options.name ?? path.basename(path.resolve(options.out)),
    crs: plan.crs,
    ordered: order === 'curve',
    tileRows,
    columns: plan.schema.columns,
    coordinates: { x: plan.schema.columns[0]?.name ?? '', y: plan.schema.columns[1]?.name ?? '' },
    provenance: {
      tool: 'tileloom',
      converter: '1',
      source: files.map((file) => path.basename(file)).join(', '),
      options: { order, tileRows, ...request },
    },
    force,
  });
  try {
    const types = plan.schema.columns.map((column) => column.type);
    const assembler = new TileAssembler(types, tileRows);
    let rowsDone = 0;
    const take = async (tile: NonNullable<ReturnType<TileAssembler['last']>>): Promise<void> => {
      options.signal?.throwIfAborted();
      await writer.append(tile);
      rowsDone += tile.rows;
      onProgress({ rowsDone, rowsTotal: plan.rows, tilesDone: writer.tiles });
    };
    for await (const block of orderedBlocks(plan, options, writer.folder)) {
      for (const tile of assembler.add(block)) await take(tile);
    }
    const last = assembler.last();
    if (last !== null) await take(last);
    return await writer.finish();
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

interface ConversionPlan {
  readonly schema: InputSchema;
  readonly crs: string;
  readonly rows: number | null;
  blocks(): AsyncIterable<Block>;
}

/** Opens each input once to compare schemas; they are opened again, one by one, to be read. */
async function planConversion(
  files: readonly string[],
  request: InputRequest,
): Promise<ConversionPlan> {
  let schema: InputSchema | null = null;
  let rows: number | null = 0;
  for (const file of files) {
    const reader = await openInput(file, request);
    await reader.close();
    schema ??= reader.schema;
    requireSameSchema(files[0] ?? '', schema, file, reader.schema);
    rows = rows === null || reader.schema.rows === null ? null : rows + reader.schema.rows;
    requireCrs(file, reader.schema.crs, request.crs ?? schema.crs);
  }
  if (schema === null) {
    throw new DatasetError(
      'INPUT_NOT_FOUND',
      'no input was given: expected at least 1 file, got 0',
    );
  }
  return {
    schema,
    crs: request.crs ?? schema.crs ?? CRS84,
    rows,
    blocks: () => allBlocks(files, request),
  };
}

async function openInput(file: string, request: InputRequest): Promise<InputReader> {
  const format = await detectFormat(file);
  if (format === 'parquet') return openParquet(file, request);
  if (format === 'geojson') return openGeoJson(file, request);
  return openArrow(file, format, request);
}

async function* allBlocks(files: readonly string[], request: InputRequest): AsyncGenerator<Block> {
  for (const file of files) {
    const reader = await openInput(file, request);
    try {
      yield* reader.blocks();
    } finally {
      await reader.close();
    }
  }
}

function orderedBlocks(
  plan: ConversionPlan,
  options: ConvertOptions,
  folder: string,
): AsyncIterable<Block> {
  if (options.order !== 'curve') return plan.blocks();
  return curveBlocks(plan, options, folder);
}

/**
 * The curve spans the world in degrees; in another CRS the inputs are read twice to find their
 * bounds.
 */
async function* curveBlocks(
  plan: ConversionPlan,
  options: ConvertOptions,
  folder: string,
): AsyncGenerator<Block> {
  const box = isGeographic(plan.crs) ? WORLD : await boundsOf(plan.blocks());
  yield* sortAlongCurve(plan.blocks(), {
    types: plan.schema.columns.map((column) => column.type),
    box,
    temporaryFile: temporaryName(path.join(folder, 'data-sort')),
    ...(options.sortRunRows === undefined ? {} : { runRows: options.sortRunRows }),
  });
}

async function boundsOf(
  blocks: AsyncIterable<Block>,
): Promise<readonly [number, number, number, number]> {
  let [minX, minY] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  let [maxX, maxY] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for await (const block of blocks) {
    const [x, y] = block.columns;
    for (let row = 0; row < block.rows; row += 1) {
      if (x?.nulls?.[row] === 1 || y?.nulls?.[row] === 1) continue;
      const [px, py] = [Number(x?.values[row]), Number(y?.values[row])];
      if (!Number.isFinite(px) || !Number.isFinite(py)) continue;
      minX = Math.min(minX, px);
      minY = Math.min(minY, py);
      maxX = Math.max(maxX, px);
      maxY = Math.max(maxY, py);
    }
  }
  return [minX, minY, maxX, maxY];
}

function requireSameSchema(
  firstFile: string,
  first: InputSchema,
  file: string,
  other: InputSchema,
): void {
  const shown = (schema: InputSchema): string =>
    schema.columns.map(({ name, type }) => `${name}: ${type}`).join(', ');
  if (shown(first) === shown(other)) return;
  throw new DatasetError(
    'INPUT_FORMAT',
    `${file} has other columns than ${firstFile}: expected ${shown(first)}, got ${shown(other)}; ` +
      'name the columns they share with the option columns',
    { details: { path: file, expected: shown(first), got: shown(other) } },
  );
}

function requireCrs(file: string, got: string | null, expected: string | null): void {
  if (got === null || expected === null || got === expected) return;
  throw new DatasetError(
    'CRS_MISMATCH',
    `${file} is in another CRS: expected ${expected}, got ${got}; ` +
      'reproject it or correct the option crs, nothing is reprojected silently',
    { details: { path: file, expected, got } },
  );
}
