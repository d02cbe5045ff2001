// Owns reading of one `coordinates` member straight into flat arrays: no array per position, so a
// feature of 10^7 vertices costs 160 MB. The geometry's type may come later in the text, hence the
// nesting is recorded first and cut into rings and parts once the type is known.
import { growableUint32 } from './growable.ts';
import type { JsonReader } from './json-reader.ts';
import type { RawFeature } from './raw-feature.ts';

const DEPTH_MAX = 8;
const OPEN_BRACKET = 0x5b;

/** What one `coordinates` member held; its vertices are already in the feature. */
export class CoordinateNesting {
  /** Depth of the arrays that are positions (1: the member itself), 0 when there is none. */
  positionDepth = 0;
  irregular = false;
  /** Positions with fewer than two numbers or with something else than numbers. */
  badPositions = 0;
  firstBad = '';
  /** Vertices of the feature before this member. */
  base = 0;
  /** Closed arrays above positions: depth, and vertices of the feature at that moment. */
  readonly closedDepth = growableUint32();
  readonly closedAt = growableUint32();

  clear(base: number): void {
    this.positionDepth = 0;
    this.irregular = false;
    this.badPositions = 0;
    this.firstBad = '';
    this.base = base;
    this.closedDepth.length = 0;
    this.closedAt.length = 0;
  }
}

/** Reads the value of a `coordinates` member; null and other non-arrays leave the nesting empty. */
export function readCoordinates(
  reader: JsonReader,
  feature: RawFeature,
  nesting: CoordinateNesting,
): void {
  nesting.clear(feature.x.length);
  if (reader.peek() !== OPEN_BRACKET) {
    reader.skip();
    return;
  }
  readArray(reader, feature, nesting, 1);
}

function readArray(
  reader: JsonReader,
  feature: RawFeature,
  nesting: CoordinateNesting,
  depth: number,
): void {
  let more = reader.nextElement(true);
  if (more && reader.peek() !== OPEN_BRACKET) {
    readPosition(reader, feature, nesting, depth);
    return;
  }
  if (depth > DEPTH_MAX) nesting.irregular = true;
  for (; more; more = reader.nextElement(false)) {
    if (reader.peek() !== OPEN_BRACKET || depth > DEPTH_MAX) {
      nesting.irregular = true;
      reader.skip();
    } else {
      readArray(reader, feature, nesting, depth + 1);
    }
  }
  nesting.closedDepth.push(depth);
  nesting.closedAt.push(feature.x.length);
}

/** Reads the rest of a position; the reader stands before its first number. */
function readPosition(
  reader: JsonReader,
  feature: RawFeature,
  nesting: CoordinateNesting,
  depth: number,
): void {
  if (nesting.positionDepth === 0) nesting.positionDepth = depth;
  else if (nesting.positionDepth !== depth) nesting.irregular = true;
  const x = readOrdinate(reader, nesting);
  let y = Number.NaN;
  let numbers = 1;
  for (; reader.nextElement(false); numbers += 1) {
    const value = readOrdinate(reader, nesting);
    if (numbers === 1) y = value;
  }
  if (numbers === 1) bad(nesting, 'a position of one number');
  feature.vertex(x, y);
}

/** One number; anything else becomes NaN, which validation reports with the feature's id. */
function readOrdinate(reader: JsonReader, nesting: CoordinateNesting): number {
  const byte = reader.peek();
  if ((byte >= 0x30 && byte <= 0x39) || (byte === 0x2d && !isMinusInfinity(reader))) {
    const value = reader.number();
    if (value - value !== 0) bad(nesting, 'a number beyond the range of doubles');
    return value;
  }
  // Python's json module writes these words; they are not JSON, but the feature can be named.
  const word = reader.takeWord(['NaN', 'Infinity', '-Infinity']);
  if (word === null) {
    if (byte === OPEN_BRACKET) {
      nesting.irregular = true;
      reader.skip();
      return Number.NaN;
    }
    const value = reader.value();
    bad(nesting, value === null ? 'null' : JSON.stringify(value).slice(0, 40));
  } else {
    bad(nesting, word);
  }
  return Number.NaN;
}

function isMinusInfinity(reader: JsonReader): boolean {
  return reader.looksAt('-I');
}

function bad(nesting: CoordinateNesting, what: string): void {
  if (nesting.badPositions === 0) nesting.firstBad = what;
  nesting.badPositions += 1;
}

/**
 * Cuts the vertices of one member into the feature's rings and parts.
 *
 * @returns what is wrong with the nesting, null if nothing
 */
export function applyNesting(
  feature: RawFeature,
  nesting: CoordinateNesting,
  type: 'Polygon' | 'MultiPolygon',
): string | null {
  const ringDepth = type === 'Polygon' ? 2 : 3;
  const wrongDepth = nesting.positionDepth !== 0 && nesting.positionDepth !== ringDepth + 1;
  if (nesting.irregular || wrongDepth) {
    feature.x.length = nesting.base;
    feature.y.length = nesting.base;
    const got = nesting.irregular
      ? 'uneven nesting'
      : `positions at level ${nesting.positionDepth}`;
    return `coordinates of a ${type}: expected positions at level ${ringDepth + 1}, got ${got}`;
  }
  let start = nesting.base;
  const { closedDepth, closedAt } = nesting;
  for (let i = 0; i < closedDepth.length; i += 1) {
    const depth = closedDepth.data[i] ?? 0;
    const at = closedAt.data[i] ?? 0;
    if (depth === ringDepth) {
      feature.ringEnds.push(at);
      start = at;
    } else if (depth === ringDepth - 1) {
      feature.endPart();
    } else if (depth > ringDepth) {
      return `coordinates of a ${type}: expected positions of two numbers, got an empty array`;
    }
  }
  return start === feature.x.length ? null : `coordinates of a ${type}: expected rings, got less`;
}
