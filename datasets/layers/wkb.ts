// Owns reading of polygons from well-known binary: ISO and EWKB type codes, both byte orders, Z and M
// skipped. Lengths are checked before anything is read, so a lying count cannot allocate or overrun.
import type { RawFeature } from './raw-feature.ts';

const NAMES = [
  'Geometry',
  'Point',
  'LineString',
  'Polygon',
  'MultiPoint',
  'MultiLineString',
  'MultiPolygon',
  'GeometryCollection',
];
const DEPTH_MAX = 16;

/** Thrown for bytes that are not WKB; the reader adds file and row. */
export class WkbError extends Error {}

/** Appends the polygons of one WKB value; other geometry types become a problem of the feature. */
export function addWkb(raw: RawFeature, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = readGeometry(raw, view, 0, 0);
  if (end !== view.byteLength) {
    throw new WkbError(`expected ${end} bytes, got ${view.byteLength}`);
  }
}

function readGeometry(raw: RawFeature, view: DataView, start: number, depth: number): number {
  need(view, start, 5);
  const order = view.getUint8(start);
  if (order > 1) throw new WkbError(`expected byte order 0 or 1, got ${order} at byte ${start}`);
  const little = order === 1;
  const code = view.getUint32(start + 1, little);
  let at = start + 5;
  if ((code & 0x20000000) !== 0) at += 4;
  const { type, ordinates } = typeOf(code, start);
  if (type === 3) return readPolygon(raw, view, at, little, ordinates);
  if (type !== 6 && type !== 7) {
    const got = NAMES[type] ?? `WKB type ${type}`;
    raw.problem('LAYER_NOT_POLYGON', `its geometry: expected Polygon or MultiPolygon, got ${got}`);
    return view.byteLength;
  }
  if (depth >= DEPTH_MAX) throw new WkbError(`expected at most ${DEPTH_MAX} nested collections`);
  need(view, at, 4);
  const count = view.getUint32(at, little);
  at += 4;
  for (let i = 0; i < count; i += 1) at = readGeometry(raw, view, at, depth + 1);
  return at;
}

function typeOf(code: number, at: number): { type: number; ordinates: number } {
  const plain = code & 0x0fffffff;
  const dimension = Math.floor(plain / 1000);
  const type = plain % 1000;
  if (dimension > 3 || type === 0)
    throw new WkbError(`expected a geometry type, got ${code} at byte ${at}`);
  const hasZ = (code & 0x80000000) !== 0 || dimension === 1 || dimension === 3;
  const hasM = (code & 0x40000000) !== 0 || dimension === 2 || dimension === 3;
  return { type, ordinates: 2 + (hasZ ? 1 : 0) + (hasM ? 1 : 0) };
}

function readPolygon(
  raw: RawFeature,
  view: DataView,
  start: number,
  little: boolean,
  ordinates: number,
): number {
  need(view, start, 4);
  const rings = view.getUint32(start, little);
  let at = start + 4;
  for (let ring = 0; ring < rings; ring += 1) {
    need(view, at, 4);
    const positions = view.getUint32(at, little);
    at += 4;
    need(view, at, positions * ordinates * 8);
    for (let i = 0; i < positions; i += 1) {
      raw.vertex(view.getFloat64(at, little), view.getFloat64(at + 8, little));
      at += ordinates * 8;
    }
    raw.endRing();
  }
  raw.endPart();
  return at;
}

function need(view: DataView, at: number, bytes: number): void {
  if (at + bytes > view.byteLength) {
    throw new WkbError(`expected ${bytes} bytes at byte ${at}, got ${view.byteLength - at}`);
  }
}
