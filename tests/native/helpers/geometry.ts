// Owns the layers that native tests use.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Geometry, MultiPolygon, Polygon, Position } from 'geojson';
import { feature } from 'topojson-client';
import type { GeometryCollection, Topology } from 'topojson-specification';
import { encodeGeometry } from '../../../native/index.ts';

export type Area = Polygon | MultiPolygon;

/** Writes areas as the features of a layer. */
export function writeGeometry(path: string, areas: readonly Area[]): void {
  writeFileSync(path, encodeGeometry(areas));
}

const require = createRequire(import.meta.url);

function areasOf(file: string, object: string): Area[] {
  const topology = JSON.parse(readFileSync(require.resolve(file), 'utf8')) as Topology;
  const collection = feature(topology, topology.objects[object] as GeometryCollection);
  return collection.features.map((one) => asArea(one.geometry));
}

function asArea(geometry: Geometry | null): Area {
  return geometry?.type === 'Polygon' || geometry?.type === 'MultiPolygon'
    ? geometry
    : { type: 'MultiPolygon', coordinates: [] };
}

export function counties(): Area[] {
  return areasOf('us-atlas/counties-10m.json', 'counties');
}

export function countries(): Area[] {
  return areasOf('world-atlas/countries-10m.json', 'countries');
}

/** All vertices of areas, ring by ring. */
export function verticesOf(areas: readonly Area[]): Position[] {
  return areas.flatMap((area) =>
    area.type === 'Polygon' ? area.coordinates.flat() : area.coordinates.flat(2),
  );
}
