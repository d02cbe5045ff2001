export { hash128, columnChecksum } from './checksum.ts';
export { CRS84, crsOfProjJson, isGeographic, normaliseCrs, requireSameCrs } from './crs.ts';
export { citiesDataset, loadCities, type CitiesOptions, type City } from './cities.ts';
export { convertDataset, type ConvertOptions } from './convert.ts';
export { openDataset, type Dataset } from './dataset.ts';
export { syncFolder, temporaryName, writeFileDurable, writeFileExclusive } from './durable.ts';
export { DatasetError, fileError, type DatasetErrorCode } from './errors.ts';
export {
  exactUnits,
  finishAggregate,
  finishColumn,
  partialOfValues,
  roundRational,
  type FinishedColumn,
  type FinishedFeature,
  type MeasureRequest,
} from './finish.ts';
export {
  DATASET_FILE,
  DEFAULT_TILE_ROWS,
  TILE_TABLE_FILE,
  type ColumnSpec,
  type ColumnType,
  type DatasetColumn,
  type DatasetManifest,
  type Provenance,
} from './format.ts';
export { hilbertKey } from './hilbert.ts';
export { inspectDataset, type Inspection, type TileProblem } from './inspect.ts';
export {
  TILE_RECORD_BYTES,
  TileLedger,
  decodeTileRecords,
  encodeTileRecords,
  runDigest,
  type TileRecord,
} from './ledger.ts';
export {
  makeDataset,
  type DatasetProgress,
  type MakeOptions,
  type OnProgress,
} from './make-dataset.ts';
export {
  createPartWriter,
  partFileName,
  readPart,
  verifyPart,
  writePart,
  type Part,
  type PartContent,
  type PartTile,
  type PartWriter,
} from './part.ts';
export {
  decodePartials,
  emptyPartials,
  encodePartials,
  mergeColumn,
  mergePartials,
  type ColumnPartial,
  type FeaturePartial,
  type Partials,
} from './partials.ts';
export { resolveUnderRoots } from './paths.ts';
export {
  chainFiles,
  parkedOf,
  readSegmentChain,
  readSegmentPartials,
  readSegmentRecords,
  readSegmentTiles,
  writeSegment,
  type Segment,
  type SegmentContent,
  type SegmentParkedTile,
  type SegmentPart,
  type SegmentReference,
} from './segment.ts';
export { cleanSink, type CleanResult } from './clean-sink.ts';
export {
  beginPublication,
  isPartial,
  keptManifests,
  readManifest,
  readMarker,
  writeManifest,
  writeMarker,
  type SinkManifest,
  type SinkMarker,
} from './publication.ts';
export { RECORDS_FOLDER, readRecords, writeRecords, type RecordsReference } from './records.ts';
export {
  CLAIM_FILE,
  MANIFEST_FILE,
  PARTIAL_FILE,
  PARTS_FOLDER,
  SUCCESS_FILE,
  claimSink,
  readClaim,
  sinkPaths,
  type SinkPaths,
} from './sink.ts';
export { createTileSource, type TileColumns, type TileSource } from './tile-source.ts';
export { readTileTable, tileChecksum, type TileTable } from './tile-table.ts';
export type { WrittenFile } from './arrow-writer.ts';
export type { ColumnInput, TileInput } from '../native/index.ts';
export {
  geometryToFeatures,
  LAYER_CONVERTER_VERSION,
  LayerError,
  parseGeometry,
  prepareLayer,
  readGeometry,
  sizeOf,
  writeGeometry,
  type Geometry,
  type LayerErrorCode,
  type LayerFeature,
  type LayerFinding,
  type LayerFindingCode,
  type LayerMeta,
  type LayerProgress,
  type LayerProgressListener,
  type LayerSize,
  type PreparedLayer,
  type PrepareLayerOptions,
} from './layers/index.ts';
export {
  ResultError,
  writeChoropleth,
  writeResult,
  type ChoroplethRequest,
  type ResultErrorCode,
  type ResultFormat,
  type ResultRequest,
  type ResultRow,
  type WrittenResult,
} from './result/index.ts';
