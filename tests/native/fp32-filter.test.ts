// The filters of the CUDA kernels, as host code: what they decide is what the exact variant decides,
// and what they leave to the host is little. An undecided row comes back as -2 (host_kernels.cpp).
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import type { Position } from 'geojson';
import { afterAll, describe, expect, test } from 'vitest';
import { openKernels, type AssignOptions } from '../../native/index.ts';
import { counties, countries, verticesOf, writeGeometry, type Area } from './helpers/geometry.ts';
import { nastyLayers, nastyPoints, nextDown, nextUp, type NastyPoint } from './helpers/nasty.ts';

const HOST = join(
  import.meta.dirname,
  '..',
  '..',
  'native',
  'build',
  'libtileloom_host_kernels.so',
);
const EXACT = 'tl_assign__brute__fp64__scalar';
const GRID = 'tl_assign__grid__fp64__scalar';
const FILTERS = ['tl_assign__grid__fp64__host', 'tl_assign__grid__fp32__host'] as const;
const FP32 = FILTERS[1];
const UNDECIDED = -2;

const library = openKernels();
const folder = mkdtempSync(join(tmpdir(), 'tileloom-fp32-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Boundary = AssignOptions['boundary'];
type Overlap = 'first' | 'all';
const RULES: readonly (readonly [Boundary, Overlap])[] = [
  ['half-open', 'first'],
  ['half-open', 'all'],
  ['covers', 'first'],
  ['covers', 'all'],
  ['contains', 'all'],
];

interface Comparison {
  readonly rows: number;
  readonly wrong: readonly string[];
  readonly undecided: number;
  readonly isGrid: boolean;
}

/** Answers by row: the features that hold the point, or null for an invalid or undecided row. */
async function answersOf(
  options: AssignOptions,
  x: Float64Array,
  y: Float64Array,
): Promise<(readonly number[] | null)[]> {
  if (options.overlap !== 'all') {
    const ids = await library.assignPoints(options, x, y);
    return [...ids].map((id) => (id === UNDECIDED ? null : id < 0 ? [] : [id]));
  }
  const { counts, features } = await library.assignAllPairs(options, x, y);
  let from = 0;
  return [...counts].map((count) => {
    const found = [...features.subarray(from, from + Math.max(count, 0))];
    from += found.length;
    return count === UNDECIDED ? null : found;
  });
}

async function compare(
  areas: readonly Area[],
  points: readonly NastyPoint[],
  [boundary, overlap]: readonly [Boundary, Overlap],
  symbol: string,
  oracle: string = EXACT,
  maxBytes: number = 1 << 30,
): Promise<Comparison> {
  const geometryPath = join(folder, 'layer.tlgeom');
  const indexPath = join(folder, 'layer.tlidx');
  writeGeometry(geometryPath, areas);
  const request = { geometryPath, indexPath, boundary, overlap, maxBytes, durable: false };
  const index = await library.buildIndex(request);
  if (index.kind !== 'grid') {
    return { rows: 0, wrong: [], undecided: 0, isGrid: false };
  }
  const layer = library.openLayer({ geometryPath, indexPath });
  const x = Float64Array.from(points, (at) => at[0]);
  const y = Float64Array.from(points, (at) => at[1]);
  const options = { layer, boundary, overlap, wrap: false };
  const expected = await answersOf({ ...options, symbol: oracle }, x, y);
  const got = await answersOf({ ...options, symbol, assignLibrary: HOST }, x, y);
  layer.close();
  const wrong = points.flatMap((at, row) =>
    got[row] === null || JSON.stringify(got[row]) === JSON.stringify(expected[row])
      ? []
      : [`${at[0]} ${at[1]}: expected ${String(expected[row])}, got ${String(got[row])}`],
  );
  const undecided = got.filter((one, row) => one === null && expected[row] !== null).length;
  return { rows: points.length, wrong, undecided, isGrid: true };
}

/** On vertices and edges of a layer, and beside them by an ulp and by 1e-9 of their size. */
function closePoints(areas: readonly Area[], count: number): NastyPoint[] {
  const vertices = verticesOf(areas);
  const points: NastyPoint[] = [];
  for (let index = 0; points.length < count; index += 1) {
    const at = (index * 7919) % (vertices.length - 1);
    const [x = 0, y = 0] = vertices[at] ?? [];
    const [x2 = 0, y2 = 0] = vertices[at + 1] ?? [];
    const share = (index % 7) / 7;
    const [mx, my] = [x + (x2 - x) * share, y + (y2 - y) * share];
    const away = 1e-9 * Math.max(Math.abs(mx), Math.abs(my));
    points.push([x, y], [nextUp(x), y], [x, nextDown(y)], [mx, my], [mx + away, my]);
    points.push([mx, my - away], [mx - away / 100, my], [mx + away * 300, my], [x2 + away * 50, y]);
  }
  return points;
}

function randomPoints(areas: readonly Area[], count: number): NastyPoint[] {
  const vertices = verticesOf(areas);
  const xs = vertices.map((at) => at[0] ?? 0).toSorted((a, b) => a - b);
  const ys = vertices.map((at) => at[1] ?? 0).toSorted((a, b) => a - b);
  const [west = 0, east = 0, south = 0, north = 0] = [xs[0], xs.at(-1), ys[0], ys.at(-1)];
  let state = 12_345;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  return Array.from({ length: count }, (): NastyPoint => {
    return [west + (east - west) * random(), south + (north - south) * random()];
  });
}

function moved(areas: readonly Area[], factor: number, offset: number): Area[] {
  const place = (at: Position): Position => at.map((value) => value * factor + offset);
  return areas.map((area) => ({
    type: 'MultiPolygon',
    coordinates: (area.type === 'Polygon' ? [area.coordinates] : area.coordinates).map((rings) =>
      rings.map((ring) => ring.map(place)),
    ),
  }));
}

describe('a filter decides nothing wrongly', () => {
  for (const symbol of FILTERS) {
    for (const rule of RULES) {
      test(`${symbol} on nasty layers under ${rule.join(', ')}`, async () => {
        let rows = 0;
        for (const [number, { name, areas }] of nastyLayers().entries()) {
          const points = nastyPoints(areas, number + 500, 2000);
          const found = await compare(areas, points, rule, symbol);
          expect(found.wrong, name).toEqual([]);
          rows += found.rows;
        }
        expect(rows).toBeGreaterThan(15_000);
      });
    }
  }

  for (const [name, factor, offset] of [
    ['1e15 away from the origin', 1e6, 1e15],
    ['-1e15 away, as one cell', 4096, -1e15],
    ['of cells of 1e15', 1e15, 0],
    ['of cells of 1e-40, subnormal in fp32', 1e-40, 0],
    ['of cells of 1e-160', 1e-160, 0],
    ['of cells of 1e25', 1e25, 3e25],
  ] as const) {
    test(`fp32 on lattices ${name}`, async () => {
      const lattice = nastyLayers().find((layer) => layer.name === 'crowded lattice');
      const areas = moved(lattice?.areas ?? [], factor, offset);
      const points = [...nastyPoints(areas, 77, 3000), ...closePoints(areas, 3000)];
      for (const rule of RULES) {
        const found = await compare(areas, points, rule, FP32);
        expect(found.isGrid).toBe(true);
        expect(found.wrong).toEqual([]);
      }
    });
  }

  test('fp32 on slivers, nearly collinear edges and grid-aligned ends', async () => {
    const tiny = fc.constantFrom(0, 2 ** -52, 1e-15, 1e-12, 1e-9, 2 ** -25, 2 ** -23, 1e-6, 1e-300);
    const near = fc
      .tuple(fc.integer({ min: 0, max: 8 }), tiny, fc.boolean())
      .map(([at, by, up]) => (up ? at + by : at - by));
    const ring = fc.array(fc.tuple(near, near), { minLength: 3, maxLength: 7 });
    const layers = fc.array(ring, { minLength: 1, maxLength: 5 });
    const spots = fc.array(fc.tuple(near, near), { minLength: 40, maxLength: 80 });
    await fc.assert(
      fc.asyncProperty(layers, spots, fc.constantFrom(...RULES), async (rings, points, rule) => {
        const areas = rings.map((one): Area => {
          return { type: 'Polygon', coordinates: [[...one, one[0] as Position]] };
        });
        const close = closePoints(areas, 90);
        expect((await compare(areas, [...points, ...close], rule, FP32)).wrong).toEqual([]);
      }),
      { numRuns: 250, seed: 11 },
    );
  });

  test('fp32 on and beside the borders of counties and countries', async () => {
    for (const areas of [counties(), countries()]) {
      const points = closePoints(areas, 1800);
      for (const rule of [RULES[0], RULES[3]]) {
        const found = await compare(areas, points, rule ?? ['half-open', 'first'], FP32);
        expect(found.wrong).toEqual([]);
        expect(found.undecided).toBeGreaterThan(0);
      }
    }
  });

  test('fp32 where a cell holds more than 32 edges, and where one is crowded', async () => {
    const areas = counties();
    const coarse = await compare(
      areas,
      closePoints(areas, 600),
      ['contains', 'all'],
      FP32,
      EXACT,
      1,
    );
    expect(coarse.wrong).toEqual([]);
    const comb = Array.from({ length: 80_000 }, (_, tooth): Position => [
      1 + tooth * 1e-9,
      tooth % 2,
    ]);
    const ring: Position[] = [[0, -1], ...comb, [2, -1], [0, -1]];
    const crowded: Area = { type: 'Polygon', coordinates: [ring] };
    const far: Area = { type: 'Polygon', coordinates: [square(1e4)] };
    const points = randomPoints([crowded], 50).concat([
      [1.00002, 0.5],
      [1.5, -0.5],
      [0.5, -0.5],
    ]);
    const found = await compare([crowded, far], points, ['half-open', 'first'], FP32, EXACT, 1);
    expect(found.wrong).toEqual([]);
    expect(found.undecided).toBeGreaterThan(0);
  });
});

function square(at: number): Position[] {
  return [
    [at, at],
    [at + 1, at],
    [at + 1, at + 1],
    [at, at + 1],
    [at, at],
  ];
}

describe('the fp32 filter leaves little to the host', () => {
  test('fewer than 1 in 10,000 random points of counties and of countries', async () => {
    for (const [name, areas] of [
      ['counties', counties()],
      ['countries', countries()],
    ] as const) {
      const points = randomPoints(areas, 300_000);
      const found = await compare(areas, points, ['half-open', 'first'], FP32, GRID);
      process.stdout.write(`fp32, ${name}: ${found.undecided} of ${found.rows} rows undecided\n`);
      expect(found.wrong).toEqual([]);
      expect(found.undecided / found.rows).toBeLessThan(1e-4);
    }
  });
});
