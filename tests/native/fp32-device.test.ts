// assign/cuda-grid-fp32@1 and the warps of the fused kernels on the fake driver: the bytes of the CPU.
// What this shows is the plumbing; that a GPU gives the same is for a device.
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { verifyVariant, type Layer, type OpenDevice } from '../../native/index.ts';
import { WAITING_VARIANTS } from '../../registry/index.ts';
import { fakeGpus, type FakeGpus } from './helpers/fake-gpu.ts';
import { verticesOf, type Area } from './helpers/geometry.ts';
import { GPU_SYMBOL, GpuBench, nastyTiles } from './helpers/gpu-chunks.ts';
import { nastyLayers } from './helpers/nasty.ts';
import { doubles, type ColumnData } from './helpers/tiles.ts';

const FP32_SYMBOL = 'tl_assign__grid__fp32__cuda';
const CORPUS = join(import.meta.dirname, '..', 'fixtures', 'corpus');
const PLAIN = { wrap: false, measures: 2, aggregate: true, rows: false };

let bench: GpuBench;
let gpus: FakeGpus;
let leave: () => void;
let device: OpenDevice;

beforeAll(() => {
  gpus = fakeGpus();
  leave = gpus.enter();
  bench = new GpuBench();
  device = bench.gpu.openDevice({ ordinal: 0 });
});

afterEach(() => {
  device.close();
  device = bench.gpu.openDevice({ ordinal: 0 });
});

afterAll(() => {
  device.close();
  bench.remove();
  leave();
  gpus.remove();
});

function layerNamed(name: string): readonly Area[] {
  return nastyLayers().find((layer) => layer.name === name)?.areas ?? [];
}

/** Rows that come feature by feature, as in tile order, in runs that do not fit warps. */
function orderedTile(areas: readonly Area[], run: number): ColumnData[] {
  const inside = areas.flatMap((area) => {
    const vertices = verticesOf([area]).slice(0, -1);
    const mean = (index: 0 | 1): number =>
      vertices.reduce((sum, at) => sum + (at[index] ?? 0), 0) / vertices.length;
    return Array.from({ length: run }, () => [mean(0), mean(1)] as const);
  });
  const value = (row: number): number => (row % 3 === 0 ? -1 : 1) * 1.1 ** (row % 300);
  return [
    doubles('x', inside.map((at) => at[0])), // prettier-ignore
    doubles('y', inside.map((at) => at[1])), // prettier-ignore
    doubles('value', inside.map((_, row) => (row % 41 === 0 ? null : value(row)))), // prettier-ignore
    { name: 'big', type: 'int64', values: inside.map((_, row) => 2n ** 63n - 1n - BigInt(row)) },
  ];
}

describe('the fp32 variant', () => {
  test('finds no wrong answer in the corpus', { timeout: 240_000 }, async () => {
    const [variant] = WAITING_VARIANTS;
    expect(variant?.symbol).toBe(FP32_SYMBOL);
    if (variant === undefined) return;
    const report = await verifyVariant(bench.gpu, variant, CORPUS);
    expect(report.failures).toEqual([]);
    expect(report.checked.points).toBeGreaterThan(100_000);
    expect(device.statistics().launches).toBeGreaterThan(1000);
  });

  for (const boundary of ['half-open', 'covers', 'contains'] as const) {
    for (const overlap of ['first', 'all', 'error'] as const) {
      test(`gives the bytes of the CPU: ${boundary}, ${overlap}`, async () => {
        for (const { name, areas } of nastyLayers()) {
          const [cpu, gpu] = (await bench.layers(areas, { boundary, overlap })) as [Layer, Layer];
          const tiles = bench.tiles(nastyTiles(areas, [1500, 0, 900, 33]));
          // Of two batches that fail at once, either may be the first to tell.
          const batch = overlap === 'error' ? tiles.length : 2;
          for (const rows of [false, true]) {
            const options = { ...PLAIN, boundary, overlap, rows };
            const expected = await bench.run(bench.cpu, { ...options, layer: cpu }, tiles);
            const answer = await bench.run(
              ...([bench.gpu, { ...options, layer: gpu }, tiles, batch, FP32_SYMBOL] as const),
            );
            expect(answer.error?.message, name).toBe(expected.error?.message);
            expect(answer.tiles, name).toEqual(expected.tiles);
            expect(answer.partials, name).toBe(expected.partials);
          }
        }
        expect(device.statistics().repairedRows).toBeGreaterThan(0);
      });
    }
  }

  test('keeps an index of its own beside the fp64 one', async () => {
    const areas = layerNamed('partition');
    const rules = { boundary: 'half-open', overlap: 'first' } as const;
    const [, layer] = (await bench.layers(areas, rules)) as [Layer, Layer];
    const tiles = bench.tiles(nastyTiles(areas, [500]));
    const resident: number[] = [];
    for (const symbol of [GPU_SYMBOL, FP32_SYMBOL, GPU_SYMBOL, FP32_SYMBOL]) {
      const answer = await bench.run(bench.gpu, { ...PLAIN, ...rules, layer }, tiles, 1, symbol);
      expect(answer.error).toBeNull();
      resident.push(device.statistics().residentBytes);
    }
    const { uploads, residentIndexes } = device.statistics();
    expect([uploads, residentIndexes]).toEqual([2, 2]);
    expect((resident[1] ?? 0) - (resident[0] ?? 0)).toBeLessThan(resident[0] ?? 0);
    expect(resident[3]).toBe(resident[1]);
  });
});

describe('rows in tile order', () => {
  for (const symbol of [GPU_SYMBOL, FP32_SYMBOL]) {
    test(`are aggregated by warps to the bytes of the CPU: ${symbol}`, async () => {
      const areas = layerNamed('partition');
      const rules = { boundary: 'half-open', overlap: 'first' } as const;
      const [cpu, gpu] = (await bench.layers(areas, rules)) as [Layer, Layer];
      const tiles = bench.tiles([7, 31, 32, 100].map((run) => orderedTile(areas, run)));
      for (const rows of [false, true]) {
        const options = { ...PLAIN, ...rules, rows };
        const expected = await bench.run(bench.cpu, { ...options, layer: cpu }, tiles);
        const answer = await bench.run(
          ...([bench.gpu, { ...options, layer: gpu }, tiles, 4, symbol] as const),
        );
        expect(answer.error).toBeNull();
        expect(answer.tiles).toEqual(expected.tiles);
        expect(answer.partials).toBe(expected.partials);
      }
      expect(device.statistics()).toMatchObject({ launches: 2 });
      expect(device.statistics().hostTiles).toBeLessThan(4);
    });
  }
});
