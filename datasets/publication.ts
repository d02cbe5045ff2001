// Owns what a run publishes into its sink: manifest and marker, and how a later publication of the
// same run replaces an earlier one.
//
// I1 nothing in them carries a time; equal runs write equal manifests but for part names.
// I2 a marker is written after everything it speaks of is on disk. Within one generation it never
//    changes, and neither does the manifest.
// I3 a later generation first takes the old marker away, then keeps the old manifest under its own
//    number, replaces results and manifest, and writes its marker last: whoever dies in between
//    leaves a sink without a marker, and trying again goes on from there.
// I4 an earlier generation never writes once a later one has begun.
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { canonicalJson } from '../core/index.ts';
import { syncFolder, writeFileDurable, writeFileExclusive } from './durable.ts';
import { DatasetError, fileError } from './errors.ts';
import { namesIn, readOptional, sinkPaths } from './sink.ts';

export interface SinkMarker {
  readonly schema: 'tileloom.marker/1';
  readonly runId: string;
  readonly runDigest: string;
  readonly specDigest: string;
  readonly datasetDigest: string;
  readonly tiles: number;
  readonly rows: number;
  readonly hits: number;
  readonly outside: number;
  readonly invalid: number;
  readonly parkedTiles: number;
  /** Of the parked tiles, those that an operator accepts to leave out. */
  readonly skippedTiles: number;
  /** 0 for the first publication of a run; each retry after its end publishes under the next. */
  readonly generation: number;
  /** Versions of what made the result: tileloom, formats, registry digest. */
  readonly versions: Readonly<Record<string, string>>;
}

export interface SinkManifest {
  readonly schema: 'tileloom.manifest/1';
  readonly runId: string;
  readonly specDigest: string;
  readonly datasetDigest: string;
  readonly runDigest: string;
  readonly generation: number;
  readonly tiles: number;
  readonly rows: number;
  readonly hits: number;
  readonly outside: number;
  readonly invalid: number;
  /** Heads and all members of each shard's chain, by shard, then sequence. */
  readonly segments: readonly { readonly file: string; readonly sha256: string }[];
  readonly parts: readonly {
    readonly file: string;
    readonly sha256: string;
    readonly bytes: number;
    readonly rows: number;
    readonly firstTile: number;
    readonly endTile: number;
  }[];
  readonly parked: readonly {
    readonly tile: number;
    readonly errorClass: string;
    readonly skipped: boolean;
  }[];
  /** Files that users read, relative to the sink. */
  readonly results: readonly {
    readonly file: string;
    readonly sha256: string;
    readonly bytes: number;
  }[];
}

const KEPT_MANIFEST = /^manifest\.(\d+)\.json$/u;

/** Whether so many parked and skipped tiles leave a result whole, as far as its operator is concerned. */
export function isPartial(marker: Pick<SinkMarker, 'parkedTiles' | 'skippedTiles'>): boolean {
  return marker.parkedTiles > marker.skippedTiles;
}

/**
 * Makes room for a publication: removes the marker of an earlier one and keeps its manifest. To be
 * called before any result is written; doing it again is harmless.
 *
 * @throws {DatasetError} `SINK_CONFLICT` when a later publication has begun, or another answer was
 *   published under the same number
 */
export async function beginPublication(
  sink: string,
  { generation, runDigest }: Pick<SinkManifest, 'generation' | 'runDigest'>,
): Promise<void> {
  const paths = sinkPaths(sink);
  const known = await readManifest(sink);
  const kept = await keptManifests(sink);
  const latest = Math.max(known?.generation ?? -1, ...kept.map((each) => each.generation + 1));
  if (latest > generation) throw overtaken(paths.root, generation, latest);
  if (known?.generation === generation && known.runDigest !== runDigest) {
    throw conflict(paths.manifest, canonicalJson(known));
  }
  // _SUCCESS wins over _PARTIAL where both are: so it goes last.
  for (const file of [paths.partial, paths.success]) {
    const marker = await readMarkerFile(file);
    if (marker === null || marker.generation === generation) continue;
    if (marker.generation > generation) throw overtaken(paths.root, generation, marker.generation);
    await rm(file, { force: true }).catch((error: unknown) => {
      throw fileError(error, 'removing', file);
    });
    await syncFolder(paths.root);
  }
  if (known === null || known.generation === generation) return;
  const copy = keptPath(sink, known.generation);
  const text = await readOptional(paths.manifest);
  if (text === null || (await writeFileExclusive(copy, text))) return;
  const found = await readOptional(copy);
  if (found !== text) throw conflict(copy, found ?? '');
}

/**
 * Writes the manifest; the same manifest again is harmless. It replaces one of an earlier generation
 * that is kept.
 *
 * @throws {DatasetError} `SINK_CONFLICT` when another one of this generation, or a later one, is there
 */
export async function writeManifest(sink: string, manifest: SinkManifest): Promise<string> {
  const file = sinkPaths(sink).manifest;
  const text = `${canonicalJson(manifest)}\n`;
  const known = await readOptional(file);
  if (known === text) return file;
  if (known !== null) {
    const { generation } = parseManifest(known);
    const kept = await readOptional(keptPath(sink, generation));
    if (generation >= manifest.generation || kept !== known) throw conflict(file, known);
  }
  await writeFileDurable(file, text);
  return file;
}

/** The latest manifest, or null while there is none. */
export async function readManifest(sink: string): Promise<SinkManifest | null> {
  const text = await readOptional(sinkPaths(sink).manifest);
  return text === null ? null : parseManifest(text);
}

/** Manifests of earlier publications, oldest first. */
export async function keptManifests(sink: string): Promise<SinkManifest[]> {
  const { root } = sinkPaths(sink);
  const manifests: SinkManifest[] = [];
  for (const name of await namesIn(root)) {
    const text = KEPT_MANIFEST.test(name) ? await readOptional(path.join(root, name)) : null;
    if (text !== null) manifests.push(parseManifest(text));
  }
  return manifests.sort((a, b) => a.generation - b.generation);
}

/**
 * Writes `_SUCCESS`, or `_PARTIAL` when tiles are parked that nobody skipped; the same marker again
 * is harmless.
 *
 * @throws {DatasetError} `SINK_CONFLICT` when the folder has another marker of that name, or the
 *   manifest of another generation
 */
export async function writeMarker(sink: string, marker: SinkMarker): Promise<string> {
  const paths = sinkPaths(sink);
  const file = isPartial(marker) ? paths.partial : paths.success;
  const text = `${canonicalJson(marker)}\n`;
  const known = await readOptional(file);
  if (known === text) return file;
  if (known !== null) throw conflict(file, known);
  const published = (await readManifest(sink))?.generation ?? marker.generation;
  if (published !== marker.generation) throw overtaken(paths.root, marker.generation, published);
  await writeFileDurable(file, text);
  return file;
}

/**
 * What a run published last, or null while it has not, or while a later publication is being made.
 * `_SUCCESS` wins over a `_PARTIAL` of the same generation.
 */
export async function readMarker(sink: string): Promise<SinkMarker | null> {
  const paths = sinkPaths(sink);
  const success = await readMarkerFile(paths.success);
  const partial = await readMarkerFile(paths.partial);
  const newest = (partial?.generation ?? -1) > (success?.generation ?? -1) ? partial : success;
  if (newest === null) return null;
  const manifest = await readManifest(sink);
  return (manifest?.generation ?? newest.generation) > newest.generation ? null : newest;
}

/** Fields that files from before there were generations lack. */
type Later = 'generation' | 'skippedTiles';

async function readMarkerFile(file: string): Promise<SinkMarker | null> {
  const text = await readOptional(file);
  if (text === null) return null;
  const marker = JSON.parse(text) as Omit<SinkMarker, Later> & Partial<SinkMarker>;
  const { generation = 0, skippedTiles = 0 } = marker;
  return { ...marker, generation, skippedTiles };
}

function parseManifest(text: string): SinkManifest {
  const manifest = JSON.parse(text) as Omit<SinkManifest, 'generation'> & Partial<SinkManifest>;
  const { generation = 0 } = manifest;
  return { ...manifest, generation };
}

function keptPath(sink: string, generation: number): string {
  return path.join(sinkPaths(sink).root, `manifest.${String(generation)}.json`);
}

function conflict(file: string, known: string): DatasetError {
  return new DatasetError(
    'SINK_CONFLICT',
    `${file} exists with other content: expected what this run computed, got ` +
      `${known.length} bytes ` +
      'that differ; two runs wrote one sink, or a published file was edited',
    { details: { path: file } },
  );
}

function overtaken(root: string, generation: number, latest: number): DatasetError {
  return new DatasetError(
    'SINK_CONFLICT',
    `the sink ${root} cannot be published to: expected publication ${generation} to be the latest, ` +
      `got publication ${latest}; the run was retried meanwhile, look at the later result`,
    { details: { path: root, expected: generation, got: latest } },
  );
}
