// Owns the prepareRun activity: everything that can be refused is refused here, before work starts.
// Hosts with a GPU where the run needs one, roots, dataset, columns, CRS, layer, sink; then the run's
// context and its shards.
import { constants } from 'node:fs';
import { copyFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from '../core/index.ts';
import {
  claimSink,
  fileError,
  openDataset,
  requireSameCrs,
  resolveUnderRoots,
  writeFileDurable,
  type Dataset,
  type PreparedLayer,
  type SinkPaths,
} from '../datasets/index.ts';
import { layerKeyOf, type RunContext } from '../executor/index.ts';
import { policyById } from '../planner/index.ts';
import type { Registry } from '../registry/index.ts';
import type { AggregateStep, LayerSpec, PipelineSpec } from '../spec/index.ts';
import type {
  PreparedRun,
  PrepareRequest,
  TileInterval,
  WorkTemplate,
} from '../workflows/activity-contract.ts';
import { ActivityError } from './activity-error.ts';
import { writeContext } from './context.ts';
import { prepareLayerOnThread } from './layer-thread.ts';
import { requireGpuHost, type GpuHosts } from './require-gpu.ts';

export interface PrepareDependencies {
  readonly registry: Registry;
  readonly roots: readonly string[];
  readonly cacheDir: string;
  readonly hosts: GpuHosts;
}

/** Checks a run's inputs, claims its sink and writes what its executors will read. */
export async function prepareRun(
  { registry, roots, cacheDir, hosts }: PrepareDependencies,
  { runId, spec, shardTilesMax }: PrepareRequest,
): Promise<PreparedRun> {
  await requireGpuHost(spec, hosts);
  const [assign, aggregate] = spec.steps;
  const layerSpec = layerOf(spec, assign.layer);
  const [datasetPath, layerPath, sinkPath] = await Promise.all([
    resolveUnderRoots(spec.source.dataset, roots),
    resolveUnderRoots(layerSpec.file, roots),
    resolveUnderRoots(spec.sink.path, roots),
  ]);
  const dataset = await openDataset(datasetPath);
  const measures = measuredColumns(aggregate);
  checkDataset(dataset, spec, measures);
  const layer = await prepareLayerOnThread(layerSpec, {
    path: layerPath,
    cacheDir,
    sourceCrs: spec.source.crs,
  });
  const sink = await claimSink(sinkPath, runId);
  const geometryPath = await keepGeometry(layer, sink);
  const context: RunContext = {
    schema: 'tileloom.run-context/1',
    runId,
    datasetPath,
    datasetDigest: dataset.digest,
    columns: { ...dataset.manifest.coordinates, measures },
    geometry: { path: geometryPath, sha256: layer.sha256 },
    boundary: assign.boundary,
    overlap: assign.overlap,
    wrap: spec.source.wrap,
    aggregate: aggregate !== undefined,
    rows: spec.sink.rows,
    sinkPath: sink.root,
    memoryBytesMax: spec.limits.memoryBytesMax,
  };
  const contextPath = join(sink.records, 'context.json');
  const contextDigest = await writeContext(contextPath, context);
  await keepRecipes(sink, registry, spec);
  const { tiles, rows, tileRows } = dataset.manifest;
  return {
    contextPath,
    contextDigest,
    datasetDigest: dataset.digest,
    tiles,
    rows,
    tileRows,
    shards: cutShards(tiles, spec.limits.shards ?? Math.ceil(tiles / shardTilesMax)),
    work: workTemplate(spec, dataset, layer, measures.length),
    warnings: layer.warnings.map((warning) => warning.message).slice(0, WARNINGS_MAX),
  };
}

const WARNINGS_MAX = 8;
/** What a run carries of each shard through continue-as-new must fit one payload of 64 KiB. */
const SHARDS_MAX = 96;

function layerOf(spec: PipelineSpec, name: string): LayerSpec {
  const layer = spec.layers[name];
  if (layer !== undefined) return layer;
  throw new ActivityError(
    'LAYER_UNKNOWN',
    `step assign names layer "${name}": expected one of ${Object.keys(spec.layers).join(', ')}; validate the spec with "tileloom spec validate"`,
  );
}

/** The columns that an aggregate measures, ascending, each once. */
export function measuredColumns(aggregate: AggregateStep | undefined): readonly string[] {
  const columns = (aggregate?.measures ?? []).flatMap((measure) =>
    measure.kind === 'count' ? [] : [measure.column],
  );
  return [...new Set(columns)].toSorted();
}

function checkDataset(dataset: Dataset, spec: PipelineSpec, measures: readonly string[]): void {
  const { manifest, path } = dataset;
  requireSameCrs(`dataset ${path}`, spec.source.crs, manifest.crs);
  if (manifest.tiles === 0) {
    throw new ActivityError(
      'DATASET_EMPTY',
      `dataset ${path} has no tiles: expected at least 1, got 0; convert or make a dataset with rows`,
      { details: { path } },
    );
  }
  dataset.tileSource({ ...manifest.coordinates, measures }).close();
}

/** Copies the prepared geometry into the sink, where every host of the run finds it. */
async function keepGeometry(layer: PreparedLayer, sink: SinkPaths): Promise<string> {
  const path = join(sink.records, `${layer.sha256}.tlgeom`);
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    await copyFile(layer.geometryPath, temporary, constants.COPYFILE_FICLONE);
    await rename(temporary, path);
    return path;
  } catch (error) {
    // A full disk is waited out with many attempts; none may leave its half copy behind.
    await rm(temporary, { force: true });
    throw fileError(error, 'keeping the layer', path);
  }
}

/** Stores policy, registry and spec by digest, so that history alone can replay every plan. */
async function keepRecipes(sink: SinkPaths, registry: Registry, spec: PipelineSpec): Promise<void> {
  const policy = policyById(spec.plan.policy);
  const { digest } = policy;
  await Promise.all([
    writeFileDurable(
      join(sink.records, `registry-${registry.digest}.json`),
      canonicalJson(registry),
    ),
    writeFileDurable(join(sink.records, `policy-${digest}.json`), canonicalJson(policy)),
    writeFileDurable(join(sink.records, 'spec.json'), canonicalJson(spec)),
  ]);
}

/** Cuts tiles into contiguous shards whose sizes differ by at most one tile. */
export function cutShards(tiles: number, wanted: number): TileInterval[] {
  const shards = Math.max(1, Math.min(wanted, tiles, SHARDS_MAX));
  return Array.from({ length: shards }, (_, shard) => ({
    firstTile: Math.floor((tiles * shard) / shards),
    endTile: Math.floor((tiles * (shard + 1)) / shards),
  }));
}

/** The work of a run as the planner sees it; `plan explain` describes the same work. */
export function workTemplate(
  spec: PipelineSpec,
  dataset: Dataset,
  layer: PreparedLayer,
  measures: number,
): WorkTemplate {
  const [assign] = spec.steps;
  const [minX, minY, maxX, maxY] = layer.bbox;
  return {
    operation: 'assign',
    kernelClass: 'predicate',
    boundary: assign.boundary,
    overlap: assign.overlap,
    tileRows: dataset.manifest.tileRows,
    families: ['point'],
    mixed: false,
    features: layer.features,
    vertices: layer.vertices,
    meanVertices: Math.round(layer.meanVertices * 100) / 100,
    shape: 'broadcast-right',
    residency: 'host',
    bytesPerRow: 8 * (2 + measures),
    bytesOutPerRow: spec.sink.rows ? 4 : 0,
    indexBytes: INDEX_BYTES_FIXED + layer.vertices * INDEX_BYTES_PER_VERTEX,
    layer: layerKeyOf({ ...assign, geometry: layer }),
    streaming: true,
    ordered: dataset.manifest.ordered,
    measures,
    maxAbsCoordinate: layer.maxAbs,
    coordinateSpan: Math.max(maxX - minX, maxY - minY),
    workUnits: null,
  };
}

/** A grid of 2048² cells of 4 bytes, then edge records: 18 MB for 68 k vertices, 38 MB for 545 k. */
const INDEX_BYTES_FIXED = 16 << 20;
const INDEX_BYTES_PER_VERTEX = 64;
