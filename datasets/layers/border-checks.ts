// Owns the search for unmatched borders (docs/layers.md): edges used by one ring only that run along,
// through or into an edge of another feature. Where every shared border has one vertex sequence, there
// are none, and each point of the partition has exactly one owner.
import { isGeographic } from '../crs.ts';
import { BoxTree } from './box-tree.ts';
import type { Findings } from './findings.ts';
import type { Geometry } from './geometry.ts';
import { budgetFor, edgeBox, meetingOfEdges } from './ring-checks.ts';

/** Nearness, relative to the largest coordinate (180 in degrees, where it is 0.2 m). */
const NEAR_RELATIVE = 1e-8;
const SLICE = 1 << 17;

interface SingleEdges {
  /** First vertex of each edge. */
  readonly vertices: Uint32Array;
  readonly features: Uint32Array;
}

/** Counts unmatched edges by feature; `giveWay` is awaited now and then. */
export async function checkBorders(
  geometry: Geometry,
  findings: Findings,
  giveWay: () => Promise<void> | undefined,
): Promise<void> {
  const uses = await countUses(geometry, giveWay);
  const singles = singleEdges(geometry, uses);
  const waiting = giveWay();
  if (waiting !== undefined) await waiting;
  const { x, y, meta } = geometry;
  const near = (isGeographic(meta.crs) ? 180 : meta.maxAbs) * NEAR_RELATIVE;
  const tree = new BoxTree(singles.vertices.length, (item, box) => {
    edgeBox(x, y, singles.vertices[item] ?? 0, box);
    box[0] = (box[0] ?? 0) - near;
    box[1] = (box[1] ?? 0) - near;
    box[2] = (box[2] ?? 0) + near;
    box[3] = (box[3] ?? 0) + near;
  });
  const unmatched = new Uint8Array(singles.vertices.length);
  const budget = budgetFor(x.length);
  tree.selfJoin((a, b) => {
    if (singles.features[a] === singles.features[b]) return false;
    if (unmatched[a] === 1 && unmatched[b] === 1) return false;
    const [i, j] = [singles.vertices[a] ?? 0, singles.vertices[b] ?? 0];
    if (apart(x, i, j, near) || apart(y, i, j, near)) return false;
    const meeting = meetingOfEdges(x, y, i, j);
    const meets = meeting !== 'none' && meeting !== 'touch';
    if (meets || endsNear(x, y, i, j, near) || endsNear(x, y, j, i, near)) {
      unmatched[a] = 1;
      unmatched[b] = 1;
    }
    return false;
  }, budget);
  report(geometry, singles, unmatched, findings);
  if (budget.left < 0) {
    const message =
      'unmatched borders: expected a layer that can be checked in near-linear time, got one whose ' +
      'features overlap each other many times; the counts are too low';
    findings.add('LAYER_CHECK_INCOMPLETE', null, message);
  }
}

/**
 * Counts how often each edge is used, whatever its direction: hash table with linear probing.
 *
 * @returns per edge (by first vertex) 1 when it is used once, else 0
 */
async function countUses(
  geometry: Geometry,
  giveWay: () => Promise<void> | undefined,
): Promise<Uint8Array> {
  const { x, y, ringVertices } = geometry;
  let slots = 1024;
  while (slots < x.length * 1.5) slots *= 2;
  const table = new Uint32Array(slots);
  const single = new Uint8Array(x.length);
  let sliceEnd = SLICE;
  for (let ring = 0; ring + 1 < ringVertices.length; ring += 1) {
    const end = ringVertices[ring + 1] ?? 0;
    for (let i = ringVertices[ring] ?? 0; i + 1 < end; i += 1) {
      if (x[i] === x[i + 1] && y[i] === y[i + 1]) continue;
      const hash = hashPoint(x[i] ?? 0, y[i] ?? 0) + hashPoint(x[i + 1] ?? 0, y[i + 1] ?? 0);
      let slot = (Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 7) & (slots - 1);
      for (;;) {
        const other = (table[slot] ?? 0) - 1;
        if (other < 0) {
          table[slot] = i + 1;
          single[i] = 1;
          break;
        }
        if (sameEdge(x, y, i, other)) {
          single[other] = 0;
          break;
        }
        slot = (slot + 1) & (slots - 1);
      }
      if (i >= sliceEnd) {
        sliceEnd = i + SLICE;
        const waiting = giveWay();
        if (waiting !== undefined) await waiting;
      }
    }
  }
  return single;
}

const HASH_FLOATS = new Float64Array(2);
const HASH_WORDS = new Uint32Array(HASH_FLOATS.buffer);

function hashPoint(x: number, y: number): number {
  HASH_FLOATS[0] = x;
  HASH_FLOATS[1] = y;
  let hash = Math.imul((HASH_WORDS[0] ?? 0) ^ 0x9e3779b9, 0x85ebca6b);
  hash = Math.imul((hash ^ (hash >>> 13)) + (HASH_WORDS[1] ?? 0), 0xc2b2ae35);
  hash = Math.imul((hash ^ (hash >>> 15)) + (HASH_WORDS[2] ?? 0), 0x27d4eb2f);
  hash = Math.imul((hash ^ (hash >>> 13)) + (HASH_WORDS[3] ?? 0), 0x165667b1);
  return (hash ^ (hash >>> 16)) | 0;
}

function sameEdge(x: Float64Array, y: Float64Array, i: number, j: number): boolean {
  const forward = x[i] === x[j] && y[i] === y[j] && x[i + 1] === x[j + 1] && y[i + 1] === y[j + 1];
  if (forward) return true;
  return x[i] === x[j + 1] && y[i] === y[j + 1] && x[i + 1] === x[j] && y[i + 1] === y[j];
}

/** Edges used once, ring by ring along a Morton curve, so that near edges get near places in the tree. */
function singleEdges(geometry: Geometry, single: Uint8Array): SingleEdges {
  const { featureParts, partRings, ringVertices, x, y, meta } = geometry;
  const rings: { key: number; ring: number; feature: number }[] = [];
  const [minX, minY, maxX, maxY] = meta.bbox;
  for (let feature = 0; feature + 1 < featureParts.length; feature += 1) {
    const firstRing = partRings[featureParts[feature] ?? 0] ?? 0;
    const endRing = partRings[featureParts[feature + 1] ?? 0] ?? 0;
    for (let ring = firstRing; ring < endRing; ring += 1) {
      const at = ringVertices[ring] ?? 0;
      const column = ((x[at] ?? 0) - minX) / (maxX - minX || 1);
      const row = ((y[at] ?? 0) - minY) / (maxY - minY || 1);
      rings.push({ key: morton(column, row), ring, feature });
    }
  }
  rings.sort((a, b) => a.key - b.key || a.ring - b.ring);
  let count = 0;
  for (const value of single) count += value;
  const vertices = new Uint32Array(count);
  const features = new Uint32Array(count);
  let at = 0;
  for (const { ring, feature } of rings) {
    const end = ringVertices[ring + 1] ?? 0;
    for (let i = ringVertices[ring] ?? 0; i + 1 < end; i += 1) {
      if (single[i] !== 1) continue;
      vertices[at] = i;
      features[at] = feature;
      at += 1;
    }
  }
  return { vertices, features };
}

/** Morton key of a place in the unit square, 15 bits a side. */
function morton(column: number, row: number): number {
  return spread(Math.floor(column * 32767)) + 2 * spread(Math.floor(row * 32767));
}

function spread(value: number): number {
  let bits = value & 0x7fff;
  bits = (bits | (bits << 8)) & 0x00ff00ff;
  bits = (bits | (bits << 4)) & 0x0f0f0f0f;
  bits = (bits | (bits << 2)) & 0x33333333;
  return (bits | (bits << 1)) & 0x55555555;
}

/** Whether edges i and j are farther apart than `near` along one axis. */
function apart(values: Float64Array, i: number, j: number, near: number): boolean {
  const [a, b, c, d] = [values[i] ?? 0, values[i + 1] ?? 0, values[j] ?? 0, values[j + 1] ?? 0];
  return Math.max(a, b) + near < Math.min(c, d) || Math.max(c, d) + near < Math.min(a, b);
}

/** Whether an end of edge j lies within `near` of edge i, but not of its ends. */
function endsNear(x: Float64Array, y: Float64Array, i: number, j: number, near: number): boolean {
  const [ax, ay] = [x[i] ?? 0, y[i] ?? 0];
  const dx = (x[i + 1] ?? 0) - ax;
  const dy = (y[i + 1] ?? 0) - ay;
  const length = Math.hypot(dx, dy);
  for (const k of [j, j + 1]) {
    const px = (x[k] ?? 0) - ax;
    const py = (y[k] ?? 0) - ay;
    const along = (px * dx + py * dy) / length;
    const across = Math.abs(px * dy - py * dx) / length;
    if (across <= near && along > near && along < length - near) return true;
  }
  return false;
}

function report(
  geometry: Geometry,
  singles: SingleEdges,
  unmatched: Uint8Array,
  findings: Findings,
): void {
  const counts = new Map<number, { count: number; sample: number }>();
  unmatched.forEach((value, item) => {
    if (value === 0) return;
    const feature = singles.features[item] ?? 0;
    const entry = counts.get(feature);
    if (entry === undefined) counts.set(feature, { count: 1, sample: singles.vertices[item] ?? 0 });
    else entry.count += 1;
  });
  for (const feature of [...counts.keys()].toSorted((a, b) => a - b)) {
    const { count, sample } = counts.get(feature) ?? { count: 0, sample: 0 };
    const at = `(${geometry.x[sample]}, ${geometry.y[sample]})`;
    const message =
      'its border: expected the same vertices as its neighbours, got edges that run along or across ' +
      `another feature's, for example from ${at}; points there may have no owner or two`;
    findings.add('LAYER_BORDER_UNMATCHED', geometry.meta.ids[feature] ?? '', message, count);
  }
}
