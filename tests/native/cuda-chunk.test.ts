// The chunk of the CUDA library on the fake driver: the same bytes as the CPU library, whatever the
// rules and the data. What this shows is the plumbing; that a GPU gives the same is for a device.
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  NativeError,
  verifyVariant,
  type Chunk,
  type Layer,
  type OpenChunkOptions,
  type OpenDevice,
} from '../../native/index.ts';
import { REGISTRY, variantsOf } from '../../registry/index.ts';
import { fakeGpus, type FakeGpus } from './helpers/fake-gpu.ts';
import {
  GpuBench,
  GPU_SYMBOL,
  nastyTiles,
  randomOf,
  type ChunkRules,
} from './helpers/gpu-chunks.ts';
import type { Area } from './helpers/geometry.ts';
import { nastyLayers } from './helpers/nasty.ts';
import { doubles, type ColumnData } from './helpers/tiles.ts';

const BOUNDARIES = ['half-open', 'covers', 'contains'] as const;
const OVERLAPS = ['first', 'all', 'error'] as const;
const PLAIN = { wrap: false, measures: 2, aggregate: true, rows: false };

let bench: GpuBench;
let gpus: FakeGpus;
let leave: () => void;
let device: OpenDevice | null = null;

beforeAll(() => {
  gpus = fakeGpus({ devices: 2 });
  leave = gpus.enter();
  bench = new GpuBench();
});

afterEach(() => {
  device?.close();
  device = null;
  gpus.control([]);
  const { contexts, streams, events, modules, deviceBytes, hostBytes } = gpus.leaks()[0] ?? {};
  expect([contexts, streams, events, modules, deviceBytes, hostBytes]).toEqual([0, 0, 0, 0, 0, 0]);
});

afterAll(() => {
  bench.remove();
  leave();
  gpus.remove();
});

/** Runs a chunk on both and expects equal tiles, partials and errors. */
async function expectSame(
  areas: readonly Area[],
  changes: Partial<Omit<OpenChunkOptions, 'layer' | 'symbol'>>,
  data: Parameters<GpuBench['tiles']>[0],
  batchTiles?: number,
  indexBytesMax?: number,
): Promise<Awaited<ReturnType<GpuBench['run']>>> {
  const rules = { boundary: 'half-open', overlap: 'first', ...changes } as const;
  const [cpuLayer, gpuLayer] = await layersOf(areas, rules, indexBytesMax);
  const tiles = bench.tiles(data);
  const options = { ...PLAIN, ...rules };
  const expected = await bench.run(bench.cpu, { ...options, layer: cpuLayer }, tiles);
  const answer = await bench.run(bench.gpu, { ...options, layer: gpuLayer }, tiles, batchTiles);
  expect(answer.error?.message).toBe(expected.error?.message);
  expect(answer.error?.details).toEqual(expected.error?.details);
  expect(answer.tiles).toEqual(expected.tiles);
  expect(answer.partials).toBe(expected.partials);
  return answer;
}

function layerNamed(name: string): readonly Area[] {
  return nastyLayers().find((layer) => layer.name === name)?.areas ?? [];
}

/** A ragged ring around (at, at) that is far smaller than a cell of a coarse grid. */
function comb(edges: number, at: number): Area {
  const random = randomOf(edges);
  const ring = Array.from({ length: edges }, (_, index): [number, number] => {
    const angle = (2 * Math.PI * index) / edges;
    const radius = 1e-6 * (1 + random());
    return [at + radius * Math.cos(angle), at + radius * Math.sin(angle)];
  });
  return { type: 'Polygon', coordinates: [[...ring, ring[0] as [number, number]]] };
}

/** The layers of both libraries. */
async function layersOf(
  areas: readonly Area[],
  rules: ChunkRules,
  indexBytesMax?: number,
): Promise<[Layer, Layer]> {
  const [cpu, gpu] = await bench.layers(areas, rules, indexBytesMax);
  return [cpu as Layer, gpu as Layer];
}

async function codeOf(promise: Promise<unknown>): Promise<NativeError> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(NativeError);
  return error as NativeError;
}

function thrown(body: () => unknown): NativeError {
  try {
    body();
  } catch (error) {
    expect(error).toBeInstanceOf(NativeError);
    return error as NativeError;
  }
  throw new Error('nothing was thrown');
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('the corpus', () => {
  test('finds no wrong answer of the CUDA variants', { timeout: 240_000 }, async () => {
    device = bench.gpu.openDevice({ ordinal: 1 });
    expect(device.info.uuid).toBe(gpus.devices[1]?.uuid);
    const variants = variantsOf(REGISTRY, 'assign').filter((one) => one.symbol === GPU_SYMBOL);
    expect(variants.map((one) => one.id)).toEqual(['assign/cuda-grid-fp64@1']);
    for (const variant of variants) {
      const corpus = join(import.meta.dirname, '..', 'fixtures', 'corpus');
      const report = await verifyVariant(bench.gpu, variant, corpus);
      expect(report.failures).toEqual([]);
      expect(report.checked.points).toBeGreaterThan(100_000);
    }
    expect(device.statistics().launches).toBeGreaterThan(1000);
  });
});

describe('a chunk on the device', () => {
  for (const boundary of BOUNDARIES) {
    for (const overlap of OVERLAPS) {
      test(`gives the bytes of the CPU: ${boundary}, ${overlap}`, async () => {
        device = bench.gpu.openDevice({ ordinal: 0 });
        let repaired = 0;
        // Of batches that run at once, any may find an overlap first.
        const batchTiles = overlap === 'error' ? 5 : 2;
        for (const name of ['partition', 'crowded lattice', 'holes', 'degenerate', 'empty']) {
          const areas = layerNamed(name);
          const data = nastyTiles(areas, [1500, 0, 900, 1, 33]);
          for (const rows of [false, true]) {
            const answer = await expectSame(areas, { boundary, overlap, rows }, data, batchTiles);
            repaired += answer.repairedRows;
          }
        }
        expect(repaired).toBeGreaterThan(0);
        expect(device.statistics().repairedRows).toBeGreaterThanOrEqual(repaired);
      });
    }
  }

  test('gives the bytes of the CPU for every nasty layer', async () => {
    device = bench.gpu.openDevice({ ordinal: 0 });
    for (const { areas } of nastyLayers()) {
      await expectSame(areas, { overlap: 'all' }, nastyTiles(areas, [400, 300]));
    }
  });

  test('wraps longitudes, and reads measures that it does not aggregate', async () => {
    device = bench.gpu.openDevice({ ordinal: 0 });
    const areas: Area[] = [
      { type: 'Polygon', coordinates: [[[-180, 0], [-170, 0], [-170, 9], [-180, 9], [-180, 0]]] }, // prettier-ignore
    ];
    const x = [180, 185, 189.5, 190, 539, -175, 540, Number.NaN, 179.999, 182];
    const data = [
      [doubles('x', x), doubles('y', x.map(() => 4)), doubles('a', x), doubles('b', x)], // prettier-ignore
    ];
    const wrapped = await expectSame(areas, { wrap: true }, data);
    expect(wrapped.tiles[0]?.hits).toBe(5);
    await expectSame(areas, { aggregate: false, rows: true }, data);
    await expectSame(areas, { wrap: true, measures: 0, rows: true }, [data[0]?.slice(0, 2) ?? []]);
  });

  test('sums on the device where a tile has rows enough, else on the host', async () => {
    device = bench.gpu.openDevice({ ordinal: 0 });
    const areas = layerNamed('partition');
    await expectSame(areas, {}, nastyTiles(areas, [3000, 3000]));
    expect(device.statistics().hostTiles).toBe(0);
    await expectSame(areas, {}, nastyTiles(areas, [20, 10]));
    expect(device.statistics().hostTiles).toBe(2);
  });

  test('gives the same for many tiles per slot, many slots per batch and batches at once', async () => {
    device = bench.gpu.openDevice({ ordinal: 0, slotBytes: 256 * 1024 });
    const areas = layerNamed('partition');
    const sizes = Array.from({ length: 150 }, (_, tile) => (tile * 37) % 400);
    for (const batchTiles of [150, 7, 1]) {
      await expectSame(areas, { rows: true }, nastyTiles(areas, sizes), batchTiles);
    }
    expect(device.statistics().peakBytes).toBeLessThanOrEqual(device.info.memoryBytesMax);
  });

  // In one cell of a coarse grid; around a corner of four cells, none of which is crowded.
  test.each([
    { edges: 100_000, at: 4.3, rows: 300, repaired: 300 },
    { edges: 100_000, at: 5, rows: 300, repaired: 0 },
    { edges: 1_000_000, at: 4.3, rows: 24, repaired: 24 },
  ])(
    'leaves to the host $repaired of $rows rows beside $edges edges of one feature around $at',
    async ({ edges, at, rows, repaired }) => {
      device = bench.gpu.openDevice({ ordinal: 0 });
      const square: Area = { type: 'Polygon', coordinates: [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]] }; // prettier-ignore
      const random = randomOf(3);
      const near = (): number => at + (random() - 0.5) * 6e-6;
      const points = Array.from({ length: rows }, () => [near(), near()] as const);
      const column = (name: string, value: (row: number) => number): ColumnData =>
        doubles(name, [...points.keys()].map(value));
      const data = [
        column('x', (row) => points[row]?.[0] ?? 0),
        column('y', (row) => points[row]?.[1] ?? 0),
        column('a', (row) => row / 7),
        column('b', (row) => row / 7),
      ];
      const answer = await expectSame([comb(edges, at), square], {}, [data], 1, 1 << 20);
      expect(answer.repairedRows).toBe(repaired);
      expect(answer.tiles[0]?.hits).toBe(rows);
      // Some rows lie in the comb, the others in the square only.
      const featuresHit = Buffer.from(answer.partials, 'hex').readUInt32LE(8);
      expect(featuresHit).toBe(2);
    },
  );
});

describe('the memory of the device', () => {
  const rules = { boundary: 'half-open', overlap: 'first' } as const;

  test('refuses a tile that is larger than a slot, and says what would fit', async () => {
    device = bench.gpu.openDevice({ ordinal: 0, slotBytes: 64 * 1024 });
    const areas = layerNamed('holes');
    const [, layer] = await layersOf(areas, rules);
    const tiles = bench.tiles(nastyTiles(areas, [100, 4000]));
    const { error } = await bench.run(bench.gpu, { ...PLAIN, ...rules, layer }, tiles);
    expect(error?.code).toBe('OUT_OF_MEMORY');
    expect(error?.details['tile']).toBe(1);
    expect(error?.message).toMatch(/expected at most \d+ bytes, got \d+; use smaller tiles/);
    const small = await bench.run(bench.gpu, { ...PLAIN, ...rules, layer }, tiles.slice(0, 1));
    expect(small.error).toBeNull();
  });

  test('refuses an index that is larger than the device before it takes memory', async () => {
    const areas = layerNamed('partition');
    const [, layer] = await layersOf(areas, rules);
    const memoryBytesMax = 512 * 1024;
    device = bench.gpu.openDevice({ ordinal: 0, memoryBytesMax, slots: 1 });
    expect(layer.index?.bytes).toBeGreaterThan(memoryBytesMax / 2);
    const { error } = await bench.run(bench.gpu, { ...PLAIN, ...rules, layer }, []);
    expect(error?.code).toBe('OUT_OF_MEMORY');
    expect(error?.message).toMatch(
      /index that does not fit on the device: expected at most 262144/,
    );
    expect(device.statistics().peakBytes).toBe(0);
  });

  test('refuses a budget too small for its slots', () => {
    const error = thrown(() => bench.gpu.openDevice({ ordinal: 0, memoryBytesMax: 100_000 }));
    expect(error.code).toBe('OUT_OF_MEMORY');
    expect(error.message).toMatch(/too small a budget: expected at least \d+ bytes/);
  });

  test('keeps indexes by digest, and evicts by budget those that no chunk holds', async () => {
    const areas = [layerNamed('partition'), layerNamed('lattice'), layerNamed('holes')];
    const layers = await Promise.all(areas.map(async (one) => (await layersOf(one, rules))[1]));
    const sizes = layers.map((layer) => layer.index?.bytes ?? 0);
    // Room for the two largest at most, beside one slot of 64 KiB.
    const memoryBytesMax = 65_536 + Math.max(...sizes) * 2;
    device = bench.gpu.openDevice({ ordinal: 0, memoryBytesMax, slots: 1, slotBytes: 65_536 });
    const open = (index: number): Chunk =>
      bench.gpu.openChunk({
        ...{ ...PLAIN, ...rules, measures: 0 },
        ...{ layer: layers[index] as Layer, symbol: GPU_SYMBOL },
      });
    open(0).close();
    open(0).close();
    expect(device.statistics()).toMatchObject({ uploads: 1, residentIndexes: 1, evictions: 0 });
    for (let round = 0; round < 4; round += 1) {
      open(round % 3).close();
      expect(device.statistics().heldBytes).toBeLessThanOrEqual(memoryBytesMax);
    }
    expect(device.statistics().uploads).toBeGreaterThanOrEqual(3);
  });

  test('never evicts an index that a chunk holds', async () => {
    const [, first] = await layersOf(layerNamed('partition'), rules);
    const [, second] = await layersOf(layerNamed('partition of dyadic size'), rules);
    const sizes = [first, second].map((layer) => layer.index?.bytes ?? 0);
    // Room for one, beside one slot of 64 KiB.
    const memoryBytesMax = 65_536 + Math.max(...sizes, 70_000) + Math.min(...sizes) / 2;
    device = bench.gpu.openDevice({ ordinal: 0, memoryBytesMax, slots: 1, slotBytes: 65_536 });
    const open = (layer: Layer): Chunk =>
      bench.gpu.openChunk({ ...PLAIN, ...rules, measures: 0, layer, symbol: GPU_SYMBOL });
    const held = open(first);
    expect(thrown(() => open(second)).code).toBe('OUT_OF_MEMORY');
    expect(device.statistics()).toMatchObject({ residentIndexes: 1, evictions: 0 });
    held.close();
    open(second).close();
    expect(device.statistics()).toMatchObject({ residentIndexes: 1, evictions: 1 });
  });

  test('goes on with the slots that fit when other processes took the memory', async () => {
    device = bench.gpu.openDevice({ ordinal: 0, slotBytes: 65_536 });
    gpus.control(['fail cuMemAlloc_v2 2 after 2']); // the index and one slot
    const areas = layerNamed('partition');
    const answer = await expectSame(areas, {}, nastyTiles(areas, [500, 600, 700, 800]), 1);
    expect(answer.error).toBeNull();
    expect(device.statistics().launches).toBeGreaterThanOrEqual(4);
  });

  test('evicts an index where the driver has less memory than the budget says', async () => {
    const [, first] = await layersOf(layerNamed('partition'), rules);
    const [, second] = await layersOf(layerNamed('lattice'), rules);
    device = bench.gpu.openDevice({ ordinal: 0 });
    const open = (layer: Layer): Chunk =>
      bench.gpu.openChunk({ ...PLAIN, ...rules, measures: 0, layer, symbol: GPU_SYMBOL });
    open(first).close();
    gpus.control(['fail cuMemAlloc_v2 2 times 1']);
    open(second).close();
    expect(device.statistics()).toMatchObject({ residentIndexes: 1, uploads: 2, evictions: 1 });
  });
});

describe('batches in flight', () => {
  const rules = { boundary: 'half-open', overlap: 'first' } as const;

  test('each have a slot of their own, up to their number', async () => {
    device = bench.gpu.openDevice({ ordinal: 0, slotBytes: 65_536 });
    const { slots, slotBytes } = device.info;
    expect(slots).toBe(3);
    gpus.control(['hang cuEventSynchronize']);
    const areas = layerNamed('partition');
    const running = expectSame(areas, {}, nastyTiles(areas, [500, 500, 500, 500, 500]), 1);
    const open = device;
    await until(() => {
      const { heldBytes, residentBytes } = open.statistics();
      return heldBytes - residentBytes === slots * slotBytes;
    });
    gpus.control([]);
    expect((await running).tiles).toHaveLength(5);
    expect(device.statistics().peakBytes - device.statistics().residentBytes).toBe(
      slots * slotBytes,
    );
  });

  test('hold no more memory than the chunk said before', async () => {
    device = bench.gpu.openDevice({ ordinal: 0 });
    const areas = layerNamed('partition');
    const [, layer] = await layersOf(areas, rules);
    const tiles = bench.tiles(nastyTiles(areas, [4000, 3000, 2000]));
    const options = { ...PLAIN, ...rules, rows: true, layer, symbol: GPU_SYMBOL };
    const chunk = bench.gpu.openChunk(options);
    const estimate = chunk.estimateBytes(9000, 4000);
    await chunk.runBatch(tiles);
    expect(chunk.peakBytes).toBeGreaterThanOrEqual(device.info.slotBytes);
    expect(chunk.peakBytes).toBeLessThanOrEqual(estimate);
    chunk.close();
    const { peakBytes, heldBytes } = device.statistics();
    expect(peakBytes).toBeLessThanOrEqual(device.info.memoryBytesMax);
    expect(heldBytes).toBe(peakBytes);
  });

  test('end with CANCELLED between two tiles, and leave the device usable', async () => {
    device = bench.gpu.openDevice({ ordinal: 0, slots: 1, slotBytes: 65_536 });
    gpus.control(['hang cuEventSynchronize']);
    const areas = layerNamed('partition');
    const [, layer] = await layersOf(areas, rules);
    const tiles = bench.tiles(
      nastyTiles(
        areas,
        Array.from({ length: 200 }, () => 300),
      ),
    );
    const chunk = bench.gpu.openChunk({ ...PLAIN, ...rules, layer, symbol: GPU_SYMBOL });
    const running = codeOf(chunk.runBatch(tiles));
    const open = device;
    await until(() => open.statistics().heldBytes > open.statistics().residentBytes);
    chunk.cancel();
    gpus.control([]);
    expect((await running).code).toBe('CANCELLED');
    expect(chunk.progress()).toBeLessThan(200);
    chunk.close();
    await expectSame(areas, {}, nastyTiles(areas, [100]));
  });

  test('end with CANCELLED while rows that the device left are decided', async () => {
    device = bench.gpu.openDevice({ ordinal: 0, slots: 1 });
    const square: Area = { type: 'Polygon', coordinates: [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]] }; // prettier-ignore
    const [, layer] = await layersOf([comb(100_000, 4.3), square], rules, 1 << 20);
    const here = Array.from({ length: 60 }, () => 4.3);
    const tile = ['x', 'y', 'a', 'b'].map((name) => doubles(name, here));
    const tiles = bench.tiles(here.map(() => tile));
    const chunk = bench.gpu.openChunk({ ...PLAIN, ...rules, layer, symbol: GPU_SYMBOL });
    // All tiles fit one launch: what is left of the batch is the host's work.
    const running = codeOf(chunk.runBatch(tiles));
    await until(() => chunk.progress() > 0);
    chunk.cancel();
    expect((await running).code).toBe('CANCELLED');
    expect(chunk.progress()).toBeLessThan(tiles.length);
    chunk.close();
  });

  test('name tile, column and row of what is wrong', async () => {
    device = bench.gpu.openDevice({ ordinal: 0 });
    const areas = layerNamed('lattice');
    const data = nastyTiles(areas, [50, 60, 70]);
    const [cpuLayer, gpuLayer] = await layersOf(areas, rules);
    const tiles = bench.tiles(data);
    const wrong = [
      tiles.map((tile, index) =>
        index === 1 ? { ...tile, y: { ...tile.y, xxh3: '0'.repeat(32) } } : tile,
      ),
      tiles.map((tile, index) =>
        index === 2 ? { ...tile, x: { ...tile.x, dataOffset: 1 << 30 } } : tile,
      ),
      tiles.map((tile, index) => (index === 0 ? { ...tile, path: bench.path('gone') } : tile)),
    ];
    for (const some of wrong) {
      const options = { ...PLAIN, ...rules };
      const expected = await bench.run(bench.cpu, { ...options, layer: cpuLayer }, some);
      const { error } = await bench.run(bench.gpu, { ...options, layer: gpuLayer }, some);
      expect(error?.message).toBe(expected.error?.message);
      expect(error?.details).toEqual(expected.error?.details);
    }
  });
});

describe('the one device of a process', () => {
  test('is not opened twice, nor closed while a chunk holds it', async () => {
    device = bench.gpu.openDevice({ ordinal: 0 });
    expect(thrown(() => bench.gpu.openDevice({ ordinal: 1 })).code).toBe('BAD_STATE');
    const rules = { boundary: 'half-open', overlap: 'first' } as const;
    const [, layer] = await layersOf(layerNamed('holes'), rules);
    const chunk = bench.gpu.openChunk({ ...PLAIN, ...rules, layer, symbol: GPU_SYMBOL });
    expect(thrown(() => device?.close()).code).toBe('BAD_STATE');
    const other = { ...PLAIN, ...rules, layer, symbol: GPU_SYMBOL, boundary: 'covers' } as const;
    const error = thrown(() => bench.gpu.openChunk(other));
    expect(error.code).toBe('BAD_INDEX');
    chunk.close();
    device.close();
    expect(thrown(() => device?.statistics()).code).toBe('DEVICE_MISSING');
    const closed = thrown(() =>
      bench.gpu.openChunk({ ...PLAIN, ...rules, layer, symbol: GPU_SYMBOL }),
    );
    expect(closed.code).toBe('DEVICE_MISSING');
    device = bench.gpu.openDevice({ ordinal: 1 });
    expect(device.info.uuid).toBe(gpus.devices[1]?.uuid);
  });
});
