// Owns the layout of a run's output folder and who may write to it.
//   _CLAIM      names the run that owns the folder, created exclusively
//   parts/      what executors wrote; only durable history says which count
//   segments/   sealed lists of parts      records/  plan records and the run's context
//   manifest.json, then _SUCCESS or _PARTIAL, last
// I1 nothing in a sink carries a time; equal runs write equal manifests but for part names.
// I2 markers are written after everything they speak of is on disk, and never change afterwards.
import { mkdir, readFile, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { canonicalJson } from '../core/index.ts';
import { TEMPORARY_SUFFIX, writeFileDurable, writeFileExclusive } from './durable.ts';
import { DatasetError, fileError } from './errors.ts';
import { SEGMENTS_FOLDER } from './segment.ts';

export const CLAIM_FILE = '_CLAIM';
export const MANIFEST_FILE = 'manifest.json';
export const SUCCESS_FILE = '_SUCCESS';
export const PARTIAL_FILE = '_PARTIAL';
export const PARTS_FOLDER = 'parts';
export const RECORDS_FOLDER = 'records';

export interface SinkPaths {
  readonly root: string;
  readonly claim: string;
  readonly parts: string;
  readonly segments: string;
  readonly records: string;
  readonly manifest: string;
  readonly success: string;
  readonly partial: string;
}

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
  /** Versions of what made the result: tileloom, formats, registry digest. */
  readonly versions: Readonly<Record<string, string>>;
}

export interface SinkManifest {
  readonly schema: 'tileloom.manifest/1';
  readonly runId: string;
  readonly specDigest: string;
  readonly datasetDigest: string;
  readonly runDigest: string;
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
  readonly parked: readonly { readonly tile: number; readonly errorClass: string }[];
  /** Files that users read, relative to the sink. */
  readonly results: readonly {
    readonly file: string;
    readonly sha256: string;
    readonly bytes: number;
  }[];
}

export function sinkPaths(sink: string): SinkPaths {
  const root = path.resolve(sink);
  const under = (name: string): string => path.join(root, name);
  return {
    root,
    claim: under(CLAIM_FILE),
    parts: under(PARTS_FOLDER),
    segments: under(SEGMENTS_FOLDER),
    records: under(RECORDS_FOLDER),
    manifest: under(MANIFEST_FILE),
    success: under(SUCCESS_FILE),
    partial: under(PARTIAL_FILE),
  };
}

/**
 * Claims a folder for a run and makes its subfolders. Claiming one's own folder again is harmless.
 *
 * @throws {DatasetError} `SINK_CLAIMED` naming the run that owns it; `SINK_NOT_EMPTY` for a folder
 *   with other people's files
 */
export async function claimSink(sink: string, runId: string): Promise<SinkPaths> {
  const paths = sinkPaths(sink);
  await makeFolder(paths.root);
  if ((await readClaim(sink)) === null) await requireEmpty(paths.root);
  const claim = { schema: 'tileloom.claim/1', runId };
  const created = await writeFileExclusive(paths.claim, `${canonicalJson(claim)}\n`);
  const owner = created ? runId : await readClaim(sink);
  if (owner !== runId) {
    throw new DatasetError(
      'SINK_CLAIMED',
      `the output folder ${paths.root} belongs to another run: expected run ${runId}, ` +
        `got ${owner ?? 'an unreadable claim'}; choose another sink.path or clean that run`,
      { details: { path: paths.root, expected: runId, got: owner } },
    );
  }
  for (const folder of [paths.parts, paths.segments, paths.records]) await makeFolder(folder);
  return paths;
}

/** The run that owns a folder; null when nobody claimed it. */
export async function readClaim(sink: string): Promise<string | null> {
  const { claim } = sinkPaths(sink);
  const text = await readOptional(claim);
  if (text === null) return null;
  try {
    const { runId } = JSON.parse(text) as { runId?: unknown };
    if (typeof runId === 'string') return runId;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return '(unreadable)';
}

/** Writes the manifest; the same manifest again is harmless. */
export async function writeManifest(sink: string, manifest: SinkManifest): Promise<string> {
  const file = sinkPaths(sink).manifest;
  await writeOnce(file, `${canonicalJson(manifest)}\n`);
  return file;
}

export async function readManifest(sink: string): Promise<SinkManifest | null> {
  const text = await readOptional(sinkPaths(sink).manifest);
  return text === null ? null : (JSON.parse(text) as SinkManifest);
}

/** Writes `_SUCCESS`, or `_PARTIAL` when tiles are parked; the same marker again is harmless. */
export async function writeMarker(sink: string, marker: SinkMarker): Promise<string> {
  const paths = sinkPaths(sink);
  const file = marker.parkedTiles > 0 ? paths.partial : paths.success;
  await writeOnce(file, `${canonicalJson(marker)}\n`);
  return file;
}

/** What a run published, or null while it has not. `_SUCCESS` wins over an earlier `_PARTIAL`. */
export async function readMarker(sink: string): Promise<SinkMarker | null> {
  const paths = sinkPaths(sink);
  const text = (await readOptional(paths.success)) ?? (await readOptional(paths.partial));
  return text === null ? null : (JSON.parse(text) as SinkMarker);
}

export interface CleanResult {
  readonly removed: readonly string[];
  readonly bytes: number;
}

/**
 * Removes parts and segments that nothing names, and temporary files. The caller makes sure that
 * the run is closed.
 *
 * @param keep names of part and segment files that the ledger names; those in the manifest are
 *   added
 * @throws {DatasetError} `SINK_NOT_CLAIMED` for a folder that is no sink
 */
export async function cleanSink(
  sink: string,
  { keep }: { readonly keep: Iterable<string> },
): Promise<CleanResult> {
  const paths = sinkPaths(sink);
  if ((await readClaim(sink)) === null) {
    throw new DatasetError(
      'SINK_NOT_CLAIMED',
      `${paths.root} is not an output folder: expected ${CLAIM_FILE} in it, got none; check ` +
        'the path',
      { details: { path: paths.root } },
    );
  }
  const named = new Set<string>(keep);
  const manifest = await readManifest(sink);
  for (const { file } of manifest?.parts ?? []) named.add(file);
  for (const { file } of manifest?.segments ?? []) {
    named.add(file);
    for (const companion of await companionsOf(paths.segments, file)) named.add(companion);
  }
  for (const file of [...named]) {
    for (const companion of await companionsOf(paths.segments, file)) named.add(companion);
  }
  const removed: string[] = [];
  let bytes = 0;
  for (const folder of [paths.root, paths.parts, paths.segments, paths.records]) {
    const owned = folder === paths.parts || folder === paths.segments;
    for (const name of await namesIn(folder)) {
      const orphan = name.endsWith(TEMPORARY_SUFFIX) || (owned && !named.has(name));
      const file = path.join(folder, name);
      const found = orphan ? await stat(file).catch(() => null) : null;
      if (found === null || !found.isFile()) continue;
      await rm(file, { force: true });
      removed.push(path.relative(paths.root, file));
      bytes += found.size;
    }
  }
  return { removed, bytes };
}

/** A segment's JSON names two more files. */
async function companionsOf(folder: string, file: string): Promise<string[]> {
  if (!file.endsWith('.json')) return [];
  const text = await readOptional(path.join(folder, path.basename(file)));
  if (text === null) return [];
  const { tiles, partials } = JSON.parse(text) as Record<string, { file?: string } | undefined>;
  return [tiles?.file, partials?.file].filter((name) => name !== undefined);
}

async function writeOnce(file: string, text: string): Promise<void> {
  const known = await readOptional(file);
  if (known === text) return;
  if (known !== null) {
    throw new DatasetError(
      'SINK_CONFLICT',
      `${file} exists with other content: expected what this run computed, got ` +
        `${known.length} bytes ` +
        'that differ; two runs wrote one sink, or a published file was edited',
      { details: { path: file } },
    );
  }
  await writeFileDurable(file, text);
}

async function requireEmpty(folder: string): Promise<void> {
  const foreign = (await namesIn(folder)).filter(
    (name) => name !== CLAIM_FILE && !name.endsWith(TEMPORARY_SUFFIX),
  );
  if (foreign.length === 0) return;
  throw new DatasetError(
    'SINK_NOT_EMPTY',
    `the output folder ${folder} holds other files: expected an empty or missing folder, ` +
      `got ${foreign.sort().slice(0, 3).join(', ')}; choose another sink.path`,
    { details: { path: folder, got: foreign.length } },
  );
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw fileError(error, 'creating the folder', folder);
  });
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    if ((error as { code?: unknown }).code === 'ENOENT') return [];
    throw fileError(error, 'listing', folder);
  });
}

async function readOptional(file: string): Promise<string | null> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    if ((error as { code?: unknown }).code === 'ENOENT') return null;
    throw fileError(error, 'reading', file);
  });
}
