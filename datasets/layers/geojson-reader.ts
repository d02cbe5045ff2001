// Owns reading of GeoJSON: a FeatureCollection, a Feature, a bare geometry, or a sequence of them
// (newline-delimited or RFC 8142), in one pass and in the memory of one feature.
//
// I1  Members may come in any order; of two members with one name the last counts, as in JSON.parse.
// I2  A Topology is recognised, not read: `NotGeoJson` tells the caller to take another reader.
import { crsOfGeoJsonMember } from './layer-crs.ts';
import { LayerError } from './errors.ts';
import { applyNesting, CoordinateNesting, readCoordinates } from './geojson-coordinates.ts';
import { JsonReader } from './json-reader.ts';
import { describeValue, nameFeature, RawFeature } from './raw-feature.ts';
import type { FeatureSink, NamingOptions } from './raw-feature.ts';
import type { ByteSource } from './byte-source.ts';

const OPEN_BRACKET = 0x5b;
const OPEN_BRACE = 0x7b;
const COLLECTION_DEPTH_MAX = 16;

export interface GeoJsonSummary {
  /** Normalised CRS of a legacy `crs` member, null when there is none. */
  readonly crs: string | null;
}

/** Thrown when the text is TopoJSON. */
export class NotGeoJson extends Error {}

interface Members {
  type: unknown;
  id: unknown;
  properties: unknown;
  hasGeometry: boolean;
  hasFeatures: boolean;
}

class GeoJsonParser {
  readonly #reader: JsonReader;
  readonly #feature = new RawFeature();
  readonly #sink: FeatureSink;
  readonly #naming: NamingOptions;
  #position = 0;
  crs: string | null = null;

  constructor(reader: JsonReader, naming: NamingOptions, sink: FeatureSink) {
    this.#reader = reader;
    this.#naming = naming;
    this.#sink = sink;
  }

  /** Reads all top-level values; yields after each feature so that the caller may give way. */
  *run(): Generator<void> {
    let values = 0;
    for (; this.#reader.peekRecord() >= 0; values += 1) {
      const wasCollection = yield* this.#topLevel();
      if (wasCollection && this.#reader.peekRecord() >= 0) {
        throw this.#reader.invalid('the end of the file after a FeatureCollection');
      }
    }
    if (values === 0) {
      throw new LayerError(
        'LAYER_EMPTY',
        `${this.#reader.name} holds no layer: expected GeoJSON or TopoJSON, got no value; ` +
          'check how the file was written',
        { details: { path: this.#reader.name } },
      );
    }
  }

  /** Reads a FeatureCollection, a Feature or a geometry; true for the first. */
  *#topLevel(): Generator<void, boolean> {
    if (this.#reader.peek() !== OPEN_BRACE) throw this.#reader.invalid('"{"');
    const at = this.#reader.offset;
    const members = this.#begin();
    const nested = new GeometryMembers();
    for (let first = true; ; first = false) {
      const key = this.#reader.nextKey(first);
      if (key === null) break;
      if (key === 'features' && this.#reader.peek() === OPEN_BRACKET) {
        members.hasFeatures = true;
        yield* this.#features();
      } else if (key === 'crs') {
        this.crs = crsOfGeoJsonMember(this.#reader.value(), this.#reader.name);
      } else {
        this.#member(key, members, nested);
        if (key === 'type' && members.type === 'Topology') throw new NotGeoJson();
      }
    }
    if (members.type === 'Topology') throw new NotGeoJson();
    const isCollection = members.type === 'FeatureCollection';
    if (isCollection !== members.hasFeatures || typeof members.type !== 'string') {
      throw this.#notGeoJson(at, members);
    }
    if (isCollection) return true;
    this.#end(members, nested);
    yield;
    return false;
  }

  *#features(): Generator<void> {
    for (let more = this.#reader.nextElement(true); more; more = this.#reader.nextElement(false)) {
      if (this.#reader.peek() === OPEN_BRACE) {
        const members = this.#begin();
        const nested = new GeometryMembers();
        for (
          let key = this.#reader.nextKey(true);
          key !== null;
          key = this.#reader.nextKey(false)
        ) {
          this.#member(key, members, nested);
        }
        this.#end(members, nested);
      } else {
        this.#begin();
        const got = describeValue(this.#reader.value());
        this.#feature.problem('LAYER_NOT_POLYGON', `expected a Feature, got ${got}`);
        this.#emit();
      }
      yield;
    }
    // A later top-level member must not look like part of the last feature.
    this.#feature.clear(this.#position);
  }

  #begin(): Members {
    this.#feature.clear(this.#position);
    const nothing = undefined as unknown;
    return {
      type: nothing,
      id: nothing,
      properties: nothing,
      hasGeometry: false,
      hasFeatures: false,
    };
  }

  /** Reads one member of a Feature or of a bare geometry. */
  #member(key: string, members: Members, nested: GeometryMembers): void {
    if (key === 'geometry') {
      members.hasGeometry = true;
      this.#feature.clearGeometry();
      this.#feature.problems = [];
      this.#geometry(0);
    } else if (key === 'type') members.type = this.#reader.value();
    else if (key === 'id') members.id = this.#reader.value();
    else if (key === 'properties') members.properties = this.#reader.value();
    else if (key === 'coordinates' || key === 'geometries') this.#geometryMember(key, nested, 0);
    else this.#reader.skip();
  }

  #end(members: Members, nested: GeometryMembers): void {
    const isFeature = members.type === 'Feature' || members.hasGeometry;
    if (!isFeature) this.#finishGeometry(members.type, nested);
    else if (members.type !== 'Feature') {
      const got = describeValue(members.type);
      this.#feature.problem('LAYER_NOT_POLYGON', `its type: expected Feature, got ${got}`);
    }
    nameFeature(this.#feature, members.id, members.properties, this.#naming);
    this.#emit();
  }

  #emit(): void {
    this.#sink(this.#feature);
    this.#position += 1;
  }

  /** Reads a geometry object (or null) into the feature. */
  #geometry(depth: number): void {
    if (this.#reader.peek() !== OPEN_BRACE) {
      const value = this.#reader.value();
      if (value !== null) {
        const got = describeValue(value);
        this.#feature.problem('LAYER_NOT_POLYGON', `its geometry: expected an object, got ${got}`);
      }
      return;
    }
    const nested = new GeometryMembers();
    let type: unknown;
    for (let key = this.#reader.nextKey(true); key !== null; key = this.#reader.nextKey(false)) {
      if (key === 'type') type = this.#reader.value();
      else if (key === 'coordinates' || key === 'geometries') {
        this.#geometryMember(key, nested, depth);
      } else this.#reader.skip();
    }
    this.#finishGeometry(type, nested);
  }

  #geometryMember(key: string, nested: GeometryMembers, depth: number): void {
    if (key === 'coordinates') {
      nested.nesting ??= new CoordinateNesting();
      readCoordinates(this.#reader, this.#feature, nested.nesting);
      return;
    }
    nested.isCollection = true;
    if (this.#reader.peek() !== OPEN_BRACKET || depth >= COLLECTION_DEPTH_MAX) {
      this.#reader.skip();
      return;
    }
    for (let more = this.#reader.nextElement(true); more; more = this.#reader.nextElement(false)) {
      this.#geometry(depth + 1);
    }
  }

  #finishGeometry(type: unknown, nested: GeometryMembers): void {
    const { nesting } = nested;
    if (type === 'Polygon' || type === 'MultiPolygon') {
      if (nesting === null) {
        const message = `its ${type}: expected a member coordinates, got none`;
        this.#feature.problem('LAYER_COORDINATES_MALFORMED', message);
        return;
      }
      const wrong = applyNesting(this.#feature, nesting, type);
      if (wrong !== null) this.#feature.problem('LAYER_COORDINATES_MALFORMED', wrong);
      else if (nesting.badPositions > 0) {
        const more = nesting.badPositions > 1 ? ` (${nesting.badPositions} times)` : '';
        const message = `its coordinates: expected finite numbers, got ${nesting.firstBad}${more}`;
        this.#feature.problem('LAYER_COORDINATE_INVALID', message);
      }
      return;
    }
    if (type === 'GeometryCollection' && nested.isCollection) return;
    if (nesting !== null) {
      this.#feature.x.length = nesting.base;
      this.#feature.y.length = nesting.base;
    }
    const got = typeof type === 'string' ? type : describeValue(type);
    const message = `its geometry: expected Polygon or MultiPolygon, got ${got}`;
    this.#feature.problem('LAYER_NOT_POLYGON', message);
  }

  #notGeoJson(offset: number, { type, hasFeatures }: Members): LayerError {
    const got = `an object with type ${describeValue(type)} and ${hasFeatures ? '' : 'no '}features`;
    return new LayerError(
      'LAYER_FORMAT',
      `${this.#reader.name} is not a layer: expected a FeatureCollection, Feature, geometry or ` +
        `Topology at byte ${offset}, got ${got}; check the file`,
      { details: { path: this.#reader.name, offset } },
    );
  }
}

class GeometryMembers {
  nesting: CoordinateNesting | null = null;
  isCollection = false;
}

/**
 * Reads GeoJSON text and hands every feature to the sink.
 *
 * @param giveWay called after each feature with the bytes consumed so far
 * @throws {LayerError} for text that is not GeoJSON; what is wrong inside a feature goes to the sink
 * @throws {NotGeoJson} for a Topology
 */
export async function readGeoJson(
  source: ByteSource,
  naming: NamingOptions,
  sink: FeatureSink,
  giveWay: (bytesDone: number) => Promise<void> | undefined,
): Promise<GeoJsonSummary> {
  const reader = new JsonReader(source);
  const parser = new GeoJsonParser(reader, naming, sink);
  for (const _ of parser.run()) {
    const waiting = giveWay(reader.offset);
    if (waiting !== undefined) await waiting;
  }
  return { crs: parser.crs };
}
