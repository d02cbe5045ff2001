// Owns the way from a layer file to a validated `.tlgeom` in the content-addressed cache.
//
// I1  The cache key covers input bytes, options and converter version; an entry is a pair
//     `<key>.tlgeom` + `<key>.json`, the latter written last and holding the former's SHA-256.
// I2  Entries appear by rename, so a second preparer of the same layer finds one whole entry or makes an
//     equal one; an entry whose bytes do not match its record is made again.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import { canonicalJson, sha256Hex } from '../../core/index.ts';
import type { LayerSpec } from '../../spec/index.ts';
import { isGeographic } from '../crs.ts';
import { syncFolder, temporaryName, writeFileDurable } from '../durable.ts';
import { LayerAssembler } from './assembler.ts';
import { checkBorders } from './border-checks.ts';
import { fileSource } from './byte-source.ts';
import { LayerError, type LayerFinding } from './errors.ts';
import { Findings } from './findings.ts';
import { readGeoJson, NotGeoJson } from './geojson-reader.ts';
import { readGeoParquet } from './geoparquet-reader.ts';
import { sizeOf, type Geometry, type LayerSize } from './geometry.ts';
import { agreeOnCrs } from './layer-crs.ts';
import { checkRings } from './ring-checks.ts';
import { writeGeometry } from './tlgeom.ts';
import { readTopoJson } from './topojson-reader.ts';

/** Part of every cache key: raise it whenever the same input may give other bytes. */
export const LAYER_CONVERTER_VERSION = '1';

/** Milliseconds of work before the event loop gets a turn, so that heartbeats go out. */
const TURN_MS = 40;

export interface PrepareLayerOptions {
  /** The layer file. */
  readonly path: string;
  readonly cacheDir: string;
  /** CRS of the source dataset; the layer must have the same. */
  readonly sourceCrs: string;
}

export interface PreparedLayer extends LayerSize {
  readonly geometryPath: string;
  /** SHA-256 of the geometry file: the layer's identity. */
  readonly sha256: string;
  readonly meanVertices: number;
  readonly bbox: readonly [number, number, number, number];
  readonly maxAbs: number;
  readonly families: readonly ['polygon'];
  readonly warnings: readonly LayerFinding[];
}

export interface LayerProgress {
  readonly stage: 'hash' | 'read' | 'check' | 'write';
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly features: number;
  readonly vertices: number;
}

export type LayerProgressListener = (progress: LayerProgress) => void;

/**
 * Reads, validates and caches a layer.
 *
 * @throws {LayerError} `LAYER_INVALID` with all errors of the file at once, or what keeps it from being read
 */
export async function prepareLayer(
  spec: LayerSpec,
  options: PrepareLayerOptions,
  onProgress?: LayerProgressListener,
): Promise<PreparedLayer> {
  const work = new PreparationClock(await sizeOfFile(options.path), onProgress);
  const inputSha256 = await hashFile(options.path, work);
  const key = sha256Hex(
    canonicalJson({
      converter: LAYER_CONVERTER_VERSION,
      input: inputSha256,
      id: spec.id,
      object: spec.object,
      crs: spec.crs,
      sourceCrs: options.sourceCrs,
      antimeridian: spec.antimeridian,
      pole: spec.pole,
    }),
  );
  await mkdir(options.cacheDir, { recursive: true });
  const geometryPath = path.join(options.cacheDir, `${key}.tlgeom`);
  const recordPath = path.join(options.cacheDir, `${key}.json`);
  const cached = await readCached(geometryPath, recordPath);
  if (cached !== null) return cached;
  const findings = new Findings();
  const geometry = await readLayer(spec, options, findings, work);
  findings.throwIfErrors(options.path);
  work.stage = 'check';
  await checkRings(geometry, findings, work.giveWay);
  await checkBorders(geometry, findings, work.giveWay);
  work.stage = 'write';
  const sha256 = await publish(geometryPath, geometry);
  const prepared = describe(geometryPath, sha256, geometry, findings.list('warning'));
  const { geometryPath: _, ...record } = prepared;
  await writeFileDurable(recordPath, `${JSON.stringify(record)}\n`);
  work.report(work.bytesTotal);
  return prepared;
}

/** Progress and turns of the event loop. */
class PreparationClock {
  stage: LayerProgress['stage'] = 'hash';
  features = 0;
  vertices = 0;
  readonly bytesTotal: number;
  readonly #onProgress: LayerProgressListener | undefined;
  #bytesDone = 0;
  #turnEnds = performance.now() + TURN_MS;

  constructor(bytesTotal: number, onProgress: LayerProgressListener | undefined) {
    this.bytesTotal = bytesTotal;
    this.#onProgress = onProgress;
  }

  readonly giveWay = (bytesDone?: number): Promise<void> | undefined => {
    if (bytesDone !== undefined) this.#bytesDone = bytesDone;
    if (performance.now() < this.#turnEnds) return undefined;
    return this.#turn();
  };

  async #turn(): Promise<void> {
    this.report(this.#bytesDone);
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    this.#turnEnds = performance.now() + TURN_MS;
  }

  report(bytesDone: number): void {
    const { stage, bytesTotal, features, vertices } = this;
    this.#bytesDone = bytesDone;
    this.#onProgress?.({ stage, bytesDone, bytesTotal, features, vertices });
  }
}

async function sizeOfFile(file: string): Promise<number> {
  const found = await stat(file).catch((error: unknown) => {
    throw new LayerError(
      'LAYER_NOT_FOUND',
      `the layer file ${file} cannot be opened: expected a readable file, got ` +
        `${String((error as { code?: unknown }).code)}; check layers.*.file`,
      { details: { path: file }, cause: error },
    );
  });
  if (!found.isFile()) {
    throw new LayerError(
      'LAYER_NOT_FOUND',
      `the layer ${file} is not a file: expected GeoJSON, TopoJSON or GeoParquet, got a ` +
        `${found.isDirectory() ? 'folder' : 'special file'}; name the file itself`,
      { details: { path: file } },
    );
  }
  if (found.size === 0) {
    throw new LayerError(
      'LAYER_EMPTY',
      `the layer file ${file} is empty: expected GeoJSON, TopoJSON or GeoParquet, got 0 bytes; ` +
        'check how it was written',
      { details: { path: file } },
    );
  }
  return found.size;
}

async function hashFile(file: string, work: PreparationClock): Promise<string> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    await work.giveWay(bytes);
  }
  return hash.digest('hex');
}

async function readLayer(
  spec: LayerSpec,
  options: PrepareLayerOptions,
  findings: Findings,
  work: PreparationClock,
): Promise<Geometry> {
  work.stage = 'read';
  // Declarations are compared before the work, the file's own word after it.
  agreeOnCrs(options.path, null, spec.crs, options.sourceCrs);
  const start = (): LayerAssembler =>
    new LayerAssembler(
      {
        geographic: isGeographic(spec.crs),
        antimeridian: spec.antimeridian,
        pole: spec.pole,
      },
      findings,
    );
  const assembler = start();
  const fileCrs = await readFormat(spec, options.path, assembler, work);
  const crs = agreeOnCrs(options.path, fileCrs, spec.crs, options.sourceCrs);
  if (assembler.features === 0) {
    throw new LayerError(
      'LAYER_EMPTY',
      `${options.path} holds no features: expected at least one polygon, got 0; check the file`,
      { details: { path: options.path } },
    );
  }
  return assembler.finish(crs);
}

/** @returns the CRS that the file names, null when it names none */
async function readFormat(
  spec: LayerSpec,
  file: string,
  assembler: LayerAssembler,
  work: PreparationClock,
): Promise<string | null> {
  const naming = { id: spec.id };
  const sink = (feature: Parameters<LayerAssembler['add']>[0]): void => {
    assembler.add(feature);
    work.features = assembler.features;
    work.vertices = assembler.vertices;
  };
  const giveWay = (): Promise<void> | undefined => work.giveWay();
  const source = fileSource(file);
  try {
    if (isParquet(file, source)) return await readGeoParquet(file, naming, sink, giveWay);
  } finally {
    source.close();
  }
  const text = fileSource(file);
  try {
    return (await readGeoJson(text, naming, sink, work.giveWay)).crs;
  } catch (error) {
    if (!(error instanceof NotGeoJson)) throw error;
  } finally {
    text.close();
  }
  await readTopoJson(file, spec.object, naming, sink, giveWay);
  return null;
}

function isParquet(_file: string, source: ReturnType<typeof fileSource>): boolean {
  const magic = new Uint8Array(4);
  const count = source.read(magic, 0);
  return count === 4 && Buffer.from(magic).toString('latin1') === 'PAR1';
}

/** Writes under a temporary name and renames; an equal file of another preparer is replaced. */
async function publish(geometryPath: string, geometry: Geometry): Promise<string> {
  const temporary = temporaryName(geometryPath);
  try {
    const sha256 = await writeGeometry(temporary, geometry);
    await rename(temporary, geometryPath);
    await syncFolder(path.dirname(geometryPath));
    return sha256;
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
}

function describe(
  geometryPath: string,
  sha256: string,
  geometry: Geometry,
  warnings: readonly LayerFinding[],
): PreparedLayer {
  const size = sizeOf(geometry);
  return {
    geometryPath,
    sha256,
    ...size,
    meanVertices: size.features === 0 ? 0 : size.vertices / size.features,
    bbox: geometry.meta.bbox,
    maxAbs: geometry.meta.maxAbs,
    families: ['polygon'],
    warnings,
  };
}

/** The cached entry if it is whole, else null. */
async function readCached(geometryPath: string, recordPath: string): Promise<PreparedLayer | null> {
  try {
    const record = JSON.parse(await readFile(recordPath, 'utf8')) as Omit<
      PreparedLayer,
      'geometryPath'
    >;
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(geometryPath, { highWaterMark: 1 << 20 })) {
      hash.update(chunk as Buffer);
    }
    if (hash.digest('hex') !== record.sha256 || !Array.isArray(record.warnings)) return null;
    return { geometryPath, ...record };
  } catch {
    // Missing or torn: the entry is made again.
    return null;
  }
}
