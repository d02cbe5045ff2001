// The example of design §5, which every spec test starts from.
export const EXAMPLE = `apiVersion: tileloom/v1
kind: Pipeline
name: where-on-earth
source: { dataset: ./data/points, crs: OGC:CRS84, wrap: true }
layers:
  counties: { file: ./counties.geojson, id: GEOID, antimeridian: split }
steps:
  - assign: { layer: counties, as: county, boundary: half-open, overlap: first }
  - aggregate: { by: county, measures: [count, { sum: value }, { mean: value }] }
sink: { path: ./out, rows: false, format: arrow } # rows: also write the per-row result
plan: { mode: auto, precision: auto, policy: probe-first@3, cadence: every-chunk }
limits: { memory: 2 GiB, failedTiles: 0, lanes: 2 }
`;

export const MINIMAL = `apiVersion: tileloom/v1
kind: Pipeline
name: small
source: { dataset: ./points }
layers: { areas: { file: a.geojson, id: "@id" } }
steps:
  - assign: { layer: areas, as: area }
  - aggregate: { by: area, measures: [count] }
sink: { path: out }
`;
