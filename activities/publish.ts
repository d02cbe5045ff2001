// Owns the publishRun activity: it walks every shard's chain, proves that each tile is covered exactly
// once, merges, rounds each sum once, writes results, picture, audit and manifest and, last, the marker.
// It is idempotent: a second attempt writes the same bytes. A retried run publishes anew under the
// next generation, in place of what it published before.
import { join } from 'node:path';
import {
  beginPublication,
  chainFiles,
  decodePartials,
  emptyPartials,
  encodePartials,
  finishAggregate,
  isPartial,
  mergePartials,
  parkedOf,
  readGeometry,
  readSegmentChain,
  readSegmentPartials,
  readSegmentTiles,
  TileLedger,
  writeChoropleth,
  writeManifest,
  writeMarker,
  writeResult,
  type Geometry,
  type Partials,
  type SegmentParkedTile,
  type SegmentPart,
  type SinkManifest,
  type WrittenResult,
} from '../datasets/index.ts';
import type { RunContext } from '../executor/index.ts';
import type { Registry } from '../registry/index.ts';
import type { Measure, PipelineSpec } from '../spec/index.ts';
import type {
  PublishAnswer,
  PublishRequest,
  TileInterval,
} from '../workflows/activity-contract.ts';
import { writeAudit, type AuditDependencies } from './audit.ts';
import { loadContext } from './context.ts';

export interface PublishDependencies extends AuditDependencies {
  readonly registry: Registry;
}

interface Ledger {
  readonly segments: readonly { readonly file: string; readonly sha256: string }[];
  readonly parts: readonly SegmentPart[];
  /** Tiles that are parked in the end, ascending. */
  readonly parked: readonly SegmentParkedTile[];
  readonly records: TileLedger;
  readonly partials: Partials;
}

/** Publishes a run from the heads of its shards' segment chains. */
export async function publishRun(
  dependencies: PublishDependencies,
  request: PublishRequest,
): Promise<PublishAnswer> {
  const context = await loadContext(request.contextPath, request.contextDigest);
  const ledger = await readLedger(context, request);
  const aggregate = encodePartials(ledger.partials);
  const runDigest = ledger.records.digest(aggregate);
  await beginPublication(context.sinkPath, { generation: request.generation, runDigest });
  const results = context.aggregate
    ? await writeResults(context, request.spec, ledger.partials)
    : [];
  const parked = ledger.parked.map(({ tile, errorClass }) => ({
    tile,
    errorClass,
    skipped: covers(request.skipped, tile),
  }));
  const parkedTiles = parked.length;
  const skippedTiles = parked.filter(({ skipped }) => skipped).length;
  const { rows, hits, outside, invalid } = ledger.partials;
  const counts = { tiles: request.tiles, rows, hits, outside, invalid };
  const common = {
    runId: request.runId,
    specDigest: request.specDigest,
    datasetDigest: context.datasetDigest,
    runDigest,
    generation: request.generation,
    ...counts,
  };
  const manifest: SinkManifest = {
    schema: 'tileloom.manifest/1',
    ...common,
    segments: ledger.segments,
    parts: ledger.parts.toSorted((a, b) => a.firstTile - b.firstTile),
    parked,
    results,
  };
  await writeAudit(dependencies, context.sinkPath, request.runId);
  const manifestPath = await writeManifest(context.sinkPath, manifest);
  await writeMarker(context.sinkPath, {
    schema: 'tileloom.marker/1',
    ...common,
    parkedTiles,
    skippedTiles,
    versions: { formats: '1', registry: dependencies.registry.digest },
  });
  return {
    outcome: isPartial({ parkedTiles, skippedTiles }) ? 'partial' : 'success',
    runDigest,
    manifest: manifestPath,
    result: join(context.sinkPath, results[0]?.file ?? 'parts'),
    ...counts,
    parkedTiles,
    skippedTiles,
  };
}

function covers(ranges: readonly TileInterval[], tile: number): boolean {
  return ranges.some(({ firstTile, endTile }) => firstTile <= tile && tile < endTile);
}

async function readLedger(context: RunContext, request: PublishRequest): Promise<Ledger> {
  const records = new TileLedger(request.tiles);
  const columns = context.aggregate ? context.columns.measures.length : 0;
  let partials = emptyPartials(columns);
  const segments: { file: string; sha256: string }[] = [];
  const parts: SegmentPart[] = [];
  const parked: SegmentParkedTile[] = [];
  for (const head of request.heads) {
    if (head === null) continue;
    const chain = await readSegmentChain(context.sinkPath, head);
    segments.push(...chainFiles(chain, head));
    parked.push(...parkedOf(chain));
    for (const segment of chain) {
      parts.push(...segment.parts);
      records.add(await readSegmentTiles(context.sinkPath, segment), segment.shard);
      const bytes = await readSegmentPartials(context.sinkPath, segment);
      partials = mergePartials([partials, decodePartials(bytes)]);
    }
  }
  parked.sort((a, b) => a.tile - b.tile);
  return { segments, parts, parked, records, partials };
}

async function writeResults(
  context: RunContext,
  spec: PipelineSpec,
  partials: Partials,
): Promise<readonly WrittenResult[]> {
  const measures = spec.steps[1]?.measures ?? [];
  const geometry = await readGeometry(context.geometry.path);
  const rows = resultRows(context, geometry, measures, partials);
  const { format } = spec.sink;
  const result = await writeResult({
    path: join(context.sinkPath, `result.${format}`),
    format,
    columns: measures.map(nameOf),
    rows,
    geometryPath: context.geometry.path,
  });
  const picture = await writeChoropleth({
    geometryPath: context.geometry.path,
    values: Float64Array.from(rows, (row) =>
      row.count === 0 ? Number.NaN : (row.values[0] ?? Number.NaN),
    ),
    title: `${spec.name}: ${measures[0] === undefined ? 'count' : nameOf(measures[0])}`,
    path: join(context.sinkPath, 'map.svg'),
  });
  return [result, picture];
}

interface ResultRow {
  readonly id: string;
  readonly name: string | null;
  readonly count: number;
  readonly values: readonly (number | null)[];
}

/** One row a feature, in feature order; features without a point have count 0 and no values. */
function resultRows(
  context: RunContext,
  geometry: Geometry,
  measures: readonly Measure[],
  partials: Partials,
): ResultRow[] {
  const finished = finishAggregate(partials, measures, context.columns.measures);
  const byFeature = new Map(finished.map((feature) => [feature.feature, feature]));
  return geometry.meta.ids.map((id, feature) => {
    const found = byFeature.get(feature);
    return {
      id,
      name: geometry.meta.names?.[feature] ?? null,
      count: found?.count ?? 0,
      values: found?.values ?? measures.map(({ kind }) => (kind === 'count' ? 0 : null)),
    };
  });
}

/** Column name of a measure: `count`, `sum_value`. */
function nameOf(measure: Measure): string {
  return measure.kind === 'count' ? 'count' : `${measure.kind}_${measure.column}`;
}
