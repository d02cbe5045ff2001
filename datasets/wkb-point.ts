// Owns points in well-known binary (OGC 06-103r4 §8.2, ISO and EWKB dimension flags): x and y of
// each, Z and M are passed over.

const POINT = 1;
const EWKB_FLAGS = 0xe0000000;
const EWKB_SRID = 0x20000000;

const NAMES = ['geometry', 'Point', 'LineString', 'Polygon', 'MultiPoint', 'MultiLineString'];
const MORE_NAMES = ['MultiPolygon', 'GeometryCollection'];

/**
 * Reads a point; an empty point has NaN coordinates.
 *
 * @param out receives x and y
 * @returns null, or what stands there instead of a point
 */
export function readWkbPoint(bytes: Uint8Array, out: { x: number; y: number }): string | null {
  if (bytes.length < 5) return `${bytes.length} bytes`;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const order = bytes[0];
  if (order !== 0 && order !== 1) return `byte order ${order ?? ''}`;
  const little = order === 1;
  const code = view.getUint32(1, little);
  const type = (code & ~EWKB_FLAGS) % 1000;
  if (type !== POINT) return [...NAMES, ...MORE_NAMES][type] ?? `geometry type ${type}`;
  const at = (code & EWKB_SRID) === 0 ? 5 : 9;
  if (bytes.length < at + 16) return `a point of ${bytes.length} bytes`;
  out.x = view.getFloat64(at, little);
  out.y = view.getFloat64(at + 8, little);
  return null;
}
