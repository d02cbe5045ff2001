// Small files and layers for the tests of this room.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import {
  LayerError,
  prepareLayer,
  readGeometry,
  type Geometry,
  type PreparedLayer,
} from '../../../datasets/layers/index.ts';
import type { LayerSpec } from '../../../spec/index.ts';

export type Positions = readonly (readonly number[])[];

/** A folder that is removed after the file's tests. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'tileloom-layers-'));
  afterAll(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export function layerSpec(overrides: Partial<LayerSpec> = {}): LayerSpec {
  return {
    file: 'layer',
    id: 'id',
    object: null,
    crs: 'OGC:CRS84',
    antimeridian: 'split',
    pole: {},
    ...overrides,
  };
}

export function polygonFeature(id: unknown, rings: readonly Positions[]): unknown {
  return feature(id, { type: 'Polygon', coordinates: rings });
}

export function feature(id: unknown, geometry: unknown): unknown {
  return { type: 'Feature', properties: id === undefined ? {} : { id }, geometry };
}

export function square(x: number, y: number, size = 1): Positions {
  return [
    [x, y],
    [x + size, y],
    [x + size, y + size],
    [x, y + size],
    [x, y],
  ];
}

export function collection(...features: readonly unknown[]): string {
  return JSON.stringify({ type: 'FeatureCollection', features });
}

export class LayerLab {
  readonly folder: string;
  #files = 0;

  constructor(folder: string) {
    this.folder = folder;
  }

  async prepare(
    content: string | Uint8Array,
    spec: Partial<LayerSpec> = {},
    sourceCrs = spec.crs ?? 'OGC:CRS84',
  ): Promise<PreparedLayer> {
    const file = path.join(this.folder, `layer-${(this.#files += 1)}`);
    await writeFile(file, content);
    return prepareLayer(layerSpec(spec), {
      path: file,
      cacheDir: path.join(this.folder, 'cache'),
      sourceCrs,
    });
  }

  async geometry(content: string | Uint8Array, spec: Partial<LayerSpec> = {}): Promise<Geometry> {
    return readGeometry((await this.prepare(content, spec)).geometryPath);
  }

  async refusal(
    content: string | Uint8Array,
    spec: Partial<LayerSpec> = {},
    sourceCrs?: string,
  ): Promise<LayerError> {
    const error: unknown = await this.prepare(content, spec, sourceCrs).catch((e: unknown) => e);
    if (error instanceof LayerError) return error;
    throw new Error(`expected a LayerError, got ${String(error)}`);
  }
}

const ringEndsOf = new WeakMap<Geometry, Set<number>>();

/** Whether a feature holds a point: per-part even-odd, parts OR-ed, half-open; plain floating point. */
export function holds(geometry: Geometry, feature: number, px: number, py: number): boolean {
  const { featureParts, partRings, ringVertices, x, y } = geometry;
  const ringEnds = ringEndsOf.get(geometry) ?? new Set(ringVertices);
  ringEndsOf.set(geometry, ringEnds);
  for (let part = featureParts[feature] ?? 0; part < (featureParts[feature + 1] ?? 0); part += 1) {
    let inside = false;
    const start = ringVertices[partRings[part] ?? 0] ?? 0;
    const end = ringVertices[partRings[part + 1] ?? 0] ?? 0;
    for (let i = start; i + 1 < end; i += 1) {
      if (ringEnds.has(i + 1)) continue;
      const [ax, ay, bx, by] = [x[i] ?? 0, y[i] ?? 0, x[i + 1] ?? 0, y[i + 1] ?? 0];
      if (ay > py === by > py) continue;
      if (px < ax + ((py - ay) / (by - ay)) * (bx - ax)) inside = !inside;
    }
    if (inside) return true;
  }
  return false;
}
