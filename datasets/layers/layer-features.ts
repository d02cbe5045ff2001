// Owns the way back from prepared geometry to GeoJSON features.
import type { Geometry } from './geometry.ts';

export interface LayerFeature {
  readonly type: 'Feature';
  readonly id: string;
  readonly properties: { readonly name: string | null };
  readonly geometry: {
    readonly type: 'MultiPolygon';
    readonly coordinates: [number, number][][][];
  } | null;
}

/** Yields the features of a layer in order; a feature without parts has geometry null. */
export function* geometryToFeatures(geometry: Geometry): Generator<LayerFeature> {
  const { featureParts, meta } = geometry;
  for (let feature = 0; feature + 1 < featureParts.length; feature += 1) {
    const coordinates = coordinatesOf(geometry, feature);
    yield {
      type: 'Feature',
      id: meta.ids[feature] ?? '',
      properties: { name: meta.names?.[feature] ?? null },
      geometry: coordinates.length === 0 ? null : { type: 'MultiPolygon', coordinates },
    };
  }
}

function coordinatesOf(geometry: Geometry, feature: number): [number, number][][][] {
  const { featureParts, partRings, ringVertices, x, y } = geometry;
  const parts: [number, number][][][] = [];
  for (let part = featureParts[feature] ?? 0; part < (featureParts[feature + 1] ?? 0); part += 1) {
    const rings: [number, number][][] = [];
    for (let ring = partRings[part] ?? 0; ring < (partRings[part + 1] ?? 0); ring += 1) {
      const positions: [number, number][] = [];
      for (let i = ringVertices[ring] ?? 0; i < (ringVertices[ring + 1] ?? 0); i += 1) {
        positions.push([x[i] ?? 0, y[i] ?? 0]);
      }
      rings.push(positions);
    }
    parts.push(rings);
  }
  return parts;
}
