import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openKernels, type AssignOptions } from '../../native/index.ts';
import { exactParts, featuresOf } from './helpers/exact.ts';
import { counties, countries, verticesOf, writeGeometry, type Area } from './helpers/geometry.ts';
import { nastyLayers, nastyPoints, nextDown, nextUp, type NastyPoint } from './helpers/nasty.ts';
import { variantsOfThisHost } from './helpers/variants.ts';

const library = openKernels();
const folder = mkdtempSync(join(tmpdir(), 'tileloom-assign-'));
const BRUTE = 'tl_assign__brute__fp64__scalar';
const BOUNDARIES = ['half-open', 'covers', 'contains'] as const;
const gridVariants = variantsOfThisHost(library.isa).filter((variant) => variant.needsIndex);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function columns(points: readonly NastyPoint[]): [Float64Array, Float64Array] {
  return [Float64Array.from(points, (at) => at[0]), Float64Array.from(points, (at) => at[1])];
}

function geometryOf(areas: readonly Area[]): string {
  const geometryPath = join(folder, 'layer.tlgeom');
  writeGeometry(geometryPath, areas);
  return geometryPath;
}

describe('the brute-force oracle', () => {
  test('equals exact BigInt arithmetic on more than ten thousand nasty points', async () => {
    let compared = 0;
    for (const [number, { name, areas }] of nastyLayers().entries()) {
      const layer = library.openLayer({ geometryPath: geometryOf(areas), indexPath: null });
      const exact = areas.map(exactParts);
      const points = nastyPoints(areas, number + 1, 400);
      for (const boundary of BOUNDARIES) {
        const options: AssignOptions = {
          ...{ layer, symbol: BRUTE, boundary, overlap: 'all', wrap: false },
        };
        const answer = await library.assignAllPairs(options, ...columns(points));
        let from = 0;
        points.forEach(([x, y], point) => {
          const finite = Number.isFinite(x) && Number.isFinite(y);
          const expected = finite ? featuresOf(exact, boundary, x, y) : [];
          const count = answer.counts[point] ?? 0;
          const found = [...answer.features.subarray(from, from + Math.max(count, 0))];
          from += found.length;
          compared += 1;
          expect([count, ...found], `${name}, ${boundary}, point ${point}: ${x} ${y}`).toEqual([
            finite ? expected.length : -2,
            ...expected,
          ]);
        });
      }
      layer.close();
    }
    expect(compared).toBeGreaterThan(10_000);
  });
});

describe('the grid variants', () => {
  for (const boundary of BOUNDARIES) {
    for (const overlap of ['first', 'all', 'error'] as const) {
      test(`equal the oracle under ${boundary} and overlap ${overlap}`, async () => {
        for (const [number, { name, areas }] of nastyLayers().entries()) {
          const points = nastyPoints(areas, number + 100, 3000);
          await compareWithOracle(name, areas, boundary, overlap, points);
        }
      });
    }
  }

  test('equal the oracle on counties and countries, on and beside their borders', async () => {
    for (const [name, areas] of [
      ['counties', counties()],
      ['countries', countries()],
    ] as const) {
      const vertices = verticesOf(areas);
      const points: NastyPoint[] = [];
      for (let index = 0; points.length < 1500; index += 1) {
        const at = (index * 7919) % (vertices.length - 1);
        const [a, b] = [vertices[at] ?? [], vertices[at + 1] ?? []];
        const [x, y] = [a[0] ?? 0, a[1] ?? 0];
        points.push([x, y], [nextUp(x), y], [x, nextDown(y)]);
        points.push([(x + (b[0] ?? 0)) / 2, (y + (b[1] ?? 0)) / 2]);
      }
      await compareWithOracle(name, areas, 'half-open', 'first', points);
      await compareWithOracle(name, areas, 'covers', 'all', points.slice(0, 400));
    }
  });

  test('equal the oracle when the memory target forces a coarse grid', async () => {
    const areas = counties();
    const vertices = verticesOf(areas);
    const points = vertices
      .filter((_, index) => index % 61 === 0)
      .map((at): NastyPoint => [at[0] ?? 0, nextUp(at[1] ?? 0)]);
    await compareWithOracle('counties', areas, 'contains', 'all', points.slice(0, 600), 8 << 20);
  });

  test('wrap longitudes of 180 degrees and more before assigning', async () => {
    const square: Area = {
      type: 'Polygon',
      coordinates: [
        [
          [-180, 0],
          [-170, 0],
          [-170, 10],
          [-180, 10],
          [-180, 0],
        ],
      ],
    };
    const layer = library.openLayer({ geometryPath: geometryOf([square]), indexPath: null });
    const x = Float64Array.of(-175, 185, 180, 545, 190, 539.5);
    const y = new Float64Array(6).fill(5);
    const options: AssignOptions = {
      ...{ layer, symbol: BRUTE, boundary: 'half-open', overlap: 'first', wrap: true },
    };
    expect([...(await library.assignPoints(options, x, y))]).toEqual([0, 0, 0, -1, -1, -1]);
    expect(x[1]).toBe(185);
  });
});

async function compareWithOracle(
  name: string,
  areas: readonly Area[],
  boundary: 'half-open' | 'covers' | 'contains',
  overlap: 'first' | 'all' | 'error',
  points: readonly NastyPoint[],
  maxBytes: number = 1 << 30,
): Promise<void> {
  const geometryPath = geometryOf(areas);
  const indexPath = join(folder, 'layer.tlidx');
  await library.buildIndex({
    geometryPath,
    indexPath,
    boundary,
    overlap,
    maxBytes,
    durable: false,
  });
  const layer = library.openLayer({ geometryPath, indexPath });
  const [x, y] = columns(points);
  const answers = [BRUTE, ...gridVariants.map((variant) => variant.symbol)].map(async (symbol) => {
    const options: AssignOptions = { layer, symbol, boundary, overlap, wrap: false };
    if (overlap === 'all') {
      return library.assignAllPairs(options, x, y);
    }
    try {
      return await library.assignPoints(options, x, y);
    } catch (error) {
      return String(
        error instanceof Error && 'details' in error ? JSON.stringify(error.details) : error,
      );
    }
  });
  const [expected, ...others] = await Promise.all(answers);
  others.forEach((answer, index) => {
    const id = gridVariants[index]?.id ?? '';
    expect(answer, `${id}, ${name}, ${boundary}, ${overlap}`).toEqual(expected);
  });
  layer.close();
}
