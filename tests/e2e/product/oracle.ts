// Owns the independent computation that results are compared with: turf's point-in-polygon on the
// features that topojson-client decodes, with flatbush in front. It shares no code with the product.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { booleanPointInPolygon } from '@turf/boolean-point-in-polygon';
import Flatbush from 'flatbush';
import type { FeatureCollection, MultiPolygon, Polygon, Position } from 'geojson';
import { feature } from 'topojson-client';
import type { GeometryCollection, Topology } from 'topojson-specification';

export interface Oracle {
  readonly ids: readonly string[];
  /** Features that hold the point, borders included, ascending; `border`: it lies exactly on one. */
  locate(x: number, y: number): { readonly features: readonly number[]; readonly border: boolean };
}

export function countiesOracle(): Oracle {
  const file = createRequire(import.meta.url).resolve('us-atlas/counties-10m.json');
  const topology = JSON.parse(readFileSync(file, 'utf8')) as Topology<{
    counties: GeometryCollection;
  }>;
  const collection = feature(topology, topology.objects.counties) as FeatureCollection<
    Polygon | MultiPolygon
  >;
  const { features } = collection;
  const tree = new Flatbush(features.length);
  for (const { geometry } of features) {
    const [minX, minY, maxX, maxY] = boxOf(geometry);
    tree.add(minX, minY, maxX, maxY);
  }
  tree.finish();
  return {
    ids: features.map(({ id }) => String(id)),
    locate: (x, y) => {
      const found: number[] = [];
      let border = false;
      for (const index of tree.search(x, y, x, y)) {
        const geometry = features[index]?.geometry;
        if (geometry === undefined || !booleanPointInPolygon([x, y], geometry)) continue;
        found.push(index);
        border ||= !booleanPointInPolygon([x, y], geometry, { ignoreBoundary: true });
      }
      return { features: found.toSorted((a, b) => a - b), border };
    },
  };
}

function boxOf(geometry: Polygon | MultiPolygon): [number, number, number, number] {
  const box: [number, number, number, number] = [Infinity, Infinity, -Infinity, -Infinity];
  const polygons = geometry.type === 'Polygon' ? [geometry.coordinates] : geometry.coordinates;
  const points: Position[] = polygons.flat(2);
  for (const [x = 0, y = 0] of points) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}
