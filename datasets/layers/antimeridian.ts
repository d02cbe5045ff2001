// Owns the cut of polygons at longitude ±180. A ring crosses where an edge spans more than 180 degrees
// (it then takes the short way) or where a longitude lies beyond ±180. Original vertices are kept bit for
// bit (longitudes beyond ±180 are shifted by 360, which is exact); new ones lie at ±180 on the exact
// intersection of the edge, rounded once, so neighbours that share an edge share the new vertex.
//
// The cut lies infinitesimally west of 180: a vertex on it belongs to the piece east of it. The pieces of
// all rings of a part are joined along the cut by even-odd pairs of crossings, which keeps the part's
// even-odd region; an odd number of crossings means that the part encloses a pole.
import { exactUnits, roundRational } from '../finish.ts';

export type Pole = 'north' | 'south';

export interface Ring {
  readonly x: Float64Array;
  readonly y: Float64Array;
}

/** What a ring does at ±180. */
export interface RingCrossing {
  /** Turns of 360 degrees before each vertex; null when the ring lies in [−180, 180] as it is. */
  readonly turns: Int32Array | null;
  /** Longitude extent as given, in degrees. */
  readonly extent: number;
}

const TURN = 360n * exactUnits(1);
const HALF_TURN = 180n * exactUnits(1);

/** Tells how a closed ring crosses ±180. Longitudes must lie in [−540, 540]. */
export function crossingOf(x: Float64Array, y: Float64Array): RingCrossing {
  let min = Infinity;
  let max = -Infinity;
  let far = 0;
  let exact = 0;
  for (let i = 0; i < x.length; i += 1) {
    const at = x[i] ?? 0;
    min = Math.min(min, at);
    max = Math.max(max, at);
    const previous = i === 0 ? at : (x[i - 1] ?? 0);
    if (Math.abs(at - previous) <= 180 || isPoleEdge(y, i)) continue;
    far += 1;
    if (Math.abs(at - previous) === 360) exact += 1;
  }
  const extent = max - min;
  const inside = min >= -180 && max <= 180;
  if (inside && far === 0) return { turns: null, extent };
  const turns = new Int32Array(x.length);
  let turn = 0;
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < x.length; i += 1) {
    const at = x[i] ?? 0;
    const step = i === 0 ? 0 : at - (x[i - 1] ?? 0);
    if (Math.abs(step) > 180 && !isPoleEdge(y, i)) turn -= Math.sign(step);
    turns[i] = turn;
    low = Math.min(low, at + 360 * turn);
    high = Math.max(high, at + 360 * turn);
  }
  // A ring whose long edges all run from −180 to 180 and that goes nowhere else frames the plane.
  const frames = inside && far === exact && turn === 0 && low === high;
  return { turns: frames ? null : turns, extent };
}

/** An edge along a pole closes a ring in the plane; it crosses nothing. */
function isPoleEdge(y: Float64Array, i: number): boolean {
  const at = y[i] ?? 0;
  return Math.abs(at) >= 90 && at === y[i - 1];
}

interface Chain {
  readonly x: number[];
  readonly y: number[];
  /** −1: begins (ends) at −180, 1: at 180. */
  start: -1 | 1;
  end: -1 | 1;
}

/**
 * Cuts one part.
 *
 * @param rings closed rings with their crossings
 * @param pole the pole that lies inside, when declared
 * @returns rings of the pieces, not yet grouped into parts; null when the part encloses a pole and none
 *   is declared
 */
export function cutPart(
  rings: readonly (Ring & { readonly turns: Int32Array | null })[],
  pole: Pole | null,
): Ring[] | null {
  const whole: Ring[] = [];
  const chains: Chain[] = [];
  for (const ring of rings) {
    if (ring.turns === null) whole.push(ring);
    else cutRing(ring, ring.turns, chains, whole);
  }
  if (chains.length === 0) return whole;
  const east = endsAt(chains, 1);
  const west = endsAt(chains, -1);
  if (east.length % 2 !== 0 || west.length % 2 !== 0) {
    if (pole === null) return null;
    const latitude = pole === 'north' ? 90 : -90;
    const chain: Chain = { x: [180, -180], y: [latitude, latitude], start: 1, end: -1 };
    chains.push(chain);
    const first = { chain, atEnd: false, y: latitude };
    const last = { chain, atEnd: true, y: latitude };
    if (pole === 'north') {
      east.push(first);
      west.push(last);
    } else {
      east.unshift(first);
      west.unshift(last);
    }
  }
  return [...whole, ...joinChains(chains, [...east, ...west])];
}

/** Cuts one ring into chains that run between crossings; a ring without any goes to `whole`. */
function cutRing(ring: Ring, turns: Int32Array, chains: Chain[], whole: Ring[]): void {
  const { x, y } = ring;
  const edges = x.length - 1;
  const columns = new Int32Array(x.length);
  for (let i = 0; i < x.length; i += 1) columns[i] = columnOf(x[i] ?? 0, turns[i] ?? 0);
  let begin = 0;
  while (begin < edges && columns[begin] === columns[begin + 1]) begin += 1;
  if (begin === edges) {
    const kept = { x: [] as number[], y: [] as number[] };
    for (let i = 0; i <= edges; i += 1)
      addVertex(kept, x[i] ?? 0, y[i] ?? 0, columns[i] ?? 0, turns[i] ?? 0);
    whole.push({ x: Float64Array.from(kept.x), y: Float64Array.from(kept.y) });
    return;
  }
  let current: Chain | null = null;
  let first: Chain | null = null;
  for (let step = 0; step < edges; step += 1) {
    const i = (begin + step) % edges;
    const from = columns[i] ?? 0;
    const to = columns[i + 1] ?? 0;
    const sign = to > from ? 1 : -1;
    for (let column = from; column !== to; column += sign) {
      const line = sign > 0 ? column + 1 : column;
      const latitude = latitudeAt(x, y, turns, i, line);
      if (current !== null) endChain(current, sign, latitude);
      current = { x: [-180 * sign], y: [latitude], start: sign > 0 ? -1 : 1, end: 1 };
      first ??= current;
      chains.push(current);
    }
    const next = i + 1;
    if (current !== null) addVertex(current, x[next] ?? 0, y[next] ?? 0, to, turns[next] ?? 0);
  }
  // The loop began on a crossing, so the last chain ends where the first begins, one winding later.
  if (current !== null && first !== null) {
    const sign = first.start < 0 ? 1 : -1;
    endChain(current, sign, first.y[0] ?? 0);
  }
}

function endChain(chain: Chain, sign: 1 | -1, latitude: number): void {
  chain.end = sign;
  const last = chain.x.length - 1;
  if (chain.x[last] === 180 * sign && chain.y[last] === latitude) return;
  chain.x.push(180 * sign);
  chain.y.push(latitude);
}

/** Number of the 360-degree column [180(2k − 1), 180(2k + 1)) that holds x + 360·turn. */
function columnOf(x: number, turn: number): number {
  if (x >= 180) return turn + (x >= 540 ? 2 : 1);
  return x < -180 ? turn - 1 : turn;
}

/** Appends a vertex with its longitude brought into [−180, 180], unless it repeats the last one. */
function addVertex(
  to: { readonly x: number[]; readonly y: number[] },
  x: number,
  y: number,
  column: number,
  turn: number,
): void {
  // Within [180, 540] and [−540, −180] the shift is exact (Sterbenz).
  const shifted = x - 360 * (column - turn);
  const last = to.x.length - 1;
  if (last >= 0 && to.x[last] === shifted && to.y[last] === y) return;
  to.x.push(shifted);
  to.y.push(y);
}

/**
 * Latitude at which edge i meets the meridian 180(2·line − 1): exact, rounded once to nearest-even.
 */
function latitudeAt(
  x: Float64Array,
  y: Float64Array,
  turns: Int32Array,
  i: number,
  line: number,
): number {
  const ya = exactUnits(y[i] ?? 0);
  const yb = exactUnits(y[i + 1] ?? 0);
  const meridian = TURN * BigInt(line) - HALF_TURN;
  const xa = exactUnits(x[i] ?? 0) + TURN * BigInt(turns[i] ?? 0);
  const xb = exactUnits(x[i + 1] ?? 0) + TURN * BigInt(turns[i + 1] ?? 0);
  const run = xb - xa;
  const numerator = ya * run + (yb - ya) * (meridian - xa);
  return run > 0n ? roundRational(numerator, run) : roundRational(-numerator, -run);
}

interface ChainEnd {
  readonly chain: Chain;
  readonly atEnd: boolean;
  readonly y: number;
}

/** Chain ends at one side of the cut, by latitude ascending. */
function endsAt(chains: readonly Chain[], side: -1 | 1): ChainEnd[] {
  const ends: ChainEnd[] = [];
  for (const chain of chains) {
    if (chain.start === side) ends.push({ chain, atEnd: false, y: chain.y[0] ?? 0 });
    if (chain.end === side) ends.push({ chain, atEnd: true, y: chain.y.at(-1) ?? 0 });
  }
  return ends.toSorted((a, b) => a.y - b.y);
}

/** Joins chains at paired ends (0 with 1, 2 with 3 …) into closed rings. */
function joinChains(chains: readonly Chain[], ends: readonly ChainEnd[]): Ring[] {
  const partners = new Map<Chain, { start: ChainEnd | null; end: ChainEnd | null }>();
  for (const chain of chains) partners.set(chain, { start: null, end: null });
  for (let i = 0; i + 1 < ends.length; i += 2) {
    const [a, b] = [ends[i], ends[i + 1]];
    if (a === undefined || b === undefined) break;
    const ofA = partners.get(a.chain);
    const ofB = partners.get(b.chain);
    if (ofA !== undefined) ofA[a.atEnd ? 'end' : 'start'] = b;
    if (ofB !== undefined) ofB[b.atEnd ? 'end' : 'start'] = a;
  }
  const rings: Ring[] = [];
  const used = new Set<Chain>();
  for (const chain of chains) {
    if (used.has(chain)) continue;
    const x: number[] = [];
    const y: number[] = [];
    let at: ChainEnd | null = { chain, atEnd: false, y: 0 };
    while (at !== null && !used.has(at.chain)) {
      used.add(at.chain);
      const count = at.chain.x.length;
      for (let i = 0; i < count; i += 1) {
        const k = at.atEnd ? count - 1 - i : i;
        addVertex({ x, y }, at.chain.x[k] ?? 0, at.chain.y[k] ?? 0, 0, 0);
      }
      at = partners.get(at.chain)?.[at.atEnd ? 'start' : 'end'] ?? null;
    }
    if (x[0] !== x.at(-1) || y[0] !== y.at(-1)) {
      x.push(x[0] ?? 0);
      y.push(y[0] ?? 0);
    }
    // A piece that lies on the cut has no area: the region only touched the meridian.
    if (x.length >= 4 && x.some((value) => value !== x[0])) {
      rings.push({ x: Float64Array.from(x), y: Float64Array.from(y) });
    }
  }
  return rings;
}
