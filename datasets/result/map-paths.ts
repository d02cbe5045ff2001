// Owns the outlines of a map: vertices are projected and snapped to a pixel grid, repeated ones dropped.
// Snapping treats a vertex alike for both neighbours, so borders stay closed at every level of detail.
import type { Geometry } from '../layers/index.ts';
import type { MapProjection } from './map-projection.ts';

export interface MapFrame {
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  readonly scale: number;
  readonly left: number;
  readonly top: number;
}

/** Fits the projected layer into a width; the height follows. */
export function frameOf(
  geometry: Geometry,
  projection: MapProjection,
  width: number,
  heightMax: number,
): MapFrame {
  const box = [Infinity, Infinity, -Infinity, -Infinity] as [number, number, number, number];
  eachVertex(geometry, (x, y, feature) => {
    const at = projection.project(x, y, feature);
    if (at === null) return;
    box[0] = Math.min(box[0], at[0]);
    box[1] = Math.min(box[1], at[1]);
    box[2] = Math.max(box[2], at[0]);
    box[3] = Math.max(box[3], at[1]);
  });
  const across = Number.isFinite(box[2] - box[0]) && box[2] > box[0] ? box[2] - box[0] : 1;
  const down = Number.isFinite(box[3] - box[1]) && box[3] > box[1] ? box[3] - box[1] : 1;
  const scale = Math.min(width / across, heightMax / down);
  return {
    width: across * scale,
    height: down * scale,
    scale,
    left: Number.isFinite(box[0]) ? box[0] : 0,
    top: Number.isFinite(box[1]) ? box[1] : 0,
  };
}

function eachVertex(
  geometry: Geometry,
  visit: (x: number, y: number, feature: number) => void,
): void {
  for (let feature = 0; feature + 1 < geometry.featureParts.length; feature += 1) {
    const [start, end] = vertexRange(geometry, feature);
    for (let i = start; i < end; i += 1) visit(geometry.x[i] ?? 0, geometry.y[i] ?? 0, feature);
  }
}

function vertexRange(geometry: Geometry, feature: number): readonly [number, number] {
  const { featureParts, partRings, ringVertices } = geometry;
  const start = ringVertices[partRings[featureParts[feature] ?? 0] ?? 0] ?? 0;
  const end = ringVertices[partRings[featureParts[feature + 1] ?? 0] ?? 0] ?? 0;
  return [start, end];
}

export interface MapPaths {
  /** SVG path data per feature in grid units; empty where nothing is drawn. */
  readonly features: readonly string[];
  /** Borders between groups of features, null when there are no groups. */
  readonly groups: string | null;
}

/**
 * Draws every feature.
 *
 * @param gridPx pixels per grid unit
 * @param groupOf group of a feature; borders between different groups are drawn apart
 */
export function drawPaths(
  geometry: Geometry,
  projection: MapProjection,
  frame: MapFrame,
  gridPx: number,
  groupOf: ((feature: number) => string) | null,
): MapPaths {
  const { featureParts, partRings, ringVertices, x, y } = geometry;
  const borders = groupOf === null ? null : new GroupBorders();
  const features: string[] = [];
  const toGrid = frame.scale / gridPx;
  for (let feature = 0; feature + 1 < featureParts.length; feature += 1) {
    let path = '';
    const firstRing = partRings[featureParts[feature] ?? 0] ?? 0;
    const endRing = partRings[featureParts[feature + 1] ?? 0] ?? 0;
    for (let ring = firstRing; ring < endRing; ring += 1) {
      const points: number[] = [];
      for (let i = ringVertices[ring] ?? 0; i < (ringVertices[ring + 1] ?? 0); i += 1) {
        const at = projection.project(x[i] ?? 0, y[i] ?? 0, feature);
        if (at === null) continue;
        const column = Math.round((at[0] - frame.left) * toGrid);
        const row = Math.round((at[1] - frame.top) * toGrid);
        if (points.at(-2) === column && points.at(-1) === row) continue;
        points.push(column, row);
      }
      path += ringPath(points);
      borders?.add(points, groupOf?.(feature) ?? '');
    }
    features.push(path);
  }
  return { features, groups: borders?.path() ?? null };
}

/** Relative path of a closed ring; nothing for one that collapsed to a line or a point. */
function ringPath(points: readonly number[]): string {
  const count = points.length / 2;
  if (count < 4) return '';
  let path = `M${points[0]} ${points[1]}l`;
  for (let i = 1; i < count - 1; i += 1) {
    const dx = (points[2 * i] ?? 0) - (points[2 * i - 2] ?? 0);
    const dy = (points[2 * i + 1] ?? 0) - (points[2 * i - 1] ?? 0);
    // A minus sign separates numbers as well as a space does.
    path += `${i > 1 && dx >= 0 ? ' ' : ''}${dx}${dy >= 0 ? ' ' : ''}${dy}`;
  }
  return `${path}z`;
}

/** Collects edges that separate two groups. */
class GroupBorders {
  readonly #edges = new Map<string, { group: string; border: boolean }>();

  add(points: readonly number[], group: string): void {
    for (let i = 2; i + 1 < points.length; i += 2) {
      const from = `${points[i - 2]} ${points[i - 1]}`;
      const to = `${points[i]} ${points[i + 1]}`;
      const key = from < to ? `M${from}L${to}` : `M${to}L${from}`;
      const known = this.#edges.get(key);
      if (known === undefined) this.#edges.set(key, { group, border: false });
      else if (known.group !== group) known.border = true;
    }
  }

  path(): string {
    let path = '';
    for (const [key, { border }] of this.#edges) if (border) path += key;
    return path;
  }
}
