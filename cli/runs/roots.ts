// Owns which folders a worker must be allowed to use for a run.
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { PipelineSpec } from '../../spec/index.ts';

/** Folders under which a worker for this run must be allowed to read and write. */
export async function rootsOf(spec: PipelineSpec): Promise<readonly string[]> {
  const layer = spec.layers[spec.steps[0].layer]?.file;
  const folders = [
    spec.source.dataset,
    ...(layer === undefined ? [] : [dirname(layer)]),
    dirname(spec.sink.path),
  ];
  return [...new Set(await Promise.all(folders.map((folder) => nearestFolder(folder))))];
}

/** The path itself, or the nearest folder above it that exists. */
export async function nearestFolder(path: string): Promise<string> {
  let current = path;
  for (;;) {
    const found = await stat(current).catch(() => null);
    if (found?.isDirectory() === true || dirname(current) === current) {
      return current;
    }
    current = dirname(current);
  }
}
