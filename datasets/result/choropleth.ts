// Owns the map picture of a result: one self-contained SVG, light background, a legend, and the value of
// each feature as its tooltip. The same input gives the same bytes.
import { readGeometry, type Geometry } from '../layers/index.ts';
import { NO_VALUE_COLOR, quantileClasses, type ColorClasses } from './color-classes.ts';
import { ResultError } from './errors.ts';
import { drawPaths, frameOf, type MapFrame, type MapPaths } from './map-paths.ts';
import { projectionFor, type MapProjection } from './map-projection.ts';
import { writeAtomically, type WrittenResult } from './atomic-file.ts';

export interface ChoroplethRequest {
  readonly geometryPath: string;
  /** One per feature of the layer; NaN where there is none. */
  readonly values: Float64Array;
  readonly title: string;
  /** Said under the title, for example what the values are. */
  readonly subtitle?: string;
  readonly path: string;
  /** Pixels; 1000 when left out. */
  readonly width?: number;
}

const BYTES_MAX = 2_800_000;
/** Tried in turn until the picture fits. */
const GRIDS_PX = [0.1, 0.2, 0.4, 0.8, 1.5, 3];
const MARGIN_PX = 24;
const HEAD_PX = 78;
const FOOT_PX = 84;
const FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif";

/**
 * Draws a choropleth.
 *
 * @throws {ResultError} `RESULT_VALUES_LENGTH` unless there is one value per feature
 */
export async function writeChoropleth(request: ChoroplethRequest): Promise<WrittenResult> {
  const geometry = await readGeometry(request.geometryPath);
  const features = geometry.meta.ids.length;
  if (request.values.length !== features) {
    throw new ResultError(
      'RESULT_VALUES_LENGTH',
      `${request.path} cannot be drawn: expected ${features} values, one per feature, ` +
        `got ${request.values.length}`,
      { details: { path: request.path, features, values: request.values.length } },
    );
  }
  const projection = projectionFor(geometry);
  const width = request.width ?? 1000;
  const frame = frameOf(geometry, projection, width - 2 * MARGIN_PX, width);
  const groupOf =
    projection.kind === 'us-composite'
      ? (feature: number): string => (geometry.meta.ids[feature] ?? '').slice(0, 2)
      : null;
  let svg = '';
  for (const gridPx of GRIDS_PX) {
    const paths = drawPaths(geometry, projection, frame, gridPx, groupOf);
    svg = picture(request, geometry, projection, frame, paths, gridPx, width);
    if (svg.length <= BYTES_MAX) break;
  }
  return writeAtomically(request.path, [svg]);
}

function picture(
  request: ChoroplethRequest,
  geometry: Geometry,
  projection: MapProjection,
  frame: MapFrame,
  paths: MapPaths,
  gridPx: number,
  width: number,
): string {
  const classes = quantileClasses(request.values);
  const height = Math.round(frame.height + HEAD_PX + FOOT_PX);
  const left = Math.round((width - frame.width) / 2);
  const line = 0.35 / gridPx;
  const groups =
    paths.groups === null || paths.groups === ''
      ? ''
      : `<path d="${paths.groups}" fill="none" stroke="#fff" stroke-width="${round(0.9 / gridPx)}" ` +
        'stroke-linecap="round"/>\n';
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${width} ${height}" role="img" font-family="${FONT}">\n` +
    `<title>${escapeXml(request.title)}</title>\n` +
    `<style>${styleOf(classes)}</style>\n` +
    `<rect width="${width}" height="${height}" fill="#fbfbfa"/>\n` +
    heading(request) +
    `<g transform="translate(${left} ${HEAD_PX}) scale(${gridPx})" stroke="#fff" ` +
    `stroke-opacity="0.7" stroke-width="${round(line)}" stroke-linejoin="round" ` +
    'fill-rule="evenodd">\n' +
    featurePaths(request.values, geometry, classes, paths) +
    groups +
    '</g>\n' +
    legend(classes, request.values, projection, width, height - FOOT_PX) +
    '</svg>\n'
  );
}

function styleOf(classes: ColorClasses): string {
  const rules = classes.classes.map(({ color }, i) => `.c${i}{fill:${color}}`);
  return `.n{fill:${NO_VALUE_COLOR}}${rules.join('')}`;
}

function heading({ title, subtitle }: ChoroplethRequest): string {
  const second =
    subtitle === undefined
      ? ''
      : `<text x="${MARGIN_PX}" y="58" font-size="13" fill="#5c6370">${escapeXml(subtitle)}</text>\n`;
  return (
    `<text x="${MARGIN_PX}" y="37" font-size="21" font-weight="600" fill="#1d2433">` +
    `${escapeXml(title)}</text>\n${second}`
  );
}

function featurePaths(
  values: Float64Array,
  geometry: Geometry,
  classes: ColorClasses,
  paths: MapPaths,
): string {
  const { ids, names } = geometry.meta;
  let text = '';
  paths.features.forEach((path, feature) => {
    if (path === '') return;
    const value = values[feature] ?? Number.NaN;
    const kind = classes.classOf(value);
    const name = names?.[feature] ?? ids[feature] ?? '';
    const shown = Number.isNaN(value) ? 'no value' : String(value);
    text +=
      `<path class="${kind < 0 ? 'n' : `c${kind}`}" d="${path}">` +
      `<title>${escapeXml(name)}: ${shown}</title></path>\n`;
  });
  return text;
}

function legend(
  { classes }: ColorClasses,
  values: Float64Array,
  projection: MapProjection,
  width: number,
  top: number,
): string {
  const missing = values.some((value) => !Number.isFinite(value));
  const entries = classes.map(({ color, label }) => ({ color, label }));
  if (missing) entries.push({ color: NO_VALUE_COLOR, label: 'no value' });
  const step = Math.min(128, (width - 2 * MARGIN_PX) / Math.max(1, entries.length));
  let text = '';
  entries.forEach(({ color, label }, i) => {
    const x = round(MARGIN_PX + i * step);
    text +=
      `<rect x="${x}" y="${top + 22}" width="${round(step - 4)}" height="12" fill="${color}"/>\n` +
      `<text x="${x}" y="${top + 49}" font-size="11.5" fill="#3a4150">${escapeXml(label)}</text>\n`;
  });
  if (projection.note !== null) {
    text +=
      `<text x="${MARGIN_PX}" y="${top + 72}" font-size="11" fill="#8a909c">` +
      `${escapeXml(projection.note)}</text>\n`;
  }
  return text;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

// Control characters and lone surrogates have no place in XML 1.0.
const NOT_XML =
  // oxlint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu;

/** Text for XML: markup escaped, characters that XML cannot hold replaced. */
export function escapeXml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll(NOT_XML, '\ufffd');
}
