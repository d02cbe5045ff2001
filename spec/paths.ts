// Owns which values of a spec are paths, so that they can be made absolute at submission.
import type { LayerSpec, PipelineSpec } from './types.ts';

/** Joins a base folder and a path; returns absolute paths as they are. `node:path` resolve does. */
export type JoinPaths = (baseDir: string, path: string) => string;

/** Returns the spec with every path absolute; relative ones are taken from `baseDir`. */
export function absolutiseSpec(
  spec: PipelineSpec,
  baseDir: string,
  joinPaths: JoinPaths,
): PipelineSpec {
  const absolute = (path: string): string => joinPaths(baseDir, path);
  const layers: Record<string, LayerSpec> = {};
  for (const [name, layer] of Object.entries(spec.layers)) {
    layers[name] = { ...layer, file: absolute(layer.file) };
  }
  return {
    ...spec,
    source: { ...spec.source, dataset: absolute(spec.source.dataset) },
    layers,
    sink: { ...spec.sink, path: absolute(spec.sink.path) },
  };
}
