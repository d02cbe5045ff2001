// Owns what an executor keeps between chunks: the opened dataset and the loaded layer of a run. Both
// are loaded once, verified on load, and shared by every chunk of the run.
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson, isEngineError, sha256Hex } from '../core/index.ts';
import { openDataset, type TileSource } from '../datasets/index.ts';
import type { KernelLibrary, Layer } from '../native/index.ts';
import { ExecutorError } from './errors.ts';
import type { RunContext } from './protocol.ts';

export interface LoadedContext {
  readonly context: RunContext;
  readonly tiles: TileSource;
  /** Rows of a tile. */
  readonly rowsOf: (tile: number) => number;
  layer(needsIndex: boolean): Promise<Layer>;
}

const CONTEXTS_MAX = 4;

/** Loads run contexts by digest; a small number of recent ones stays loaded. */
export class ContextCache {
  readonly #kernels: KernelLibrary;
  readonly #cacheDir: string;
  readonly #contexts = new Map<string, Promise<LoadedContext>>();
  readonly #layers = new Map<string, Promise<Layer>>();

  constructor(kernels: KernelLibrary, cacheDir: string) {
    this.#kernels = kernels;
    this.#cacheDir = cacheDir;
  }

  /** @throws {ExecutorError} `CONTEXT_CHANGED` when the file does not have the digest it was given */
  load(path: string, digest: string): Promise<LoadedContext> {
    const known = this.#contexts.get(digest);
    if (known !== undefined) return known;
    const loading = this.#load(path, digest);
    this.#contexts.set(digest, loading);
    loading.catch(() => this.#contexts.delete(digest));
    this.#evict();
    return loading;
  }

  async #load(path: string, digest: string): Promise<LoadedContext> {
    const text = await readFile(path, 'utf8');
    if (sha256Hex(text) !== digest) {
      throw new ExecutorError(
        'REFUSED',
        'CONTEXT_CHANGED',
        `run context ${path} has changed: expected SHA-256 ${digest.slice(0, 12)}, got ${sha256Hex(text).slice(0, 12)}; start a new run`,
      );
    }
    const context = JSON.parse(text) as RunContext;
    const dataset = await openDataset(context.datasetPath);
    if (dataset.digest !== context.datasetDigest) {
      throw new ExecutorError(
        'REFUSED',
        'DATASET_CHANGED',
        `dataset ${context.datasetPath} has changed since the run began: expected digest ${context.datasetDigest.slice(0, 12)}, got ${dataset.digest.slice(0, 12)}; restore it or start a new run`,
        { input: context.datasetPath },
      );
    }
    const tiles = dataset.tileSource(context.columns);
    return {
      context,
      tiles,
      rowsOf: (tile) => dataset.table.rows[tile] ?? 0,
      layer: (needsIndex) => this.#layer(context, needsIndex),
    };
  }

  #layer(context: RunContext, needsIndex: boolean): Promise<Layer> {
    const key = canonicalJson([
      context.geometry.sha256,
      needsIndex ? [context.boundary, context.overlap] : null,
    ]);
    const known = this.#layers.get(key);
    if (known !== undefined) return known;
    const loading = this.#loadLayer(context, needsIndex);
    this.#layers.set(key, loading);
    loading.catch(() => this.#layers.delete(key));
    return loading;
  }

  async #loadLayer(context: RunContext, needsIndex: boolean): Promise<Layer> {
    const { geometry } = context;
    const layer = needsIndex
      ? await this.#openIndexed(context)
      : this.#kernels.openLayer({ geometryPath: geometry.path, indexPath: null });
    if (layer.geometrySha256 === geometry.sha256) return layer;
    throw new ExecutorError(
      'REFUSED',
      'GEOMETRY_CHANGED',
      `layer geometry ${geometry.path} has changed: expected SHA-256 ${geometry.sha256.slice(0, 12)}, got ${layer.geometrySha256.slice(0, 12)}; start a new run`,
    );
  }

  /** Opens the layer with its cached index; a missing or damaged index is built, once. */
  async #openIndexed({ geometry, boundary, overlap, memoryBytesMax }: RunContext): Promise<Layer> {
    await mkdir(this.#cacheDir, { recursive: true });
    const image = this.#kernels.image.slice(0, 12);
    const name = `${geometry.sha256}-${boundary}-${overlap}-${image}.tlidx`;
    const paths = { geometryPath: geometry.path, indexPath: join(this.#cacheDir, name) };
    if (existsSync(paths.indexPath)) {
      try {
        return this.#kernels.openLayer(paths);
      } catch (error) {
        if (!isEngineError(error) || error.code !== 'BAD_INDEX') throw error;
        await rm(paths.indexPath, { force: true });
      }
    }
    const maxBytes = Math.floor(memoryBytesMax / 2);
    await this.#kernels.buildIndex({ ...paths, boundary, overlap, maxBytes });
    return this.#kernels.openLayer(paths);
  }

  #evict(): void {
    for (const [digest, loading] of this.#contexts) {
      if (this.#contexts.size <= CONTEXTS_MAX) return;
      this.#contexts.delete(digest);
      void loading.then((loaded) => loaded.tiles.close()).catch(() => undefined);
    }
  }
}
