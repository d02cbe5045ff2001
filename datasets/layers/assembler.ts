// Owns the way from raw features to prepared geometry: each ring is checked, cut at ±180 where the CRS is
// geographic, and appended. A feature with an error contributes findings only.
import type { LayerSpec } from '../../spec/index.ts';
import { crossingOf, cutPart, type Pole, type Ring } from './antimeridian.ts';
import type { Findings } from './findings.ts';
import type { Geometry } from './geometry.ts';
import { growableFloat64, growableUint32 } from './growable.ts';
import { areaSign } from './orientation.ts';
import type { RawFeature } from './raw-feature.ts';
import { groupRings } from './ring-grouping.ts';

export interface AssemblyOptions {
  readonly geographic: boolean;
  readonly antimeridian: LayerSpec['antimeridian'];
  readonly pole: LayerSpec['pole'];
}

/** Reprojected data may exceed a pole by rounding. */
const LATITUDE_MAX = 90 + 1e-6;

export class LayerAssembler {
  readonly #options: AssemblyOptions;
  readonly #findings: Findings;
  readonly #positionOfId = new Map<string, number>();
  readonly #ids: string[] = [];
  readonly #names: (string | null)[] = [];
  readonly #featureParts = growableUint32();
  readonly #partRings = growableUint32();
  readonly #ringVertices = growableFloat64();
  readonly #x = growableFloat64();
  readonly #y = growableFloat64();
  features = 0;

  constructor(options: AssemblyOptions, findings: Findings) {
    this.#options = options;
    this.#findings = findings;
    this.#featureParts.push(0);
    this.#partRings.push(0);
    this.#ringVertices.push(0);
  }

  get vertices(): number {
    return this.#x.length;
  }

  add(feature: RawFeature): void {
    const label = feature.id ?? `#${feature.position}`;
    const errorsBefore = this.#findings.errors;
    for (const { code, message } of feature.problems) this.#findings.add(code, label, message);
    this.#checkUnique(feature, label);
    this.#checkRings(feature, label);
    if (feature.partEnds.length === 0 && feature.problems.length === 0) {
      const message = 'its geometry: expected a polygon, got nothing; it will never have a point';
      this.#findings.add('LAYER_GEOMETRY_EMPTY', label, message);
    }
    if (this.#findings.errors === errorsBefore) this.#append(feature, label);
    this.features += 1;
    this.#ids.push(label);
    this.#names.push(feature.name);
    this.#featureParts.push(this.#partRings.length - 1);
  }

  #checkUnique(feature: RawFeature, label: string): void {
    if (feature.id === null) return;
    const before = this.#positionOfId.get(feature.id);
    if (before === undefined) {
      this.#positionOfId.set(feature.id, feature.position);
      return;
    }
    const message = `its id: expected one feature with it, got positions ${before} and ${feature.position}`;
    this.#findings.add('LAYER_ID_DUPLICATE', label, `${message}; choose an id that is unique`);
  }

  #checkRings(feature: RawFeature, label: string): void {
    const { x, y, ringEnds } = feature;
    let start = 0;
    for (let ring = 0; ring < ringEnds.length; ring += 1) {
      const end = ringEnds.data[ring] ?? 0;
      this.#checkRing(x.data, y.data, start, end, ring, label, feature.problems.length > 0);
      start = end;
    }
  }

  #checkRing(
    x: Float64Array,
    y: Float64Array,
    start: number,
    end: number,
    ring: number,
    label: string,
    reported: boolean,
  ): void {
    for (let i = start; i < end; i += 1) {
      // Adding +0 turns −0 into +0 and nothing else.
      x[i] = (x[i] ?? 0) + 0;
      y[i] = (y[i] ?? 0) + 0;
    }
    const positions = end - start;
    const bad = firstBad(x, y, start, end, this.#options.geographic);
    if (bad >= 0) {
      const point = pointText(x, y, bad);
      const finite = Number.isFinite(x[bad]) && Number.isFinite(y[bad]);
      const where = `ring ${ring}, position ${bad - start}`;
      if (finite) {
        const message = `${where}: expected degrees (|longitude| ≤ 540, |latitude| ≤ 90), got ${point}`;
        const advice = 'the file may be in a projected CRS';
        this.#findings.add('LAYER_COORDINATE_OUT_OF_RANGE', label, `${message}; ${advice}`);
      } else if (!reported) {
        const message = `${where}: expected finite coordinates, got ${point}`;
        this.#findings.add('LAYER_COORDINATE_INVALID', label, message);
      }
      return;
    }
    if (positions < 4) {
      const message = `ring ${ring}: expected at least 4 positions, got ${positions}`;
      this.#findings.add('LAYER_RING_TOO_SHORT', label, message);
    } else if (x[start] !== x[end - 1] || y[start] !== y[end - 1]) {
      const ends = `${pointText(x, y, start)} and ${pointText(x, y, end - 1)}`;
      const message = `ring ${ring}: expected its last position to equal the first, got ${ends}`;
      this.#findings.add('LAYER_RING_UNCLOSED', label, message);
    } else if (areaSign(x, y, start, end) === 0) {
      const message = `ring ${ring}: expected an area, got zero (near ${pointText(x, y, start)})`;
      this.#findings.add('LAYER_RING_ZERO_AREA', label, message);
    }
  }

  #append(feature: RawFeature, label: string): void {
    let firstRing = 0;
    for (let part = 0; part < feature.partEnds.length; part += 1) {
      const endRing = feature.partEnds.data[part] ?? 0;
      const rings: Ring[] = [];
      for (let ring = firstRing; ring < endRing; ring += 1) {
        const start = ring === 0 ? 0 : (feature.ringEnds.data[ring - 1] ?? 0);
        const end = feature.ringEnds.data[ring] ?? 0;
        rings.push({
          x: feature.x.data.subarray(start, end),
          y: feature.y.data.subarray(start, end),
        });
      }
      if (this.#options.geographic) this.#appendGeographic(rings, part, label);
      else this.#appendPart(rings);
      firstRing = endRing;
    }
  }

  #appendGeographic(rings: readonly Ring[], part: number, label: string): void {
    const crossings = rings.map((ring) => crossingOf(ring.x, ring.y));
    if (crossings.every(({ turns }) => turns === null)) {
      this.#checkExtent(rings, crossings, part, label);
      this.#appendPart(rings);
      return;
    }
    if (this.#options.antimeridian === 'reject') {
      const message =
        `part ${part}: expected no crossing of longitude ±180 (antimeridian: reject), got one; ` +
        'cut the file there or use antimeridian: split';
      this.#findings.add('LAYER_ANTIMERIDIAN', label, message);
      return;
    }
    const pole: Pole | null = Object.hasOwn(this.#options.pole, label)
      ? (this.#options.pole[label] ?? null)
      : null;
    const cut = cutPart(
      rings.map((ring, i) => ({ ...ring, turns: crossings[i]?.turns ?? null })),
      pole,
    );
    if (cut === null) {
      const message =
        `part ${part} encloses a pole: expected a declaration which one, got none; ` +
        `add to the layer  pole: { "${label}": north }  or south`;
      this.#findings.add('LAYER_POLE_UNDECLARED', label, message);
      return;
    }
    const parts = groupRings(cut);
    const message = `part ${part} crosses longitude ±180 and was cut into ${parts.length} parts`;
    this.#findings.add('LAYER_ANTIMERIDIAN_SPLIT', label, message);
    for (const piece of parts) this.#appendPart(piece);
  }

  #checkExtent(
    rings: readonly Ring[],
    crossings: readonly { readonly extent: number }[],
    part: number,
    label: string,
  ): void {
    const wide = crossings.findIndex(({ extent }) => extent > 300);
    if (wide < 0) return;
    if (rings[wide]?.y.some((latitude) => Math.abs(latitude) >= 90) === true) return;
    const extent = crossings[wide]?.extent ?? 0;
    const message = `part ${part}: expected at most 300 degrees of longitude, got ${extent}`;
    if (this.#options.antimeridian === 'reject') {
      this.#findings.add('LAYER_ANTIMERIDIAN', label, `${message}; it may cross ±180`);
    } else {
      this.#findings.add('LAYER_RING_SPANS_WORLD', label, `${message}; taken as it is`);
    }
  }

  #appendPart(rings: readonly Ring[]): void {
    if (rings.length === 0) return;
    for (const ring of rings) {
      append(this.#x, ring.x);
      append(this.#y, ring.y);
      this.#ringVertices.push(this.#x.length);
    }
    this.#partRings.push(this.#ringVertices.length - 1);
  }

  /** The geometry of all features so far; valid until the next feature is added. */
  finish(crs: string): Geometry {
    const x = this.#x.view();
    const y = this.#y.view();
    const bbox = boundsOf(x, y);
    const named = this.#names.some((name) => name !== null);
    return {
      featureParts: this.#featureParts.view(),
      partRings: this.#partRings.view(),
      ringVertices: this.#ringVertices.view(),
      x,
      y,
      meta: {
        crs,
        ids: this.#ids,
        names: named ? this.#names.map((name, i) => name ?? this.#ids[i] ?? '') : null,
        bbox,
        maxAbs: Math.max(...bbox.map((value) => Math.abs(value))),
      },
    };
  }
}

function append(to: ReturnType<typeof growableFloat64>, values: Float64Array): void {
  to.reserve(values.length);
  to.data.set(values, to.length);
  to.length += values.length;
}

/** Index of the first vertex that is not finite or not in the range of degrees, −1 if none. */
function firstBad(
  x: Float64Array,
  y: Float64Array,
  start: number,
  end: number,
  geographic: boolean,
): number {
  const xMax = geographic ? 540 : Number.MAX_VALUE;
  const yMax = geographic ? LATITUDE_MAX : Number.MAX_VALUE;
  for (let i = start; i < end; i += 1) {
    // NaN fails both comparisons.
    if (!(Math.abs(x[i] ?? 0) <= xMax && Math.abs(y[i] ?? 0) <= yMax)) return i;
  }
  return -1;
}

function pointText(x: Float64Array, y: Float64Array, i: number): string {
  return `(${x[i]}, ${y[i]})`;
}

/** All zero for a layer without vertices. */
function boundsOf(x: Float64Array, y: Float64Array): [number, number, number, number] {
  if (x.length === 0) return [0, 0, 0, 0];
  const box: [number, number, number, number] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let i = 0; i < x.length; i += 1) {
    box[0] = Math.min(box[0], x[i] ?? 0);
    box[1] = Math.min(box[1], y[i] ?? 0);
    box[2] = Math.max(box[2], x[i] ?? 0);
    box[3] = Math.max(box[3], y[i] ?? 0);
  }
  return box;
}
