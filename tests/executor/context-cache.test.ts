import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { canonicalJson, sha256Hex } from '../../core/index.ts';
import { makeDataset, openDataset } from '../../datasets/index.ts';
import { ContextCache } from '../../executor/context-cache.ts';
import type { RunContext } from '../../executor/protocol.ts';
import { openKernels } from '../../native/index.ts';
import { writeGeometry, type Area } from '../native/helpers/geometry.ts';

const SQUARE: Area = {
  type: 'Polygon',
  coordinates: [
    [
      [0, 0],
      [1, 0],
      [1, 1],
      [0, 1],
      [0, 0],
    ],
  ],
};

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tileloom-context-'));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

async function stage(): Promise<{ cache: ContextCache; path: string; digest: string }> {
  const datasetPath = join(root, 'points');
  await makeDataset({
    out: datasetPath,
    rows: 100,
    tileRows: 50,
    threads: 1,
    segments: Float64Array.of(0, 0, 1, 0),
  });
  const geometryPath = join(root, 'square.tlgeom');
  writeGeometry(geometryPath, [SQUARE]);
  const kernels = openKernels();
  const plain = kernels.openLayer({ geometryPath, indexPath: null });
  const context: RunContext = {
    schema: 'tileloom.run-context/1',
    runId: 'test',
    datasetPath,
    datasetDigest: (await openDataset(datasetPath)).digest,
    columns: { x: 'lon', y: 'lat', measures: [] },
    geometry: { path: geometryPath, sha256: plain.geometrySha256 },
    boundary: 'half-open',
    overlap: 'first',
    wrap: false,
    aggregate: true,
    rows: false,
    sinkPath: root,
    memoryBytesMax: 2 ** 30,
  };
  const path = join(root, 'context.json');
  const text = canonicalJson(context);
  writeFileSync(path, text);
  mkdirSync(join(root, 'cache'));
  return {
    cache: new ContextCache(kernels, join(root, 'cache')),
    path,
    digest: sha256Hex(text),
  };
}

describe('ContextCache', () => {
  test('builds the index once and opens it from the cache afterwards', async () => {
    const { cache, path, digest } = await stage();
    const loaded = await cache.load(path, digest);
    const [first, second] = await Promise.all([loaded.layer(true), loaded.layer(true)]);
    expect(first).toBe(second);
    expect(readdirSync(join(root, 'cache'))).toHaveLength(1);
  });

  test('builds a damaged index again', async () => {
    const { cache, path, digest } = await stage();
    const layer = await (await cache.load(path, digest)).layer(true);
    const [name] = readdirSync(join(root, 'cache'));
    writeFileSync(join(root, 'cache', name ?? ''), 'not an index');
    const fresh = new ContextCache(openKernels(), join(root, 'cache'));
    const again = await (await fresh.load(path, digest)).layer(true);
    expect(again.index?.digest).toBe(layer.index?.digest);
  });

  test('refuses a context whose file was changed', async () => {
    const { cache, path, digest } = await stage();
    writeFileSync(path, '{}');
    await expect(cache.load(path, digest)).rejects.toMatchObject({ code: 'CONTEXT_CHANGED' });
  });

  test('refuses a dataset that is not the one the run began with', async () => {
    const { cache, path, digest } = await stage();
    writeFileSync(
      join(root, 'points', 'dataset.json'),
      JSON.stringify(
        { ...(await openDataset(join(root, 'points'))).manifest, name: 'other' },
        null,
        1,
      ),
    );
    await expect(cache.load(path, digest)).rejects.toMatchObject({ code: 'DATASET_CHANGED' });
  });
});
