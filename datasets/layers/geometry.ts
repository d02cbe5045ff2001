// Owns the in-memory form of a prepared layer, as `.tlgeom` stores it (docs/formats.md).
//
// I1  featureParts, partRings, ringVertices are offsets: n + 1 values, ascending, from 0.
// I2  Rings are closed, finite and without −0.0.

export interface LayerMeta {
  readonly crs: string;
  readonly ids: readonly string[];
  /** Display names, one a feature; null when no feature has one. */
  readonly names: readonly string[] | null;
  readonly bbox: readonly [number, number, number, number];
  /** Largest magnitude of a coordinate. */
  readonly maxAbs: number;
}

export interface Geometry {
  readonly featureParts: Uint32Array;
  readonly partRings: Uint32Array;
  /** Vertex offsets; below 2^53. */
  readonly ringVertices: Float64Array;
  readonly x: Float64Array;
  readonly y: Float64Array;
  readonly meta: LayerMeta;
}

export interface LayerSize {
  readonly features: number;
  readonly parts: number;
  readonly rings: number;
  readonly vertices: number;
}

export function sizeOf(geometry: Geometry): LayerSize {
  return {
    features: geometry.featureParts.length - 1,
    parts: geometry.partRings.length - 1,
    rings: geometry.ringVertices.length - 1,
    vertices: geometry.x.length,
  };
}
