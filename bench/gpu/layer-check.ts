// Owns the check of real layers: tiles of US counties and world countries, assigned and aggregated on
// the device and on the CPU; digests of every tile and of the merged partials must be equal.
import { join } from 'node:path';
import type { Layer, TileInput } from '../../native/index.ts';
import type { BoundaryRule, OverlapRule } from '../../registry/index.ts';
import { nastyPoints } from '../../tests/native/helpers/nasty.ts';
import {
  doubles,
  writeTiles,
  type Cell,
  type ColumnData,
} from '../../tests/native/helpers/tiles.ts';
import { randomOf, randomPoints, tileOrdered, type Points } from '../kernels/points.ts';
import { deviceVariants, guarded, type Check } from './check.ts';
import { runChunk, type ChunkRun } from './chunk.ts';
import type { Libraries } from './device.ts';
import { buildIndex, LAYERS, verticesOf, writeLayer, type LayerFiles } from './layers.ts';
import type { Place } from './place.ts';

const RULES: readonly (readonly [BoundaryRule, OverlapRule])[] = [
  ['half-open', 'first'],
  ['covers', 'all'],
  ['contains', 'first'],
];
/** Per-row results, sums, and both at once take different ways through the device. */
const OUTPUTS = [
  { aggregate: true, rows: false },
  { aggregate: false, rows: true },
  { aggregate: true, rows: true },
] as const;
const ORACLE = 'tl_assign__grid__fp64__scalar';

/** One layer under one rule: what is compared again and again. */
export interface PreparedCheck {
  readonly subject: string;
  readonly geometryPath: string;
  readonly indexPath: string;
  readonly boundary: BoundaryRule;
  readonly overlap: OverlapRule;
  readonly tiles: readonly TileInput[];
}

/** Writes layers, indexes and tiles into a folder. */
export async function prepareChecks(
  libraries: Libraries,
  place: Place,
  folder: string,
  reduced: boolean,
): Promise<readonly PreparedCheck[]> {
  const checks: PreparedCheck[] = [];
  for (const name of LAYERS) {
    const files = writeLayer(place, name, folder);
    const tiles = layerTiles(libraries, files, folder, reduced ? 2_000 : 65_536);
    const rules = reduced ? RULES.slice(0, name === 'counties' ? 2 : 1) : RULES;
    for (const [boundary, overlap] of rules) {
      const { path: indexPath } = await buildIndex(libraries.cpu, files, boundary, overlap);
      const subject = `${name}, ${boundary}, ${overlap}`;
      const { geometryPath } = files;
      checks.push({ subject, geometryPath, indexPath, boundary, overlap, tiles });
    }
  }
  return checks;
}

/** Compares the open device with the CPU. */
export async function checkLayer(libraries: Libraries, prepared: PreparedCheck): Promise<Check> {
  const { geometryPath, indexPath } = prepared;
  const onDevice = libraries.device.openLayer({ geometryPath, indexPath });
  const onHost = libraries.cpu.openLayer({ geometryPath, indexPath });
  try {
    return await compare(libraries, { ...prepared, onDevice, onHost });
  } finally {
    onDevice.close();
    onHost.close();
  }
}

interface Comparison extends PreparedCheck {
  readonly onDevice: Layer;
  readonly onHost: Layer;
}

async function compare(libraries: Libraries, given: Comparison): Promise<Check> {
  const { boundary, overlap, tiles, subject } = given;
  const shared = { boundary, overlap, measures: 2, inFlight: 2, arenaBytes: null };
  return await guarded('layer', subject, async () => {
    const notes: string[] = [];
    let compared = 0;
    for (const output of OUTPUTS) {
      const host = { library: libraries.cpu, layer: given.onHost, symbol: ORACLE };
      const expected = await runChunk({ ...shared, ...host, ...output }, tiles);
      for (const { id, symbol } of deviceVariants(libraries.device)) {
        const device = { library: libraries.device, layer: given.onDevice, symbol };
        const got = await runChunk({ ...shared, ...device, ...output }, tiles);
        compared += tiles.length;
        const way = `aggregate ${output.aggregate}, rows ${output.rows}`;
        if (got.digest !== expected.digest) {
          notes.push(`${id}, ${way}: digests differ; ${counts(expected)}, got ${counts(got)}`);
        }
      }
    }
    return { compared, failed: notes.length, notes };
  });
}

const counts = ({ hits, outside, invalid }: ChunkRun): string =>
  `${hits} hits, ${outside} outside, ${invalid} invalid`;

/** Random points, the same in tile order, points on and beside borders, no points, and odd values. */
function layerTiles(
  libraries: Libraries,
  layer: LayerFiles,
  folder: string,
  rows: number,
): readonly TileInput[] {
  const random = randomPoints(rows, layer.box, 1);
  const nasty = nastyPoints(someAreas(layer), 2, rows);
  const borders: Points = {
    x: Float64Array.from(nasty, ([x]) => x),
    y: Float64Array.from(nasty, ([, y]) => y),
  };
  const nothing: Points = { x: new Float64Array(0), y: new Float64Array(0) };
  const all = [random, tileOrdered(random, layer.box), borders, nothing];
  const path = join(folder, `${layer.name}.tiles`);
  return writeTiles(
    libraries.cpu,
    path,
    all.map((points, index) => columnsOf(points, index + 3)),
  );
}

/** nastyPoints takes every vertex as an argument of one call. */
const VERTICES_MAX = 50_000;

function someAreas({ areas }: LayerFiles): LayerFiles['areas'] {
  let vertices = 0;
  return areas.filter((area) => {
    const more = verticesOf([area]).length;
    const fits = vertices + more <= VERTICES_MAX;
    vertices += fits ? more : 0;
    return fits;
  });
}

const ODD: readonly Cell[] = [null, Number.NaN, -0, 5e-324, -1e300, 1e300, 1e-300];

function columnsOf(points: Points, seed: number): readonly ColumnData[] {
  const random = randomOf(seed);
  const odd = (): Cell => ODD[Math.floor(random() * ODD.length)] ?? null;
  const rows = [...points.x.keys()];
  const value = rows.map(() => (random() < 0.05 ? odd() : (random() - 0.5) * 1e6));
  const whole = rows.map(() => (random() < 0.05 ? null : BigInt(Math.floor(random() * 2 ** 52))));
  return [
    doubles('x', [...points.x]),
    doubles('y', [...points.y]),
    doubles('value', value),
    { name: 'whole', type: 'int64', values: whole },
  ];
}
