// Owns the shape of a spec as a zod schema: keys, types, ranges. Messages given to zod are the
// `expected` phrase of a problem. Rules that join several places are in rules.ts.
import { z } from 'zod';
import { SIZE_PATTERN } from './size.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_-]{0,62}$/;
const CRS = /^[A-Za-z]{2,16}:[A-Za-z0-9]{1,16}$/;
const POLICY = /^[a-z][a-z0-9-]{0,40}@[0-9]{1,4}$/;
// No control characters and no NUL: such a path is a mistake in every file system.
// oxlint-disable-next-line no-control-regex
const PATH = /^[^\u0000-\u001f]{1,4096}$/;

const path = (what: string): z.ZodString => z.string().regex(PATH, `the path of ${what}`);
const name = z
  .string()
  .regex(NAME, 'a name of 1 to 63 letters, digits, dots, dashes and underscores');
const identifier = z
  .string()
  .regex(IDENTIFIER, 'a name of 1 to 63 letters, digits, dashes and underscores');
const crs = z.string().regex(CRS, 'a CRS as authority:code, such as OGC:CRS84 or EPSG:3857');
const column = z.string().min(1).max(256);

const source = z.strictObject({
  dataset: path('a dataset folder').describe('Folder that holds dataset.json'),
  crs: crs.optional(),
  wrap: z.boolean().optional().describe('Maps longitudes in [180, 540) by x - 360'),
});

const layer = z.strictObject({
  file: path('a GeoJSON, TopoJSON or GeoParquet file'),
  id: column.describe('Property that names a feature, or @id'),
  object: column.optional().describe('TopoJSON object name'),
  crs: crs.optional(),
  antimeridian: z.enum(['split', 'reject']).optional(),
  pole: z.record(z.string(), z.enum(['north', 'south'])).optional(),
});

const assign = z.strictObject({
  layer: identifier,
  as: identifier,
  boundary: z.enum(['half-open', 'covers', 'contains']).optional(),
  overlap: z.enum(['first', 'all', 'error']).optional(),
});

const measure = z.union(
  [
    z.literal('count'),
    z.strictObject({
      sum: column.optional(),
      mean: column.optional(),
      min: column.optional(),
      max: column.optional(),
    }),
  ],
  { error: 'count or { sum | mean | min | max: column }' },
);

const aggregate = z.strictObject({ by: identifier, measures: z.array(measure).min(1).max(64) });

const step = z.strictObject({ assign: assign.optional(), aggregate: aggregate.optional() });

const sink = z.strictObject({
  path: path('a folder for the results'),
  rows: z.boolean().optional().describe('Also write the per-row result'),
  format: z.enum(['arrow', 'parquet', 'csv', 'geojson']).optional(),
});

const pin = z.strictObject({
  aspect: z.enum(['runtime', 'variant', 'precision', 'chunkRows', 'device', 'host']),
  value: z.union([z.string().min(1).max(200), z.int().min(1)]),
  reason: z.string().max(500).optional(),
  ifImpossible: z.enum(['hold', 'fail']).optional(),
});

const plan = z.strictObject({
  mode: z.enum(['auto', 'cpu', 'gpu']).optional(),
  precision: z.enum(['auto', 'fp32', 'fp64']).optional(),
  policy: z.string().regex(POLICY, 'a policy as name@version, such as probe-first@3').optional(),
  ifImpossible: z
    .enum(['hold', 'fail'])
    .optional()
    .describe('What becomes of the run where mode or precision cannot be had'),
  cadence: z.union([z.literal('every-chunk'), z.int().min(1).max(1000)]).optional(),
  chunkSecondsTarget: z.number().min(0.05).max(600).optional(),
  pins: z.array(pin).max(32).optional(),
});

const limits = z.strictObject({
  memory: z.string().regex(SIZE_PATTERN, 'a size with a unit, such as 2 GiB').optional(),
  failedTiles: z.int().min(0).max(1_000_000).optional(),
  lanes: z.int().min(1).max(64).optional(),
  shards: z.union([z.int().min(1).max(96), z.null()]).optional(),
});

/** The whole document. Its type is left open: normalise.ts reads the value by hand. */
export const pipelineShape: z.ZodType = z.strictObject({
  apiVersion: z.literal('tileloom/v1'),
  kind: z.literal('Pipeline'),
  name,
  source,
  layers: z.record(identifier, layer),
  steps: z.array(step),
  sink,
  plan: plan.optional(),
  limits: limits.optional(),
});
