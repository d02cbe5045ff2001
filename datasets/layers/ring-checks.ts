// Owns the checks of single parts: rings that cross or touch themselves, and parts whose even-odd region is
// not shell minus holes. All are warnings: answers are defined (per-part even-odd), other tools may differ.
import { BoxTree, type JoinBudget } from './box-tree.ts';
import type { Findings } from './findings.ts';
import type { Geometry } from './geometry.ts';
import { areaSign, meetingOf, type SegmentMeeting } from './orientation.ts';
import { crossingOfRay } from './ring-location.ts';

/** Visited tree nodes per vertex of the layer before a check is given up. */
const WORK_PER_VERTEX = 400;
const WORK_MIN = 20_000_000;

/** The budget of one check over a whole layer. */
export function budgetFor(vertices: number): JoinBudget {
  return { left: WORK_MIN + vertices * WORK_PER_VERTEX };
}

/** Checks every ring and part; `giveWay` is awaited between parts. */
export async function checkRings(
  geometry: Geometry,
  findings: Findings,
  giveWay: () => Promise<void> | undefined,
): Promise<void> {
  const { featureParts, partRings, meta } = geometry;
  const budget = budgetFor(geometry.x.length);
  for (let feature = 0; feature + 1 < featureParts.length; feature += 1) {
    const id = meta.ids[feature] ?? '';
    const firstPart = featureParts[feature] ?? 0;
    const endPart = featureParts[feature + 1] ?? 0;
    for (let part = firstPart; part < endPart; part += 1) {
      const rings: EdgeRing[] = [];
      for (let ring = partRings[part] ?? 0; ring < (partRings[part + 1] ?? 0); ring += 1) {
        rings.push(new EdgeRing(geometry, ring));
      }
      rings.forEach((ring, i) => {
        const where = `part ${part - firstPart}, ring ${i}`;
        reportSelf(ring.meetsItself(budget), ring, where, id, findings);
      });
      const differs = rings.length > 1 ? evenOddDiffers(rings, budget) : null;
      if (differs !== null) {
        const message = `part ${part - firstPart}: ${differs}; points are taken even-odd`;
        findings.add('LAYER_EVEN_ODD_DIFFERS', id, message);
      }
      if (budget.left < 0) {
        const message =
          'self-intersections: expected a layer that can be checked in near-linear time, got one whose ' +
          `rings wind around each other; unchecked from feature ${id} on`;
        findings.add('LAYER_CHECK_INCOMPLETE', null, message);
        return;
      }
      const waiting = giveWay();
      if (waiting !== undefined) await waiting;
    }
  }
}

interface SelfMeeting {
  readonly kind: 'cross' | 'touch';
  /** First vertices of the two edges. */
  readonly edges: readonly [number, number];
}

function reportSelf(
  meeting: SelfMeeting | null,
  ring: EdgeRing,
  where: string,
  id: string,
  findings: Findings,
): void {
  if (meeting === null) return;
  const [a, b] = meeting.edges.map((vertex) => `(${ring.x[vertex]}, ${ring.y[vertex]})`);
  const message = `${where}: expected a simple ring, got edges from ${a} and ${b} that`;
  if (meeting.kind === 'cross') {
    findings.add('LAYER_RING_SELF_INTERSECTS', id, `${message} cross or overlap`);
  } else {
    findings.add('LAYER_RING_SELF_TOUCHES', id, `${message} touch`);
  }
}

/** One ring as edges of non-zero length, with a tree over them. */
class EdgeRing {
  readonly x: Float64Array;
  readonly y: Float64Array;
  readonly start: number;
  readonly end: number;
  /** First vertices of the edges. */
  readonly edges: Uint32Array;
  readonly tree: BoxTree;

  constructor(geometry: Geometry, ring: number) {
    const { x, y } = geometry;
    this.x = x;
    this.y = y;
    this.start = geometry.ringVertices[ring] ?? 0;
    this.end = geometry.ringVertices[ring + 1] ?? 0;
    const edges = new Uint32Array(Math.max(0, this.end - this.start - 1));
    let count = 0;
    for (let i = this.start; i + 1 < this.end; i += 1) {
      if (x[i] === x[i + 1] && y[i] === y[i + 1]) continue;
      edges[count] = i;
      count += 1;
    }
    this.edges = edges.subarray(0, count);
    this.tree = new BoxTree(count, (item, box) => edgeBox(x, y, edges[item] ?? 0, box));
  }

  meeting(a: number, other: EdgeRing, b: number): SegmentMeeting {
    const i = this.edges[a] ?? 0;
    const j = other.edges[b] ?? 0;
    return meetingOfEdges(this.x, this.y, i, j);
  }

  /** The first crossing, else the first touch, else null; rings without area are left out. */
  meetsItself(budget: JoinBudget): SelfMeeting | null {
    const count = this.edges.length;
    if (count < 3 || areaSign(this.x, this.y, this.start, this.end) === 0) return null;
    let found: SelfMeeting | null = null;
    this.tree.selfJoin((a, b) => {
      const meeting = this.meeting(a, this, b);
      if (meeting === 'none') return false;
      const adjacent = b - a === 1 || (a === 0 && b === count - 1);
      if (adjacent && meeting === 'touch') return false;
      const kind = meeting === 'touch' || meeting === 'tee' ? 'touch' : 'cross';
      if (found === null || kind === 'cross') {
        found = { kind, edges: [this.edges[a] ?? 0, this.edges[b] ?? 0] };
      }
      return kind === 'cross';
    }, budget);
    return found;
  }

  /** 1 inside by even-odd, 0 on an edge, −1 outside. */
  locate(px: number, py: number): 1 | 0 | -1 {
    let crossings = 0;
    let onEdge = false;
    this.tree.query(px, py, Infinity, py, (item) => {
      const i = this.edges[item] ?? 0;
      const { x, y } = this;
      if ((x[i] ?? 0) < px && (x[i + 1] ?? 0) < px) return;
      const crossing = crossingOfRay(x[i] ?? 0, y[i] ?? 0, x[i + 1] ?? 0, y[i + 1] ?? 0, px, py);
      if (crossing === 0) onEdge = true;
      else if (crossing > 0) crossings += 1;
    });
    if (onEdge) return 0;
    return crossings % 2 === 1 ? 1 : -1;
  }

  /** Where the first vertex that is not on the other ring lies; 0 when all are on it. */
  locatedIn(other: EdgeRing, budget: JoinBudget): 1 | 0 | -1 {
    for (const i of this.edges) {
      budget.left -= 64;
      const location = other.locate(this.x[i] ?? 0, this.y[i] ?? 0);
      if (location !== 0 || budget.left < 0) return location;
    }
    return 0;
  }

  crosses(other: EdgeRing, budget: JoinBudget): boolean {
    let found = false;
    this.tree.join(other.tree, (a, b) => (found = this.meeting(a, other, b) === 'cross'), budget);
    return found;
  }
}

/** Says how even-odd over all rings differs from the first ring minus the others; null if it does not. */
function evenOddDiffers(rings: readonly EdgeRing[], budget: JoinBudget): string | null {
  const [shell, ...holes] = rings;
  if (shell === undefined) return null;
  for (const [i, hole] of holes.entries()) {
    if (hole.crosses(shell, budget)) return `ring ${i + 1} is a hole that crosses the shell`;
    if (hole.locatedIn(shell, budget) < 0) return `ring ${i + 1} is a hole outside the shell`;
  }
  let differs: string | null = null;
  const boxes = new BoxTree(holes.length, (item, box) => {
    const hole = holes[item];
    box.set([Infinity, Infinity, -Infinity, -Infinity]);
    for (let i = hole?.start ?? 0; i < (hole?.end ?? 0); i += 1) growBox(hole, i, box);
  });
  boxes.selfJoin((a, b) => {
    const [first, second] = [holes[a], holes[b]];
    if (first === undefined || second === undefined) return false;
    const nested = first.locatedIn(second, budget) > 0 || second.locatedIn(first, budget) > 0;
    if (!nested && !first.crosses(second, budget)) return false;
    differs = `rings ${a + 1} and ${b + 1} are holes that overlap`;
    return true;
  }, budget);
  return differs;
}

function growBox(ring: EdgeRing | undefined, vertex: number, box: Float64Array): void {
  const x = ring?.x[vertex] ?? 0;
  const y = ring?.y[vertex] ?? 0;
  box[0] = Math.min(box[0] ?? 0, x);
  box[1] = Math.min(box[1] ?? 0, y);
  box[2] = Math.max(box[2] ?? 0, x);
  box[3] = Math.max(box[3] ?? 0, y);
}

/** Box of the edge from vertex i to i + 1. */
export function edgeBox(x: Float64Array, y: Float64Array, i: number, box: Float64Array): void {
  const [ax, bx, ay, by] = [x[i] ?? 0, x[i + 1] ?? 0, y[i] ?? 0, y[i + 1] ?? 0];
  box[0] = ax < bx ? ax : bx;
  box[1] = ay < by ? ay : by;
  box[2] = ax < bx ? bx : ax;
  box[3] = ay < by ? by : ay;
}

/** How the edges that begin at vertices i and j meet. */
export function meetingOfEdges(
  x: Float64Array,
  y: Float64Array,
  i: number,
  j: number,
): SegmentMeeting {
  return meetingOf(
    x[i] ?? 0,
    y[i] ?? 0,
    x[i + 1] ?? 0,
    y[i + 1] ?? 0,
    x[j] ?? 0,
    y[j] ?? 0,
    x[j + 1] ?? 0,
    y[j + 1] ?? 0,
  );
}
