// Owns reading of TopoJSON through topojson-client. A topology is read whole, its arcs are shared; files
// beyond what one string can hold are refused.
import { readFile } from 'node:fs/promises';
import { feature as toFeature } from 'topojson-client';
import type { Geometry, Position } from 'geojson';
import { fileError } from '../errors.ts';
import { LayerError } from './errors.ts';
import { describeValue, nameFeature, RawFeature } from './raw-feature.ts';
import type { FeatureSink, NamingOptions } from './raw-feature.ts';

const BYTES_MAX = 2 ** 29 - 32;

interface TopologyLike {
  readonly type: string;
  readonly objects?: Readonly<Record<string, unknown>>;
  readonly arcs?: unknown;
}

/**
 * Reads one object of a topology and hands its features to the sink.
 *
 * @param object name of the object; null: the file must hold exactly one
 * @throws {LayerError} `LAYER_OBJECT_UNKNOWN` with the names there are, `LAYER_FORMAT` for a topology
 *   that refers to arcs it does not have
 */
export async function readTopoJson(
  path: string,
  object: string | null,
  naming: NamingOptions,
  sink: FeatureSink,
  giveWay: () => Promise<void> | undefined,
): Promise<void> {
  const topology = await parseTopology(path);
  const geometry = chooseObject(topology, object, path);
  const raw = new RawFeature();
  let position = 0;
  const members = geometry.type === 'GeometryCollection' ? geometry.geometries : [geometry];
  if (!Array.isArray(members)) throw broken(path, 'a GeometryCollection without geometries', null);
  for (const member of members as readonly unknown[]) {
    raw.clear(position);
    const { geometry: decoded, id, properties } = decode(topology, member, path, position);
    addGeometry(raw, decoded);
    nameFeature(raw, id, properties, naming);
    sink(raw);
    position += 1;
    const waiting = giveWay();
    if (waiting !== undefined) await waiting;
  }
}

async function parseTopology(path: string): Promise<TopologyLike> {
  let text: string;
  try {
    const bytes = await readFile(path);
    if (bytes.length > BYTES_MAX) {
      throw new LayerError(
        'LAYER_TOO_LARGE',
        `${path} is too large for TopoJSON: expected at most ${BYTES_MAX} bytes, got ${bytes.length}; ` +
          'convert it to GeoJSON, which is read as a stream',
        { details: { path, bytes: bytes.length } },
      );
    }
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof LayerError) throw error;
    if (error instanceof TypeError) throw broken(path, 'text that is not UTF-8', error);
    throw fileError(error, 'reading', path);
  }
  try {
    return JSON.parse(text) as TopologyLike;
  } catch (error) {
    throw new LayerError(
      'LAYER_JSON_INVALID',
      `${path} is not valid JSON: expected TopoJSON, got ${String((error as Error).message)}; ` +
        'correct the file',
      { details: { path }, cause: error },
    );
  }
}

function chooseObject(
  topology: TopologyLike,
  object: string | null,
  path: string,
): { readonly type: unknown; readonly geometries?: unknown } {
  const objects = topology.objects ?? {};
  const names = Object.keys(objects);
  const name = object ?? (names.length === 1 ? names[0] : undefined);
  const chosen = name === undefined || !Object.hasOwn(objects, name) ? undefined : objects[name];
  if (typeof chosen !== 'object' || chosen === null) {
    throw new LayerError(
      'LAYER_OBJECT_UNKNOWN',
      `${path} needs the name of a TopoJSON object: expected object to be one of ` +
        `${names.join(', ') || '(none)'}, got ${object ?? 'none'}; add  object: NAME  to the layer`,
      { details: { path, object, objects: names.join(', ') } },
    );
  }
  return chosen as { type: unknown; geometries?: unknown };
}

function decode(
  topology: TopologyLike,
  member: unknown,
  path: string,
  position: number,
): { readonly geometry: unknown; readonly id?: unknown; readonly properties?: unknown } {
  try {
    return toFeature(topology as never, member as never) as never;
  } catch (error) {
    throw broken(path, `geometry ${position} that refers to missing arcs`, error);
  }
}

function broken(path: string, got: string, cause: unknown): LayerError {
  return new LayerError(
    'LAYER_FORMAT',
    `${path} is not a valid topology: expected objects over arcs, got ${got}; write the file again`,
    { details: { path }, cause },
  );
}

/** Copies a decoded geometry; null and geometries without coordinates stay empty. */
export function addGeometry(raw: RawFeature, value: unknown): void {
  const geometry = value as Geometry | null | undefined;
  if (geometry === null || geometry === undefined) return;
  if (geometry.type === 'Polygon') addPart(raw, geometry.coordinates);
  else if (geometry.type === 'MultiPolygon') {
    for (const part of geometry.coordinates) addPart(raw, part);
  } else if (geometry.type === 'GeometryCollection') {
    for (const member of geometry.geometries) addGeometry(raw, member);
  } else {
    const got = describeValue((geometry as { type?: unknown }).type).replace(/^string /u, '');
    const message = `its geometry: expected Polygon or MultiPolygon, got ${got}`;
    raw.problem('LAYER_NOT_POLYGON', message);
  }
}

function addPart(raw: RawFeature, rings: readonly (readonly Position[])[]): void {
  for (const ring of rings) {
    for (const position of ring) {
      const [x, y] = position as readonly unknown[];
      raw.vertex(typeof x === 'number' ? x : Number.NaN, typeof y === 'number' ? y : Number.NaN);
    }
    raw.endRing();
  }
  raw.endPart();
}
