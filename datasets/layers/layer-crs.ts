// Owns how a layer file names its CRS, and the comparison with what the spec and the source declare.
import { crsOfProjJson, CRS84, normaliseCrs } from '../crs.ts';
import { LayerError } from './errors.ts';

/**
 * Reads the legacy `crs` member of GeoJSON 2008. It has been removed from RFC 7946 but GDAL writes it.
 *
 * @returns the normalised name, null for `"crs": null`
 */
export function crsOfGeoJsonMember(value: unknown, path: string): string | null {
  if (value === null) return null;
  const name = (value as { properties?: { name?: unknown } }).properties?.name;
  return guarded(path, () => {
    if (typeof name === 'string') return normaliseCrs(name);
    throw new Error(`expected crs.properties.name, got ${JSON.stringify(value).slice(0, 80)}`);
  });
}

/** Reads the `crs` of a GeoParquet column: PROJJSON, absent for OGC:CRS84, null for unknown. */
export function crsOfGeoParquet(value: unknown, path: string): string | null {
  if (value === null) return null;
  return guarded(path, () => crsOfProjJson(value));
}

function guarded(path: string, read: () => string): string {
  try {
    return read();
  } catch (error) {
    throw new LayerError(
      'LAYER_CRS_UNSUPPORTED',
      `${path} names a CRS that is not understood: ${String((error as Error).message)}`,
      { details: { path }, cause: error },
    );
  }
}

/**
 * Requires file, spec and source to agree after axis-order normalisation.
 *
 * @param fileCrs as the file names it, null when it is silent: then the spec's word is taken
 * @returns the normalised CRS of the layer
 * @throws {LayerError} `LAYER_CRS_MISMATCH` naming both
 */
export function agreeOnCrs(
  path: string,
  fileCrs: string | null,
  specCrs: string,
  sourceCrs: string,
): string {
  const declared = guarded('the layer in the spec', () => normaliseCrs(specCrs));
  const source = guarded('the source in the spec', () => normaliseCrs(sourceCrs));
  if (fileCrs !== null && fileCrs !== declared) {
    throw mismatch(path, `the file says ${fileCrs}, the spec says ${specCrs} for this layer`, {
      expected: declared,
      got: fileCrs,
    });
  }
  if (declared !== source) {
    throw mismatch(path, `the layer is in ${specCrs}, the source is in ${sourceCrs}`, {
      expected: source,
      got: declared,
    });
  }
  return declared === CRS84 ? CRS84 : declared;
}

function mismatch(
  path: string,
  what: string,
  names: { readonly expected: string; readonly got: string },
): LayerError {
  return new LayerError(
    'LAYER_CRS_MISMATCH',
    `${path} has another CRS: ${what} (expected ${names.expected}, got ${names.got}); ` +
      'correct the declaration, or reproject one of them: nothing is reprojected silently',
    { details: { path, ...names } },
  );
}
