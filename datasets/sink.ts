// Owns the layout of a run's output folder and who may write to it.
//   _CLAIM      names the run that owns the folder, created exclusively
//   parts/      what executors wrote; only durable history says which count
//   segments/   sealed lists of parts      records/  plan records, audit and the run's context
//   manifest.json, then _SUCCESS or _PARTIAL, last; of earlier publications manifest.<n>.json
import { mkdir, readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { canonicalJson } from '../core/index.ts';
import { TEMPORARY_SUFFIX, writeFileExclusive } from './durable.ts';
import { DatasetError, fileError } from './errors.ts';
import { RECORDS_FOLDER } from './records.ts';
import { SEGMENTS_FOLDER } from './segment.ts';

export const CLAIM_FILE = '_CLAIM';
export const MANIFEST_FILE = 'manifest.json';
export const SUCCESS_FILE = '_SUCCESS';
export const PARTIAL_FILE = '_PARTIAL';
export const PARTS_FOLDER = 'parts';

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

/** Names in a folder; none when it is not there. */
export async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    if ((error as { code?: unknown }).code === 'ENOENT') return [];
    throw fileError(error, 'listing', folder);
  });
}

/** A text file's content; null when it is not there. */
export async function readOptional(file: string): Promise<string | null> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    if ((error as { code?: unknown }).code === 'ENOENT') return null;
    throw fileError(error, 'reading', file);
  });
}
