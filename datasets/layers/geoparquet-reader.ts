// Owns reading of GeoParquet 1.0 and 1.1 with WKB polygons, one row group at a time.
import { parquetMetadataAsync, parquetReadObjects, type FileMetaData } from 'hyparquet';
import { asyncBufferFromFile } from 'hyparquet/src/node.js';
import { compressors } from 'hyparquet-compressors';
import { crsOfGeoParquet } from './layer-crs.ts';
import { LayerError } from './errors.ts';
import { nameFeature, RawFeature, type FeatureSink, type NamingOptions } from './raw-feature.ts';
import { addWkb, WkbError } from './wkb.ts';

const NAME_COLUMNS = ['name', 'NAME', 'Name', 'name_en', 'NAME_EN', 'ADMIN', 'admin', 'title'];

interface GeoColumn {
  readonly encoding?: unknown;
  readonly edges?: unknown;
  readonly crs?: unknown;
}

/**
 * Reads the primary geometry column of a GeoParquet file and hands its features to the sink.
 *
 * @returns the normalised CRS, null when the file says that it is unknown
 * @throws {LayerError} `LAYER_PARQUET_INVALID`, `LAYER_EDGES_SPHERICAL`, `LAYER_WKB_INVALID`
 */
export async function readGeoParquet(
  path: string,
  naming: NamingOptions,
  sink: FeatureSink,
  giveWay: () => Promise<void> | undefined,
): Promise<string | null> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file).catch((error: unknown) => {
    throw invalid(path, 'a Parquet footer', messageOf(error), error);
  });
  const { name: geometryColumn, column } = geometryColumnOf(metadata, path);
  const present = new Set(metadata.schema.map((element) => element.name));
  const wanted = naming.id === '@id' ? 'id' : naming.id;
  const columns = [...new Set([geometryColumn, wanted, ...NAME_COLUMNS])].filter((name) =>
    present.has(name),
  );
  const raw = new RawFeature();
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const rows = await parquetReadObjects({
      file,
      metadata,
      compressors,
      columns,
      rowStart,
      rowEnd,
      geoparquet: false,
      parsers: { geometryFromBytes: identity, geographyFromBytes: identity },
    }).catch((error: unknown) => {
      throw invalid(path, `rows ${rowStart} to ${rowEnd} of the footer`, messageOf(error), error);
    });
    for (const [i, row] of rows.entries()) {
      raw.clear(rowStart + i);
      addRow(raw, row[geometryColumn], path);
      nameFeature(raw, row['id'], row, naming);
      sink(raw);
      const waiting = giveWay();
      if (waiting !== undefined) await waiting;
    }
    if (rows.length !== rowEnd - rowStart) {
      throw invalid(path, `${rowEnd - rowStart} rows in a row group`, String(rows.length), null);
    }
    rowStart = rowEnd;
  }
  return crsOfGeoParquet(column.crs, path);
}

/** Finds the primary geometry column and refuses encodings that would change the answer. */
function geometryColumnOf(
  metadata: FileMetaData,
  path: string,
): { readonly name: string; readonly column: GeoColumn } {
  const text = metadata.key_value_metadata?.find(({ key }) => key === 'geo')?.value;
  if (text === undefined) throw invalid(path, 'GeoParquet metadata (key "geo")', 'none', null);
  let geo: { primary_column?: unknown; columns?: Record<string, GeoColumn> };
  try {
    geo = JSON.parse(text) as typeof geo;
  } catch (error) {
    throw invalid(path, 'GeoParquet metadata in JSON', 'other text', error);
  }
  const name = geo.primary_column;
  const column = typeof name === 'string' ? geo.columns?.[name] : undefined;
  if (typeof name !== 'string' || column === undefined) {
    throw invalid(path, 'a primary_column among its geometry columns', JSON.stringify(name), null);
  }
  if (column.encoding !== 'WKB') {
    throw invalid(path, `encoding WKB of column ${name}`, JSON.stringify(column.encoding), null);
  }
  if (column.edges === 'spherical') {
    throw new LayerError(
      'LAYER_EDGES_SPHERICAL',
      `${path} has spherical edges in column ${name}: expected edges planar, got spherical; ` +
        'densify the edges and write the file with planar ones',
      { details: { path, column: name } },
    );
  }
  return { name, column };
}

function addRow(raw: RawFeature, value: unknown, path: string): void {
  if (value === null || value === undefined) return;
  try {
    if (!(value instanceof Uint8Array)) throw new WkbError(`expected bytes, got ${typeof value}`);
    addWkb(raw, value);
  } catch (error) {
    if (!(error instanceof WkbError)) throw error;
    throw new LayerError(
      'LAYER_WKB_INVALID',
      `${path} has a broken geometry in row ${raw.position}: ${error.message}; write the file again`,
      { details: { path, row: raw.position }, cause: error },
    );
  }
}

function identity(bytes: Uint8Array): Uint8Array {
  return bytes;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function invalid(path: string, expected: string, got: string, cause: unknown): LayerError {
  return new LayerError(
    'LAYER_PARQUET_INVALID',
    `${path} cannot be read as GeoParquet: expected ${expected}, got ${got}; write the file again`,
    { details: { path }, cause },
  );
}
