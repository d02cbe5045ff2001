// Owns a plain encoder of GeoJSON areas into .tlgeom bytes (docs/formats.md): for the conformance
// corpus, whose polygons are taken as they come. Layers of users go through datasets, which checks.

/** A Polygon or MultiPolygon as GeoJSON has it. */
export type AreaGeometry =
  | { readonly type: 'Polygon'; readonly coordinates: AreaPart }
  | { readonly type: 'MultiPolygon'; readonly coordinates: readonly AreaPart[] };

type AreaPart = readonly (readonly (readonly number[])[])[];

const HEADER_BYTES = 128;
const ALIGNMENT = 64;

export function encodeGeometry(areas: readonly AreaGeometry[]): Uint8Array {
  const featureParts = [0];
  const partRings = [0];
  const ringVertices = [0n];
  const x: number[] = [];
  const y: number[] = [];
  for (const area of areas) {
    const parts = area.type === 'Polygon' ? [area.coordinates] : area.coordinates;
    for (const part of parts.filter((rings) => rings.length > 0)) {
      for (const ring of part) {
        for (const position of ring) {
          // Adding zero turns −0 into +0.
          x.push((position[0] ?? Number.NaN) + 0);
          y.push((position[1] ?? Number.NaN) + 0);
        }
        ringVertices.push(BigInt(x.length));
      }
      partRings.push(ringVertices.length - 1);
    }
    featureParts.push(partRings.length - 1);
  }
  const counts = [areas.length, partRings.length - 1, ringVertices.length - 1, x.length];
  return layOut(counts, [
    new Uint8Array(Uint32Array.from(featureParts).buffer),
    new Uint8Array(Uint32Array.from(partRings).buffer),
    new Uint8Array(BigUint64Array.from(ringVertices).buffer),
    new Uint8Array(Float64Array.from(x).buffer),
    new Uint8Array(Float64Array.from(y).buffer),
    new TextEncoder().encode('{}'),
  ]);
}

function layOut(counts: readonly number[], sections: readonly Uint8Array[]): Uint8Array {
  const offsets: number[] = [];
  let size = HEADER_BYTES;
  for (const section of sections) {
    offsets.push(size);
    size += Math.ceil(section.byteLength / ALIGNMENT) * ALIGNMENT;
  }
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode('TLGEOM01'), 0);
  view.setUint32(8, 1, true);
  const metaBytes = sections.at(-1)?.byteLength ?? 0;
  [...counts, ...offsets, metaBytes].forEach((value, index) => {
    view.setBigUint64(16 + index * 8, BigInt(value), true);
  });
  sections.forEach((section, index) => bytes.set(section, offsets[index]));
  return bytes;
}
