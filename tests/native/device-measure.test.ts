// Measurements on the fake driver: what they count must be what a chunk counts; their seconds mean nothing.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  openDeviceLibrary,
  openDeviceMeasure,
  type MeasureRequest,
  type OpenDevice,
  type TileInput,
} from '../../native/index.ts';
import { copyWithout } from './helpers/driver-symbols.ts';
import { fakeGpus, type FakeGpus } from './helpers/fake-gpu.ts';
import { writeGeometry } from './helpers/geometry.ts';
import { nastyLayers, nastyPoints } from './helpers/nasty.ts';
import { doubles, writeTiles } from './helpers/tiles.ts';

const RULES = { boundary: 'half-open', overlap: 'first', wrap: false } as const;
const folder = mkdtempSync(join(tmpdir(), 'tileloom-measure-'));
const geometryPath = join(folder, 'layer.tlgeom');
const indexPath = join(folder, 'layer.tlidx');
const library = openDeviceLibrary();
const { measureKernels, measureCopies } = openDeviceMeasure();
let gpu: FakeGpus;
let leave: () => void;
let device: OpenDevice;
let tiles: readonly TileInput[] = [];

beforeAll(async () => {
  gpu = fakeGpus();
  leave = gpu.enter();
  const areas = nastyLayers()[0]?.areas ?? [];
  writeGeometry(geometryPath, areas);
  await library.buildIndex({ geometryPath, indexPath, ...RULES, durable: false });
  const made = [700, 1, 0, 513].map((rows, seed) => {
    const points = nastyPoints(areas, seed, Math.max(rows, 9)).slice(0, rows);
    const [x, y] = [points.map(([one]) => one), points.map(([, one]) => one)];
    return [
      doubles('x', x),
      doubles('y', y),
      doubles(
        'value',
        x.map((one) => one / 3),
      ),
    ];
  });
  tiles = writeTiles(library, join(folder, 'tiles.bin'), made);
  device = library.openDevice({ ordinal: 0, slots: 2 });
});
afterAll(() => {
  device.close();
  leave();
  gpu.remove();
  rmSync(folder, { recursive: true, force: true });
});

function request(changes: Partial<MeasureRequest> = {}): MeasureRequest {
  return {
    ...{ from: 'resident', geometryPath, indexPath, ...RULES, tiles, repeats: 3 },
    ...{ measures: 1, aggregate: true, precision: 'fp64' },
    ...changes,
  };
}

/** Counts of the CPU's own chunk over the same tiles. */
async function countsOf(): Promise<{
  rows: number;
  hits: number;
  outside: number;
  invalid: number;
}> {
  const layer = library.openLayer({ geometryPath, indexPath });
  const symbol = 'tl_assign__grid__fp64__scalar';
  const options = { layer, symbol, ...RULES, measures: 1, aggregate: true, rows: false };
  const chunk = library.openChunk(options);
  try {
    const batch = await chunk.runBatch(tiles);
    const sum = (field: 'rows' | 'hits' | 'outside' | 'invalid'): number =>
      batch.tiles.reduce((total, tile) => total + tile[field], 0);
    return {
      ...{ rows: sum('rows'), hits: sum('hits') },
      ...{ outside: sum('outside'), invalid: sum('invalid') },
    };
  } finally {
    chunk.close();
    layer.close();
  }
}

describe('measureKernels', () => {
  test.each([
    ['resident', true],
    ['resident', false],
    ['pinned', true],
    ['pinned', false],
  ] as const)('%s, aggregate %s, counts what a chunk counts', async (from, aggregate) => {
    const expected = await countsOf();
    const got = await measureKernels(request({ from, aggregate }));
    expect(got.seconds).toHaveLength(3);
    for (const one of got.seconds) expect(one).toBeGreaterThanOrEqual(0);
    expect(got.rows).toBe(expected.rows);
    expect(got.invalid).toBe(expected.invalid);
    // What the device cannot settle is the host's, and counted as such.
    expect(got.hits + got.outside + got.ambiguousRows).toBe(expected.hits + expected.outside);
    expect(got.hits).toBeLessThanOrEqual(expected.hits);
    expect(got.outside).toBeLessThanOrEqual(expected.outside);
    expect(got.uploadBytes).toBeGreaterThanOrEqual(expected.rows * 24);
  });

  test('gives the same counts however often it repeats', async () => {
    const { seconds: _once, ...once } = await measureKernels(request({ repeats: 1 }));
    const { seconds: _often, ...often } = await measureKernels(request({ repeats: 9 }));
    expect(often).toEqual(once);
  });

  test('refuses tiles that do not fit in one slot', async () => {
    const many = Array.from({ length: 65 }, () => tiles[0] as TileInput);
    await expect(measureKernels(request({ tiles: many }))).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
    await expect(measureKernels(request())).resolves.toBeDefined();
  });

  test('refuses a layer without a grid, and no tiles at all', async () => {
    const empty = join(folder, 'empty.tlgeom');
    const paths = { geometryPath: empty, indexPath: `${empty}.tlidx` };
    writeGeometry(empty, []);
    await library.buildIndex({ ...paths, ...RULES, durable: false });
    for (const changes of [paths, { tiles: [] }]) {
      await expect(measureKernels(request(changes))).rejects.toMatchObject({
        code: 'BAD_ARGUMENT',
      });
    }
  });
});

describe('measureCopies', () => {
  test.each(['device-copy', 'upload', 'download'] as const)('times each %s', async (kind) => {
    const seconds = await measureCopies(kind, 1 << 16, 4);
    expect(seconds).toHaveLength(4);
    for (const one of seconds) expect(one).toBeGreaterThanOrEqual(0);
  });

  test('leaves nothing on the device', async () => {
    const before = device.statistics().heldBytes;
    await measureCopies('device-copy', 1 << 16, 1);
    await measureKernels(request());
    expect(device.statistics().heldBytes).toBe(before);
  });

  test('ends in the code of a copy on the device that fails, and leaves a device that works', async () => {
    const before = device.statistics().heldBytes;
    for (const [result, code] of [
      [1, 'DEVICE_FAILED'],
      [2, 'OUT_OF_MEMORY'],
    ] as const) {
      for (const after of [0, 1, 2]) {
        gpu.control([`fail cuMemcpyDtoDAsync_v2 ${result} after ${after} times 1`]);
        await expect(measureCopies('device-copy', 1 << 16, 2)).rejects.toMatchObject({ code });
      }
      expect(await measureCopies('device-copy', 1 << 16, 2)).toHaveLength(2);
    }
    expect(device.statistics().heldBytes).toBe(before);
  });

  test('names the copy on the device where the driver has none', async () => {
    const symbol = 'cuMemcpyDtoDAsync_v2';
    process.env['TILELOOM_CUDA_DRIVER'] = copyWithout(
      gpu.driverPath,
      symbol,
      join(gpu.folder, 'driver-without-copy.so'),
    );
    try {
      await expect(measureCopies('device-copy', 1 << 16, 1)).rejects.toMatchObject({
        code: 'DEVICE_MISSING',
        message: expect.stringContaining(`a driver without ${symbol}`),
      });
      expect(await measureCopies('upload', 1 << 16, 1)).toHaveLength(1);
    } finally {
      Object.assign(process.env, gpu.environment);
    }
  });

  test('says when the memory does not suffice', async () => {
    await expect(measureCopies('device-copy', 2 ** 40, 1)).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
    });
  });
});

test('without an open device both say that one is missing', async () => {
  device.close();
  try {
    await expect(measureCopies('upload', 64, 1)).rejects.toMatchObject({ code: 'DEVICE_MISSING' });
    await expect(measureKernels(request())).rejects.toMatchObject({ code: 'DEVICE_MISSING' });
  } finally {
    device = library.openDevice({ ordinal: 0, slots: 2 });
  }
});
