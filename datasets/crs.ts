// Owns the names of coordinate reference systems. Coordinates are always x, y (longitude,
// latitude), so names that differ only in axis order are one CRS here.
import { DatasetError } from './errors.ts';

export const CRS84 = 'OGC:CRS84';

const SAME_AS_CRS84 = new Set([
  'OGC:CRS84',
  'EPSG:4326',
  'OGC:1.3:CRS84',
  'CRS:84',
  'CRS84',
  'WGS84',
]);

/**
 * Normalises the name of a CRS: `urn:ogc:def:crs:OGC:1.3:CRS84`, `EPSG:4326` and `WGS84` are
 * `OGC:CRS84`; `urn:ogc:def:crs:EPSG::5070` and `http://www.opengis.net/def/crs/EPSG/0/5070` are
 * `EPSG:5070`.
 *
 * @throws {DatasetError} `CRS_UNSUPPORTED` for text that names no authority and code
 */
export function normaliseCrs(text: string): string {
  const bare = text
    .trim()
    .replace(/^urn:ogc:def:crs:/iu, '')
    .replace(/^https?:\/\/www\.opengis\.net\/def\/crs\//iu, '')
    .replaceAll('/', ':')
    .toUpperCase();
  if (SAME_AS_CRS84.has(bare)) return CRS84;
  const match = /^([A-Z][A-Z0-9_]*):(?:[0-9.]*:)?([A-Z0-9_]+)$/u.exec(bare);
  if (match === null) {
    throw new DatasetError(
      'CRS_UNSUPPORTED',
      `the CRS "${text}" is not understood: expected AUTHORITY:CODE such as OGC:CRS84 or ` +
        'EPSG:5070, ' +
        `got "${text}"; name it that way`,
      { details: { crs: text } },
    );
  }
  const name = `${match[1] ?? ''}:${match[2] ?? ''}`;
  return SAME_AS_CRS84.has(name) ? CRS84 : name;
}

/**
 * Normalises a PROJJSON value, as GeoParquet stores it: absent means OGC:CRS84, null means unknown.
 *
 * @throws {DatasetError} `CRS_UNSUPPORTED` when it carries no authority and code
 */
export function crsOfProjJson(value: unknown): string {
  if (value === undefined) return CRS84;
  if (typeof value === 'string') return normaliseCrs(value);
  const record = (value ?? {}) as { id?: { authority?: unknown; code?: unknown }; name?: unknown };
  const authority = record.id?.authority;
  const code = record.id?.code;
  if (typeof authority === 'string' && (typeof code === 'number' || typeof code === 'string')) {
    return normaliseCrs(`${authority}:${String(code)}`);
  }
  const name = typeof record.name === 'string' ? record.name : 'none';
  throw new DatasetError(
    'CRS_UNSUPPORTED',
    `the CRS "${name}" has no identifier: expected PROJJSON with id.authority and id.code, ` +
      'got none; ' +
      'state the CRS with the option crs',
    { details: { crs: name } },
  );
}

/** Tells whether x is a longitude in degrees: only then may `wrap` map [180, 540) by x − 360. */
export function isGeographic(crs: string): boolean {
  return normaliseCrs(crs) === CRS84;
}

/** @throws {DatasetError} `CRS_MISMATCH` unless both names are one CRS */
export function requireSameCrs(subject: string, expected: string, got: string): void {
  if (normaliseCrs(expected) === normaliseCrs(got)) return;
  throw new DatasetError(
    'CRS_MISMATCH',
    `${subject} is in another CRS: expected ${expected}, got ${got}; ` +
      'reproject one of them, nothing is reprojected silently',
    { details: { subject, expected, got } },
  );
}
