// Owns the layers of self-check and benchmarks: US counties (easy) and world countries 1:10m (hard).
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { feature } from 'topojson-client';
import type { GeometryCollection, Topology } from 'topojson-specification';
import { encodeGeometry, type IndexInfo, type KernelLibrary } from '../../native/index.ts';
import type { BoundaryRule, OverlapRule } from '../../registry/index.ts';
import { CONTIGUOUS_US, WORLD, type Box } from '../kernels/points.ts';
import type { Area } from '../../tests/native/helpers/geometry.ts';
import type { Place } from './place.ts';

export type LayerName = 'counties' | 'countries';

export interface LayerFiles {
  readonly name: LayerName;
  readonly box: Box;
  readonly geometryPath: string;
  readonly areas: readonly Area[];
  readonly vertices: number;
}

export const LAYERS: readonly LayerName[] = ['counties', 'countries'];

/** Writes a layer's geometry into a folder. */
export function writeLayer(place: Place, name: LayerName, folder: string): LayerFiles {
  const topology = JSON.parse(readFileSync(place.layerFile(name), 'utf8')) as Topology;
  const collection = feature(topology, topology.objects[name] as GeometryCollection);
  const areas = collection.features.map(({ geometry }): Area =>
    geometry?.type === 'Polygon' || geometry?.type === 'MultiPolygon'
      ? geometry
      : { type: 'MultiPolygon', coordinates: [] },
  );
  const geometryPath = join(folder, `${name}.tlgeom`);
  writeFileSync(geometryPath, encodeGeometry(areas));
  const box = name === 'counties' ? CONTIGUOUS_US : WORLD;
  return { name, box, geometryPath, areas, vertices: verticesOf(areas).length };
}

export async function buildIndex(
  library: KernelLibrary,
  layer: LayerFiles,
  boundary: BoundaryRule,
  overlap: OverlapRule,
): Promise<IndexInfo> {
  const indexPath = `${layer.geometryPath}-${boundary}-${overlap}.tlidx`;
  const { geometryPath } = layer;
  return library.buildIndex({ geometryPath, indexPath, boundary, overlap, durable: false });
}

/** All vertices, ring by ring. */
export function verticesOf(areas: readonly Area[]): readonly (readonly number[])[] {
  return areas.flatMap((area) =>
    area.type === 'Polygon' ? area.coordinates.flat() : area.coordinates.flat(2),
  );
}
