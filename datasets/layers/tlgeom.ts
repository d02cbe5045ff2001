// Owns the bytes of `.tlgeom` (docs/formats.md): writing in bounded memory, reading with every offset
// checked. The SHA-256 of the file is its identity.
import { createHash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { fileError } from '../errors.ts';
import { LayerError } from './errors.ts';
import { sizeOf, type Geometry, type LayerMeta } from './geometry.ts';

const MAGIC = 'TLGEOM01';
const HEADER_BYTES = 128;
const ALIGNMENT = 64;
const BLOCK_BYTES = 1 << 22;

/**
 * Writes a geometry file; the caller chooses a temporary name and renames it.
 *
 * @returns SHA-256 of the file
 */
export async function writeGeometry(path: string, geometry: Geometry): Promise<string> {
  const size = sizeOf(geometry);
  const meta = Buffer.from(JSON.stringify(metaJson(geometry.meta)), 'utf8');
  const sections = [
    bytesOf(geometry.featureParts),
    bytesOf(geometry.partRings),
    bytesOf(BigUint64Array.from(geometry.ringVertices, BigInt)),
    bytesOf(geometry.x),
    bytesOf(geometry.y),
    meta,
  ];
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 0, 'latin1');
  header.writeUInt32LE(1, 8);
  [size.features, size.parts, size.rings, size.vertices].forEach((count, i) => {
    header.writeBigUInt64LE(BigInt(count), 16 + 8 * i);
  });
  let offset = HEADER_BYTES;
  sections.forEach((section, i) => {
    header.writeBigUInt64LE(BigInt(offset), 48 + 8 * i);
    offset = aligned(offset + section.length);
  });
  header.writeBigUInt64LE(BigInt(meta.length), 96);
  return writeSections(path, [header, ...sections]);
}

/** Writes sections at multiples of 64, hashing on the way; the last is not padded. */
async function writeSections(path: string, sections: readonly Uint8Array[]): Promise<string> {
  const hash = createHash('sha256');
  try {
    const handle = await open(path, 'wx');
    try {
      for (const [i, section] of sections.entries()) {
        const last = i === sections.length - 1;
        const padding = last ? 0 : aligned(section.length) - section.length;
        for (const bytes of [section, new Uint8Array(padding)]) {
          for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
            const block = bytes.subarray(at, at + BLOCK_BYTES);
            hash.update(block);
            await handle.writeFile(block);
          }
        }
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fileError(error, 'writing', path);
  }
  return hash.digest('hex');
}

/**
 * Reads and checks a geometry file.
 *
 * @throws {LayerError} `LAYER_GEOMETRY_CORRUPT` with the field that is wrong
 */
export async function readGeometry(path: string): Promise<Geometry> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw fileError(error, 'reading', path);
  }
  return parseGeometry(bytes, path);
}

/** Parses the bytes of a geometry file; `path` is for messages. */
export function parseGeometry(bytes: Uint8Array, path: string): Geometry {
  // Typed arrays need aligned offsets, which a pooled Buffer does not promise.
  const buffer =
    bytes.byteOffset % 8 === 0 ? bytes : new Uint8Array(bytes.slice().buffer, 0, bytes.length);
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  const corrupt = (field: string, expected: string, got: string): LayerError =>
    new LayerError(
      'LAYER_GEOMETRY_CORRUPT',
      `${path} is not a valid geometry file, ${field}: expected ${expected}, got ${got}; prepare it again`,
      { details: { path, field } },
    );
  if (buffer.length < HEADER_BYTES)
    throw corrupt('size', `${HEADER_BYTES} bytes`, `${buffer.length}`);
  const magic = Buffer.from(buffer.subarray(0, 8)).toString('latin1');
  if (magic !== MAGIC) throw corrupt('magic', MAGIC, JSON.stringify(magic));
  const version = view.getUint32(8, true);
  if (version !== 1) throw corrupt('version', '1', String(version));
  const count = (i: number): number => Number(view.getBigUint64(16 + 8 * i, true));
  const section = (i: number, name: string, length: number, width: number): [number, number] => {
    const at = Number(view.getBigUint64(48 + 8 * i, true));
    const fits = at >= HEADER_BYTES && at % ALIGNMENT === 0 && at + length * width <= buffer.length;
    if (!fits) {
      const expected = `${length * width} bytes at a multiple of ${ALIGNMENT} within ${buffer.length}`;
      throw corrupt(name, expected, `offset ${at}`);
    }
    return [buffer.byteOffset + at, length];
  };
  const store = buffer.buffer;
  const geometry: Geometry = {
    featureParts: new Uint32Array(store, ...section(0, 'featureParts', count(0) + 1, 4)),
    partRings: new Uint32Array(store, ...section(1, 'partRings', count(1) + 1, 4)),
    ringVertices: Float64Array.from(
      new BigUint64Array(store, ...section(2, 'ringVertices', count(2) + 1, 8)),
      Number,
    ),
    x: new Float64Array(store, ...section(3, 'x', count(3), 8)),
    y: new Float64Array(store, ...section(4, 'y', count(3), 8)),
    meta: parseMeta(new Uint8Array(store, ...section(5, 'meta', count(10), 1)), corrupt),
  };
  checkOffsets(geometry, corrupt);
  return geometry;
}

type Corrupt = (field: string, expected: string, got: string) => LayerError;

function checkOffsets(geometry: Geometry, corrupt: Corrupt): void {
  const { partRings, ringVertices, x } = geometry;
  const size = sizeOf(geometry);
  checkAscending('featureParts', geometry.featureParts, size.parts, corrupt);
  checkAscending('partRings', partRings, size.rings, corrupt);
  checkAscending('ringVertices', ringVertices, x.length, corrupt);
  const { ids, names } = geometry.meta;
  if (ids.length !== size.features) {
    throw corrupt('meta.ids', `${size.features} ids`, String(ids.length));
  }
  if (names !== null && names.length !== size.features) {
    throw corrupt('meta.names', `${size.features} names or null`, String(names.length));
  }
}

function checkAscending(
  name: string,
  offsets: Uint32Array | Float64Array,
  last: number,
  corrupt: Corrupt,
): void {
  if (offsets[0] !== 0) throw corrupt(name, 'to begin with 0', String(offsets[0]));
  for (let i = 1; i < offsets.length; i += 1) {
    if ((offsets[i] ?? 0) < (offsets[i - 1] ?? 0)) {
      throw corrupt(name, 'ascending offsets', `${offsets[i - 1]}, ${offsets[i]} at ${i}`);
    }
  }
  if (offsets.at(-1) !== last) throw corrupt(name, `to end with ${last}`, String(offsets.at(-1)));
}

function parseMeta(bytes: Uint8Array, corrupt: Corrupt): LayerMeta {
  let value: Partial<LayerMeta> | null;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as typeof value;
  } catch {
    throw corrupt('meta', 'UTF-8 JSON', 'other bytes');
  }
  const { crs, ids, names, bbox, maxAbs } = value ?? {};
  const known =
    typeof crs === 'string' &&
    Array.isArray(ids) &&
    (names === null || Array.isArray(names)) &&
    Array.isArray(bbox) &&
    bbox.length === 4 &&
    typeof maxAbs === 'number';
  if (!known)
    throw corrupt('meta', 'crs, ids, names, bbox and maxAbs', JSON.stringify(value).slice(0, 80));
  return { crs, ids, names, bbox, maxAbs } as LayerMeta;
}

/** Meta with its keys in the order of docs/formats.md, so that equal layers have equal bytes. */
function metaJson(meta: LayerMeta): LayerMeta {
  return {
    crs: meta.crs,
    ids: meta.ids,
    names: meta.names,
    bbox: meta.bbox,
    maxAbs: meta.maxAbs,
  };
}

function bytesOf(array: Uint32Array | BigUint64Array | Float64Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function aligned(offset: number): number {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
}
