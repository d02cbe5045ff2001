// Owns how a layer is drawn flat. Choropleths compare areas, so every projection here keeps them:
// US counties and states as the usual composite with Alaska, Hawaii and Puerto Rico inset, the world in
// Equal Earth (Šavrič, Patterson, Jenny 2018), regions in Albers, other CRS as they are.
import { isGeographic } from '../crs.ts';
import type { Geometry } from '../layers/index.ts';

/** Projected place, y downwards, in units of no meaning; null where a feature is not drawn. */
export type Project = (x: number, y: number, feature: number) => readonly [number, number] | null;

export interface MapProjection {
  readonly kind: 'us-composite' | 'equal-earth' | 'albers' | 'planar';
  readonly project: Project;
  /** What a reader of the map must know, null if nothing. */
  readonly note: string | null;
}

const RADIAN = Math.PI / 180;
/** States, Puerto Rico and island areas by FIPS code. */
const US_ID = /^(0[1-9]|[1-4][0-9]|5[0-6]|60|66|69|72|78)(\d{3})?$/u;
const US_ISLANDS = new Set(['60', '66', '69', '78']);

/** Chooses a projection from the CRS, the ids and the extent. */
export function projectionFor(geometry: Geometry): MapProjection {
  const { crs, ids, bbox } = geometry.meta;
  if (!isGeographic(crs)) return { kind: 'planar', project: (x, y) => [x, -y], note: null };
  if (isUnitedStates(geometry)) {
    return {
      kind: 'us-composite',
      project: usComposite(ids),
      note: ids.some((id) => US_ISLANDS.has(id.slice(0, 2)))
        ? 'Alaska, Hawaii and Puerto Rico inset; other islands not drawn'
        : 'Alaska, Hawaii and Puerto Rico inset',
    };
  }
  const [west, south, east, north] = bbox;
  if (east - west > 100 || north - south > 80) {
    return { kind: 'equal-earth', project: equalEarth, note: 'Equal Earth projection' };
  }
  const first = south + (north - south) / 6;
  const second = north - (north - south) / 6;
  return {
    kind: 'albers',
    project: albers(first, second, (west + east) / 2, (south + north) / 2),
    note: null,
  };
}

/** FIPS-like ids alone could be anything; most of the features must lie in North America as well. */
function isUnitedStates(geometry: Geometry): boolean {
  const { meta, featureParts, partRings, ringVertices, x, y } = geometry;
  if (meta.ids.length < 20 || !meta.ids.every((id) => US_ID.test(id))) return false;
  let near = 0;
  meta.ids.forEach((_, feature) => {
    const at = ringVertices[partRings[featureParts[feature] ?? 0] ?? 0] ?? 0;
    const [lon, lat] = [x[at] ?? 0, y[at] ?? 0];
    if (lon > -130 && lon < -60 && lat > 23 && lat < 50) near += 1;
  });
  return near > meta.ids.length * 0.7;
}

function usComposite(ids: readonly string[]): Project {
  const mainland = albers(29.5, 45.5, -96.6, 38.7);
  const alaska = inset(albers(55, 65, -156, 58.5), 0.35, -0.307, 0.201);
  const hawaii = inset(albers(8, 18, -160, 19.9), 1, -0.205, 0.212);
  const puertoRico = inset(albers(8, 18, -66.3, 18), 1, 0.335, 0.22);
  const byState = new Map<string, Project>([
    ['02', alaska],
    ['15', hawaii],
    ['72', puertoRico],
  ]);
  const byFeature = ids.map((id) => {
    const state = id.slice(0, 2);
    return US_ISLANDS.has(state) ? () => null : (byState.get(state) ?? mainland);
  });
  // The north-western islands of Hawaii would reach far into the map.
  return (x, y, feature) =>
    byFeature[feature] === hawaii && x < -161
      ? null
      : (byFeature[feature]?.(x, y, feature) ?? null);
}

function inset(project: Project, scale: number, dx: number, dy: number): Project {
  return (x, y, feature) => {
    const at = project(x, y, feature);
    return at === null ? null : [at[0] * scale + dx, at[1] * scale + dy];
  };
}

/** Albers equal-area conic on the unit sphere, centred; cylindrical where the parallels cancel out. */
function albers(first: number, second: number, lon0: number, lat0: number): Project {
  const sinFirst = Math.sin(first * RADIAN);
  const n = (sinFirst + Math.sin(second * RADIAN)) / 2;
  if (Math.abs(n) < 1e-3) {
    const stretch = Math.cos(first * RADIAN);
    return (x, y) => [turn(x - lon0) * RADIAN * stretch, -Math.sin(y * RADIAN) / stretch];
  }
  const c = Math.cos(first * RADIAN) ** 2 + 2 * n * sinFirst;
  const radius = (lat: number): number =>
    Math.sqrt(Math.max(0, c - 2 * n * Math.sin(lat * RADIAN))) / n;
  const radius0 = radius(lat0);
  return (x, y) => {
    const angle = n * turn(x - lon0) * RADIAN;
    const r = radius(y);
    return [r * Math.sin(angle), r * Math.cos(angle) - radius0];
  };
}

function turn(degrees: number): number {
  if (degrees > 180) return degrees - 360;
  return degrees < -180 ? degrees + 360 : degrees;
}

function equalEarth(x: number, y: number): readonly [number, number] {
  const root = Math.sqrt(3) / 2;
  const t = Math.asin(root * Math.sin(y * RADIAN));
  const t2 = t * t;
  const t6 = t2 * t2 * t2;
  const slope = 1.340264 - 3 * 0.081106 * t2 + t6 * (7 * 0.000893 + 9 * 0.003796 * t2);
  return [
    (x * RADIAN * Math.cos(t)) / (root * slope),
    -t * (1.340264 - 0.081106 * t2 + t6 * (0.000893 + 0.003796 * t2)),
  ];
}
