// Owns what may go from a sink: files that no manifest and no ledger names, and temporary files.
import { rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { TEMPORARY_SUFFIX } from './durable.ts';
import { DatasetError } from './errors.ts';
import { keptManifests, readManifest } from './publication.ts';
import { RECORDS_NAME } from './records.ts';
import { CLAIM_FILE, namesIn, readClaim, readOptional, sinkPaths } from './sink.ts';

export interface CleanResult {
  readonly removed: readonly string[];
  readonly bytes: number;
}

/**
 * Removes parts, segments and sealed plan records that nothing names, and temporary files. The
 * caller makes sure that the run is closed.
 *
 * @param keep names of part and segment files that the ledger names; those that the manifest and the
 *   manifests of earlier publications name are added
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
  const named = await namedFiles(sink, keep);
  const removed: string[] = [];
  let bytes = 0;
  for (const folder of [paths.root, paths.parts, paths.segments, paths.records]) {
    for (const name of await namesIn(folder)) {
      const owned =
        folder === paths.parts ||
        folder === paths.segments ||
        (folder === paths.records && RECORDS_NAME.test(name));
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

async function namedFiles(sink: string, keep: Iterable<string>): Promise<ReadonlySet<string>> {
  const named = new Set<string>(keep);
  const current = await readManifest(sink);
  for (const manifest of [...(await keptManifests(sink)), ...(current === null ? [] : [current])]) {
    for (const { file } of [...manifest.parts, ...manifest.segments]) named.add(file);
  }
  const { segments } = sinkPaths(sink);
  for (const file of [...named]) {
    for (const companion of await companionsOf(segments, file)) named.add(companion);
  }
  return named;
}

/** A segment's JSON names three more files. */
async function companionsOf(folder: string, file: string): Promise<string[]> {
  if (!file.endsWith('.json')) return [];
  const text = await readOptional(path.join(folder, path.basename(file)));
  if (text === null) return [];
  const segment = JSON.parse(text) as Record<string, { file?: string } | undefined>;
  const { tiles, partials, records } = segment;
  return [tiles?.file, partials?.file, records?.file].filter((name) => name !== undefined);
}
