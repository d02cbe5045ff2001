// Owns dataset.json, the face of a dataset folder: its schema, and which files belong to it.
import * as z from 'zod';

export const DATASET_FILE = 'dataset.json';
export const TILE_TABLE_FILE = 'tiles.arrow';
/** Present while a dataset is being written; what a later attempt may clear away. */
export const UNFINISHED_FILE = '_UNFINISHED';
/** Rows of a full tile unless told otherwise. */
export const DEFAULT_TILE_ROWS = 65_536;
/** Upper bound of rows in a tile: kernels address rows of a batch with 31 bits. */
export const TILE_ROWS_MAX = 1 << 24;
/** Tiles per data file; a file of full default tiles with four columns is then 2 GiB. */
export const TILES_PER_FILE = 1024;

export type ColumnType = 'float64' | 'int64' | 'timestamp';

const count = z.int().nonnegative();
const columnSchema = z.strictObject({
  name: z.string().min(1),
  type: z.enum(['float64', 'int64', 'timestamp']),
  nulls: count,
  nans: count,
  /**
   * Over the values that are neither null nor NaN; null where there are none or JSON cannot hold
   * it.
   */
  min: z.number().nullable(),
  max: z.number().nullable(),
});
const fileSchema = z.strictObject({
  name: z.string().regex(/^data-[0-9]{5}\.arrow$/u),
  bytes: count,
  tiles: count,
});

export const datasetSchema = z.strictObject({
  schema: z.literal('tileloom.dataset/1'),
  name: z.string(),
  crs: z.string(),
  ordered: z.boolean(),
  tileRows: z.int().positive().max(TILE_ROWS_MAX),
  tiles: count,
  rows: count,
  invalidRows: count,
  bbox: z.tuple([z.number(), z.number(), z.number(), z.number()]).nullable(),
  coordinates: z.strictObject({ x: z.string(), y: z.string() }),
  columns: z.array(columnSchema).min(2),
  files: z.array(fileSchema),
  tileTable: z.strictObject({ file: z.literal(TILE_TABLE_FILE), sha256: z.string().length(64) }),
  provenance: z.strictObject({
    tool: z.string(),
    converter: z.string(),
    source: z.string(),
    options: z.record(z.string(), z.unknown()),
  }),
});

export type DatasetManifest = z.infer<typeof datasetSchema>;
export type DatasetColumn = DatasetManifest['columns'][number];
export type Provenance = DatasetManifest['provenance'];

export interface ColumnSpec {
  readonly name: string;
  readonly type: ColumnType;
}

export function dataFileName(index: number): string {
  return `data-${String(index).padStart(5, '0')}.arrow`;
}
